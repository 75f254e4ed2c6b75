"""A fake exchange: speaks the vendors' own protocols over a synthetic market or a recorded day.

market    instruments, activity, market: what happens. Pure, seeded, no clock of its own
tiingo    how one vendor says it. A session per connection, no I/O; other vendors go beside it
faults    what goes wrong on the line, and when. Pure
truth     what was sent, byte for byte, so that a capture can be held against it
exchange  the websocket server around them
"""
