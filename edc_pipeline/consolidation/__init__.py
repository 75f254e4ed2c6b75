"""Spool → daily file: dedupe, order, write, verify, certificate.

    micro-batches ─plan─► inputs, ledger ─slices─► rows ─identity─► kept, ordered rows
        ─h5_write─► daily file + certificate ─read_back─► verified ─seal─► in its place

A day that has only grown since goes on from its former file: `growth`.
`verification` re-reads a daily file and trusts nothing; `glance` shows one and trusts it.
Its modules load polars, PyTables, blosc2 and h5py (up to a second): import them inside functions.
"""
