"""The vendors: bytes in, events out."""
