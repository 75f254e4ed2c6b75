"""Micro-batches and their ledger. The only room that knows the names of the files in a spool."""
