"""The journal: every frame, durable before it counts.

    _journal/<collector>/<first frame>.wal     segments, appended and fdatasynced every 50 ms
    _raw/day=2026-01-22/<collector>-….wal      sealed segments, kept for `raw_archive`
    _raw/damaged/<collector>-….wal             damaged ones that are not in the archive, kept

blocks  what a segment is made of. Pure: frames in, bytes out, and back
writer  appends, commits, rotates
damage  what in a segment is no whole block: a torn tail, or damage. Pure
reader  reads segments back, every whole block of each
archive keeps what recovery needs no more, for a while
"""
