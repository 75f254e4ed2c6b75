"""Any day as a fake exchange: recorded or made events and frames, merged, paced and played.

    records        what an event is while it is replayed: one numeric row, its texts a label
    merge          many sources into one, in global order, block by block. Pure
    synthetic_day  a made day of any size. Pure, seeded
    daily_file     a daily HDF5 file as a source
    tick_file      anybody's csv or parquet as a source, with a small mapping
    recorded_frames   the frames of a spool: its raw archive and what the journal still holds
    playback       speed, pause, step and seek. Pure, the clock handed in
    tick_source    events as ticks of the fake exchange
    frame_vendor   recorded frames served byte for byte, by the vendor's own rules of conversation
    frames_into_spool, events_into_spool   at the front of a pipeline with a spool of its own
    chart          what a day looked like, in a terminal or as SVG

The simulator and capture are below this room: replay uses both, and neither knows of it.
"""
