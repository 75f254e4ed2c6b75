"""A piece of work of which each call to the disk is refused once."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar, Final

from edc_pipeline_tests.faults.shim import CALLS

EVERY_CALL: Final = tuple(CALLS)


class Work(ABC):
    """Something that is done in `folder`, and what must hold after it was refused."""

    calls: ClassVar[dict[str, tuple[str, ...]]]  # by path

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @abstractmethod
    def prepare(self) -> None:
        """All that is there before."""

    @abstractmethod
    def do(self) -> str:
        """Do it; returns what was refused, in words, or nothing. What it raises is a finding."""

    def wrong_after_refusal(self, words: str) -> str:
        return ""

    @abstractmethod
    def wrong_in_the_end(self) -> str: ...
