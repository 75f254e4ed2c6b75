"""Who looks at a daily file opens it more than once, and a new one may take its name in between:
then what was found is of no file, and is looked for again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

from edc_pipeline.durable_file import Seen, seen

_LOOKS: Final = 4  # for a file that is replaced again and again
Found = TypeVar("Found")


def of_same_files(look: Callable[[], Found], *paths: Path) -> Found:
    """What `look` finds, or raises, while these names stay those of the same files."""
    for _ in range(_LOOKS):
        were = _as_they_are(paths)
        try:
            found = look()
        except Exception:
            if _as_they_are(paths) == were:
                raise
        else:
            if _as_they_are(paths) == were:
                return found
    return look()


def _as_they_are(paths: tuple[Path, ...]) -> list[Seen | None]:
    return [_seen(path) for path in paths]


def _seen(path: Path) -> Seen | None:
    try:
        return seen(path)
    except OSError:
        return None
