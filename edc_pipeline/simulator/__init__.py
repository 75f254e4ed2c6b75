"""A fake exchange: speaks the vendors' own protocols over a synthetic market or a recorded day.

instruments, activity, market    what happens: pure, seeded, the clock handed in
session, tiingo                  how a vendor says it: a session per connection, no I/O
faults, rubbish                  what goes wrong on the line, and when: pure, seeded
truth                            what was sent, byte for byte, to hold a capture against
connection, audience             who listens: let in, heard, and sent to
trading                          the ticks are shown to them, by the clock or as a script
exchange                         the websocket server around them
"""
