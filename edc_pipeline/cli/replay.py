"""`edc replay`: play a day again, to look at it or into a pipeline of its own."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from edc_pipeline.cli import options, replay_sources
from edc_pipeline.cli.options import FallsShort, WrongCall
from edc_pipeline.cli.replay_sources import Asked

if TYPE_CHECKING:
    import datetime as dt

    from edc_pipeline.replay.chart import Chart
    from edc_pipeline.replay.into_spool import Done
    from edc_pipeline.replay.pacing import ThreadPacer
    from edc_pipeline.replay.records import Block, Labels
    from edc_pipeline.replay.tick_source import EventSource

_SHOW_EVERY_S: Final = 0.2
_MINUTE_NS: Final = 60 * 10**9
_HELP: Final = "space pause · . step · ←/→ a minute · +/- speed · q end"

EPILOG: Final = """\b
Examples:
  edc replay --synthetic --symbols SPY --chart
  edc replay --day 2026-01-22 --symbols SPY --speed 10
  edc replay --day 2026-01-22 --spool data/spool --into replayed
  edc replay --ticks ibm_trades.zip:trades.yaml --ticks ibm_quotes.zip:quotes.yaml --chart ibm.svg

\b
While it plays in a terminal: space pauses and goes on, . lets one event go,
→ and ← seek a minute, + and - change the speed, m is as fast as it goes, q ends.
As a vendor's server: edc simulate --replay 2026-01-22 --vendor tiingo
"""


@click.command("replay", epilog=EPILOG)
@click.option("--day", type=options.Day(), help="Which day of New York.")
@replay_sources.options
@click.option("--synthetic", is_flag=True, help="A made day: nothing recorded is needed.")
@click.option("--events", type=click.IntRange(1), default=1_000_000, help="Of a made day.")
@click.option("--seed", type=int, default=0, help="Of a made day.")
@click.option("--symbols", help="SPY,EUR/USD,… and no others.")
@click.option("--from", "begin", metavar="TIME", help="09:31 in New York, or with an offset.")
@click.option("--to", "end", metavar="TIME", help="Until then, not included.")
@click.option("--speed", help="1, 10, 0.5 … or max. [default: 1; with --into or --chart: max]")
@click.option(
    "--into",
    type=click.Path(path_type=Path, file_okay=False),
    help="Write it through the pipeline into this folder: a spool and daily files of its own.",
)
@click.option(
    "--chart",
    is_flag=False,
    flag_value="-",
    type=click.Path(path_type=Path, dir_okay=False, allow_dash=True),
    help="Draw the first of --symbols: in the terminal, or into an .svg file that is named.",
)
@options.config
@options.as_json
def replay(
    *,
    day: dt.date | None,
    ticks: tuple[str, ...],
    daily: Path | None,
    spool: Path | None,
    synthetic: bool,
    events: int,
    seed: int,
    symbols: str | None,
    begin: str | None,
    end: str | None,
    speed: str | None,
    into: Path | None,
    chart: Path | None,
    config: Path | None,
    as_json: bool,
) -> int:
    """Play a day again: from daily files, tick files, recorded frames, or a made day.

    Without --into it is shown: a line with the day's clock in a terminal, or with --json every
    event as one line. With --into it goes through the pipeline again, and comes out as daily files:
    frames of a spool give the file that was made live, with the same content hash.
    """
    from edc_pipeline.replay.playback import Playback, parse_speed  # noqa: PLC0415 - numpy

    if sum((bool(ticks), daily is not None, spool is not None, synthetic)) > 1:
        raise WrongCall("one source at a time: --ticks, --daily, --spool or --synthetic")
    try:
        rate = parse_speed(speed or ("max" if into or chart else "1"))
    except ValueError as error:
        raise WrongCall(f"--speed: {error}") from None
    wanted = replay_sources.symbols_asked(symbols)
    settings = options.load_settings(config)
    asked = Asked(day, daily or settings.daily, ticks, synthetic, events, wanted, seed)
    from_ns, to_ns = replay_sources.bounds(day, begin, end)
    show = _Show(Playback(rate), as_json=as_json, to_terminal=sys.stdout.isatty() and not as_json)
    if spool is not None:
        if into is None or day is None or chart is not None:
            raise WrongCall(
                "--spool holds frames: they go into a pipeline (--day DAY --into FOLDER), or out"
                " again as their vendor sent them (edc simulate --replay DAY --spool DIR)"
            )
        return _frames_into(into, spool, day, settings, _Between(from_ns, to_ns, wanted), show)
    player = _Player(replay_sources.event_sources(asked), _Between(from_ns, to_ns, wanted), show)
    if into is not None:
        return _events_into(into, player, settings, asked)
    return _shown(player, chart, wanted)


@dataclass(frozen=True, slots=True)
class _Between:
    from_ns: int | None
    to_ns: int | None
    symbols: tuple[str, ...] | None

    @property
    def left_out(self) -> str:
        told = [] if self.symbols is None else [f"symbols other than {', '.join(self.symbols)}"]
        if self.from_ns is not None or self.to_ns is not None:
            told.append(f"what is not from {self.from_ns} to {self.to_ns}")
        return "; ".join(told)


class _Ended(Exception):
    """The user pressed q."""


# -- playing --------------------------------------------------------------------------------------


class _Show:
    """The line that tells where a replay stands, and the keys that move it."""

    def __init__(self, playback: Any, *, as_json: bool, to_terminal: bool) -> None:
        from edc_pipeline.replay.pacing import ThreadPacer  # noqa: PLC0415

        self.playback = playback
        self.as_json = as_json
        self.events = 0
        self.ended = False
        self.reopen_at: int | None = None
        self.may_seek = False
        self.pacer: ThreadPacer = ThreadPacer(playback, self.tick)
        self.began_s = time.monotonic()
        self.played_s = 0.0  # once it is over
        self._to_terminal = to_terminal
        self._shown_s = self.began_s
        self._shown_events = 0
        self._rate = 0.0

    def tick(self) -> None:
        """Look at the keys' wishes, and show where it stands, now and then."""
        if self.ended:
            raise _Ended
        now = time.monotonic()
        if now - self._shown_s < _SHOW_EVERY_S:
            return
        self._rate = (self.events - self._shown_events) / (now - self._shown_s)
        self._shown_s, self._shown_events = now, self.events
        if self._to_terminal:
            click.echo(f"\r\x1b[K{self._line()}", nl=False)

    def _line(self) -> str:
        from edc_pipeline.cli import terminal  # noqa: PLC0415

        playback = self.playback
        speed = "max" if playback.speed is None else f"{playback.speed:g}×"
        state = "paused" if playback.paused else f"behind {playback.behind_s * 1000:.1f} ms"
        return (
            f"{terminal.market_time(playback.position_ns)}  {speed}  {state}"
            f"  {self._rate:,.0f}/s  {self.events:,} events   {_HELP}"
        )[: _columns() - 1]

    def clear(self) -> None:
        if self._to_terminal:
            click.echo("\r\x1b[K", nl=False)

    def on_key(self, key: str) -> None:
        playback = self.playback
        faster = {"+": 2.0, "=": 2.0, "up": 2.0, "-": 0.5, "down": 0.5}
        if key == "q":
            self.ended = True
            self.pacer.do(lambda p: p.resume())
        elif key == " ":
            self.pacer.do(lambda p: p.resume() if p.paused else p.pause())
        elif key in {".", "n"}:
            self.pacer.do(lambda p: p.step())
        elif key == "m":
            self.pacer.do(lambda p: p.set_speed(None))
        elif key in faster:
            speed = min(max((playback.speed or 1.0) * faster[key], 0.1), 10_000.0)
            self.pacer.do(lambda p: p.set_speed(speed))
        elif key in {"left", "right"} and self.may_seek and playback.position_ns is not None:
            target = playback.position_ns + (_MINUTE_NS if key == "right" else -_MINUTE_NS)
            if key == "left":
                self.reopen_at = target
            self.pacer.do(lambda p: p.seek(target))

    def summary(self, **more: Any) -> dict[str, Any]:
        took = self.played_s or time.monotonic() - self.began_s
        playback = self.playback
        late = {} if not playback.late_s else {"late_ms_p99": playback.lateness_s(0.99) * 1000}
        return {
            "event": "summary",
            "events": self.events,
            "seconds": round(took, 3),
            "events_per_s": round(self.events / max(took, 1e-9)),
            **{name: round(value, 3) for name, value in late.items()},
            **more,
        }


class _Player:
    """Events in the order of their time, let go when they are due."""

    def __init__(self, sources: Sequence[EventSource], between: _Between, show: _Show) -> None:
        from edc_pipeline.replay.records import Labels  # noqa: PLC0415

        self.sources = sources
        self.between = between
        self.show = show
        self.labels: Labels = Labels()

    def blocks(self) -> Iterator[Block]:
        from edc_pipeline.cli.keys import keys  # noqa: PLC0415
        from edc_pipeline.replay.merge import WentBack  # noqa: PLC0415
        from edc_pipeline.replay.tick_file import TickFileMistake  # noqa: PLC0415

        with keys(self.show.on_key):
            from_ns = self.between.from_ns
            try:
                while True:
                    yield from self._played(from_ns)
                    if self.show.reopen_at is None:
                        return
                    from_ns, self.show.reopen_at = self.show.reopen_at, None
            except _Ended:
                return
            except WentBack as error:
                name = self.sources[error.source].name
                raise FallsShort(
                    f"{name}: its times go back, from {error.before} to {error.after} ns; a source"
                    " must be in the order of time: sort the file"
                ) from None
            except TickFileMistake as mistake:
                raise FallsShort(str(mistake)) from None

    def _played(self, from_ns: int | None) -> Iterator[Block]:
        from edc_pipeline.replay.tick_source import merged  # noqa: PLC0415

        show, between = self.show, self.between
        for block in merged(
            self.sources,
            self.labels,
            symbols=between.symbols,
            from_ns=from_ns,
            to_ns=between.to_ns,
        ):
            for part in _parts(block, show.playback):
                if show.pacer.until(int(part["ts_event"][-1])):
                    show.events += len(part)
                    yield part
                show.tick()
                if show.reopen_at is not None:
                    return


def _parts(block: Block, playback: Any) -> Iterator[Block]:
    """At full speed whole blocks; else all events of one instant at a time."""
    import numpy as np  # noqa: PLC0415

    at = 0
    times = block["ts_event"]
    edges = np.append(np.flatnonzero(times[1:] != times[:-1]) + 1, len(times)).tolist()
    for edge in edges:
        if playback.speed is None and not playback.paused:
            yield block[at:]
            return
        yield block[at:edge]
        at = edge


# -- showing --------------------------------------------------------------------------------------


def _shown(player: _Player, chart: Path | None, symbols: tuple[str, ...] | None) -> int:
    from edc_pipeline.replay.chart import Chart  # noqa: PLC0415

    show = player.show
    show.may_seek = chart is None
    drawn = None if chart is None else Chart(player.labels, symbols[0] if symbols else None)
    for block in player.blocks():
        if drawn is not None:
            drawn.hear(block)
        elif show.as_json:
            _print_events(block, player.labels)
    show.clear()
    if not show.events:
        raise FallsShort("there is nothing to replay: no event of these symbols at that time")
    told = show.summary()
    if drawn is not None and chart is not None:
        told |= _draw(drawn, chart)
    if show.as_json:
        import msgspec  # noqa: PLC0415

        # Beside the events, which a reader of them does not want to tell apart from this.
        click.echo(msgspec.json.encode(told), err=drawn is None)
    else:
        late = f", late by {told['late_ms_p99']:.2f} ms at p99" if "late_ms_p99" in told else ""
        seconds, rate = told["seconds"], told["events_per_s"]
        click.echo(f"{show.events:,} events in {seconds:.1f} s, {rate:,} a second{late}", err=True)
    return 0


def _draw(drawn: Chart, chart: Path) -> dict[str, Any]:
    if not drawn.bars:
        raise FallsShort(f"nothing of {drawn.symbol} to draw: it has no trade and no whole quote")
    if str(chart) == "-":
        click.echo(drawn.as_text(_columns()))
        return {"symbol": drawn.symbol, "minutes": len(drawn.bars)}
    if chart.suffix != ".svg":
        raise WrongCall(
            f"--chart {chart}: a chart is written as .svg, or drawn here without a name"
        )
    chart.write_text(drawn.as_svg(), encoding="utf-8")
    click.echo(f"{drawn.title}\nwritten to {chart}", err=True)
    return {"symbol": drawn.symbol, "minutes": len(drawn.bars), "chart": str(chart)}


def _print_events(block: Block, labels: Labels) -> None:
    import msgspec  # noqa: PLC0415

    from edc_pipeline.events import EVENT_TYPES  # noqa: PLC0415
    from edc_pipeline.replay.records import to_table  # noqa: PLC0415

    for n in range(0, len(block), 4096):
        part = block[n : n + 4096]
        lines: list[bytes] = [b""] * len(part)
        for number, event_type in enumerate(EVENT_TYPES):
            places = (part["type"] == number).nonzero()[0].tolist()
            if places:
                rows = to_table(part[places], event_type, labels.known).to_pylist()
                for place, row in zip(places, rows, strict=True):
                    del row["occurrence"]  # counted when a day is consolidated
                    lines[place] = msgspec.json.encode({"event_type": event_type, **row})
        click.echo(b"\n".join(lines))


def _columns() -> int:
    import shutil  # noqa: PLC0415

    return shutil.get_terminal_size((100, 24)).columns


# -- into a pipeline ------------------------------------------------------------------------------


@dataclass(slots=True)
class _Files:
    made: list[Any] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)


def _claim(into: Path, source: str, what: str, between: _Between, day: dt.date | None) -> Path:
    from edc_pipeline.spool.replay_mark import Replayed, SpoolIsLive, mark_replay  # noqa: PLC0415

    spool = into / "spool"
    mark = Replayed(
        source=source,
        what=what,
        at=time.time_ns(),
        day=day.isoformat() if day else "",
        left_out=between.left_out,
    )
    try:
        mark_replay(spool, mark)
    except SpoolIsLive as error:
        raise WrongCall(str(error)) from None
    return spool


def _frames_into(
    into: Path, spool: Path, day: dt.date, settings: Any, between: _Between, show: _Show
) -> int:
    from edc_pipeline.cli.keys import keys  # noqa: PLC0415
    from edc_pipeline.replay.into_spool import Done, replay_frames  # noqa: PLC0415
    from edc_pipeline.replay.recorded_frames import NoFrames, spans_of  # noqa: PLC0415

    try:
        spans_of(options.existing_spool(spool), day)
    except NoFrames as error:
        raise FallsShort(str(error)) from None
    target = _claim(into, str(spool), "frames", between, day)

    def gate(at_ns: int) -> bool:
        inside = (between.from_ns or at_ns) <= at_ns < (between.to_ns or at_ns + 1)
        whole = between == _Between(*replay_sources.bounds(day, None, None), between.symbols)
        if not whole and not inside:
            return False
        let_go = show.pacer.until(at_ns)
        show.events += 1
        if not show.events % 256:
            show.tick()
        return let_go

    done = Done()
    with keys(show.on_key):
        try:
            replay_frames(
                *(spool, target, day),
                rules=settings.capture,
                symbols=between.symbols,
                gate=gate,
                done=done,
            )
        except _Ended:
            show.ended = True
    return _consolidated(into, done, settings, show)


def _events_into(into: Path, player: _Player, settings: Any, asked: Asked) -> int:
    from edc_pipeline.replay.into_spool import replay_events  # noqa: PLC0415

    source = ", ".join(source.name for source in player.sources)
    what = "synthetic" if asked.synthetic else "events"
    target = _claim(into, source, what, player.between, asked.day)
    done = replay_events(
        player.blocks(),
        target,
        player.labels,
        flush_rows=max(settings.capture.flush_rows, 500_000),
        at_ns=player.between.from_ns or 0,
    )
    return _consolidated(into, done, settings, player.show)


def _consolidated(into: Path, done: Done, settings: Any, show: _Show) -> int:
    show.clear()
    if not done.events:
        raise FallsShort("there is nothing to replay: no event of these symbols at that time")
    files = _Files()
    show.played_s = time.monotonic() - show.began_s
    if show.ended:
        files.reasons.append("ended before its end: the daily files hold what was replayed so far")
    _make_files(into, done, settings, files)
    told = show.summary(
        frames=done.frames,
        by_type=dict(done.events),
        other_days=done.other_days,
        not_wanted=done.not_wanted,
        files=[
            {"path": str(m.path), "rows": m.certificate.rows, "hash": m.certificate.content_hash}
            for m in files.made
        ],
        short=files.reasons,
    )
    if show.as_json:
        import msgspec  # noqa: PLC0415

        click.echo(msgspec.json.encode(told))
    else:
        for m in files.made:
            rows, hashed = m.certificate.rows, m.certificate.content_hash
            click.echo(f"{m.path}  {rows:,} rows  {hashed[:23]}…")
        took, rate = told["seconds"], told["events_per_s"]
        click.echo(f"{done.events.total():,} events in {took:.1f} s; {rate:,} a second let go")
        for reason in files.reasons:
            click.echo(f"edc: {reason}", err=True)
    return 1 if files.reasons else 0


def _make_files(into: Path, done: Done, settings: Any, files: _Files) -> None:
    from edc_pipeline.consolidation import CannotConsolidate, consolidate  # noqa: PLC0415

    for day in sorted(done.days):
        for event_type in done.events:
            try:
                made = consolidate(
                    *(into / "spool", into / "daily", event_type, day),
                    codec=settings.consolidation.codec,
                )
            except CannotConsolidate as error:
                if not error.nothing_there:
                    files.reasons.append(str(error))
                continue
            files.made.append(made)
            files.reasons += made.certificate.reasons
