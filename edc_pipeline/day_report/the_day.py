"""The files of one day beside each other, and the page that shows them."""

from __future__ import annotations

import datetime as dt
import html
import urllib.parse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from edc_pipeline.consolidation.after_retention import what_it_lacks
from edc_pipeline.consolidation.certificate import Certificate, NoCertificate, read_certificate
from edc_pipeline.consolidation.names import daily_file
from edc_pipeline.day_report.examine import Examined, examine
from edc_pipeline.day_report.missed import missed
from edc_pipeline.day_report.pictures import (
    LARGE,
    events_per_minute,
    latency_by_hour,
    prices_of_the_busiest,
)
from edc_pipeline.durable_file import make_durable_folder, write_durably
from edc_pipeline.events import EVENT_TYPES, EventType
from edc_pipeline.spool.layout import batch_files
from edc_pipeline.spool.ledger import Ledger

_STYLE: Final = (
    "body{font:15px sans-serif;margin:2em;max-width:1500px}table{border-collapse:collapse}"
    "td,th{padding:.2em .8em;text-align:left;border-bottom:1px solid #ddd}"
    ".sealed{color:green}.restated{color:purple}.provisional{color:#b60}.wrong{color:#c00}"
)


@dataclass(frozen=True, slots=True)
class FileOfDay:
    event_type: EventType
    path: Path
    certificate: Certificate | None
    problem: str  # why there is no certificate; empty where nothing was captured either

    @property
    def in_words(self) -> str:
        told = self.certificate
        if told is None:
            return self.problem or "nothing was captured"
        words: list[str] = [told.state.state]
        words += [told.state.why] if told.state.why else []
        words += told.reasons
        return "; ".join(words)

    @property
    def wrong(self) -> bool:
        """Not to be traded on, as far as its certificate says."""
        if self.certificate is None:
            return bool(self.problem)
        return not self.certificate.balanced or any(m.too_much for m in missed(self.certificate))

    @property
    def whole(self) -> bool:
        """Nothing more is expected, and nothing is wrong. What was never captured lacks nothing."""
        told = self.certificate
        return not self.wrong and (told is None or told.state.state != "provisional")


def files_of(spool: Path, daily: Path, day: dt.date) -> list[FileOfDay]:
    return [_file_of(spool, daily, day, event_type) for event_type in EVENT_TYPES]


def _file_of(spool: Path, daily: Path, day: dt.date, event_type: EventType) -> FileOfDay:
    path = daily_file(daily, event_type, day)
    problem = ""
    try:
        told = read_certificate(path)
        if not (problem := what_it_lacks(told, path, spool)):
            return FileOfDay(event_type, path, told, "")
    except (NoCertificate, OSError) as unreadable:
        if path.exists():
            problem = str(unreadable)
        elif batch_files(spool, event_type, day) or Ledger(spool).events_out(event_type, day):
            problem = "captured, but not consolidated yet"
    return FileOfDay(event_type, path, None, problem)


def report_file(data_dir: Path, day: dt.date) -> Path:
    return data_dir / "reports" / f"day_report_{day:%Y_%m_%d}.html"


def write_page(path: Path, day: dt.date, files: Sequence[FileOfDay]) -> None:
    """One page without anything from elsewhere: it can be mailed as it is."""
    parts = [f"<h1>{day:%A}, {day}</h1>", _table(files)]
    for file in files:
        if file.certificate is not None:
            parts += _section(file, file.certificate, examine(file.path, file.certificate))
    page = (
        f"<!doctype html><html lang='en'><meta charset='utf-8'><title>{day}</title>"
        f"<style>{_STYLE}</style><body>{''.join(parts)}</body></html>"
    )
    make_durable_folder(path.parent)
    write_durably(path, lambda temporary: _write(temporary, page))


def _write(path: Path, page: str) -> None:
    path.write_text(page, encoding="utf-8")


def _table(files: Sequence[FileOfDay]) -> str:
    rows = []
    for file in files:
        told = file.certificate
        kind = "wrong" if file.wrong else told.state.state if told else ""
        numbers = ["", "", "", "", ""]
        if told is not None:
            each = (told.rows, told.rows_in, told.duplicates.total, told.symbols, len(told.gaps))
            numbers = [f"{n:,}" for n in each]
        cells = "".join(f"<td>{n}</td>" for n in numbers)
        rows.append(
            f"<tr><td>{file.event_type}</td><td class='{kind}'>{html.escape(file.in_words)}</td>"
            f"{cells}</tr>"
        )
    names = ("event type", "state", "rows", "rows in", "duplicates", "symbols", "gaps")
    head = "".join(f"<th>{name}</th>" for name in names)
    return f"<table><tr>{head}</tr>{''.join(rows)}</table>"


def _section(file: FileOfDay, told: Certificate, examined: Examined) -> list[str]:
    pictures = (
        ("Events per minute", events_per_minute(examined.figures, told, LARGE)),
        (
            "Vendor → receive: half of the events were quicker than the thick line, 99 of 100 than"
            " the thin one",
            latency_by_hour(examined.figures, LARGE),
        ),
        ("The five busiest symbols", prices_of_the_busiest(examined.figures, LARGE)),
    )
    said = [f"prices: {examined.insane.in_words}", f"vendors: {examined.agreement.in_words}"]
    said += [
        f"{m.feed} missed {m.seconds:,.0f} s of its session ({m.share:.1%})"
        for m in missed(told)
        if m.gaps
    ]
    return [
        f"<h2>{file.event_type}</h2>",
        *(f"<p>{html.escape(words)}</p>" for words in said),
        *(f"<h3>{title}</h3>{_svg(markdown)}" for title, markdown in pictures),
        f"<p><code>pd.read_hdf({html.escape(repr(str(file.path.resolve())))})</code></p>",
    ]


def _svg(markdown: str) -> str:
    """A picture within Markdown as a picture within HTML."""
    address = markdown.partition("](<")[2].removesuffix(">)")
    return urllib.parse.unquote(address.removeprefix("data:image/svg+xml,"))
