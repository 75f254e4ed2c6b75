"""The journal: every frame, durable before it counts.

    _journal/<collector>/<first frame>.wal     segments, appended and fdatasynced every 50 ms
    _raw/day=2026-01-22/<collector>-….wal      sealed segments, kept for `raw_archive`

blocks  what a segment is made of. Pure: frames in, bytes out, and back
writer  appends, commits, rotates
reader  reads segments back, up to the last whole block
archive keeps what recovery needs no more, for a while
"""
