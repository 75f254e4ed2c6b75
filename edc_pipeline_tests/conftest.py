"""For all tests: an example may take as long as the machine needs, and a failing one prints what it
takes to run it again."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("edc", deadline=None, print_blob=True)
settings.load_profile("edc")
