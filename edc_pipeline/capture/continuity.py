"""Numbers and staleness of one feed together. Pure: capture and recovery run the same frames
through it and come to the same statuses and gaps."""

from __future__ import annotations

from collections.abc import Sequence

from edc_pipeline.capture.journal.blocks import Line
from edc_pipeline.capture.sequence import Missing, Numbers
from edc_pipeline.capture.staleness import Staleness
from edc_pipeline.spool.ledger import Gap, Source
from edc_pipeline.vendors.contract import Columns, Reading, SequenceRule


class Continuity:
    """Follows one feed. Costs nothing while the vendor numbers nothing and no gap is open."""

    def __init__(
        self, source: Source, rules: Sequence[SequenceRule] = (), symbols: Sequence[str] = ()
    ) -> None:
        self._source = source
        self._numbers = Numbers(rules)
        self._staleness = Staleness(symbols)
        self._gap: dict[int, int] = {}  # of each shard's latest line; see Line.gap
        self._numbered = self._numbers.followed

    def concerns(self, line: Line) -> bool:
        """Whether `hear` has anything to do for a frame of this line."""
        return self._numbered or self._staleness.active or self._begins_behind_a_gap(line)

    def _begins_behind_a_gap(self, line: Line) -> bool:
        return line.gap > 0 and line.gap > self._gap.get(line.shard or 0, 0)

    def asks_for(self, symbols: Sequence[str]) -> None:
        """The feed's list has changed."""
        self._staleness.asks_for(symbols)

    def hear(self, line: Line, reading: Reading, at: int) -> list[Gap]:
        """Mark the frame's events; returns the gaps that are now certain."""
        if line.gap > self._gap.get(line.shard or 0, 0):
            self._gap[line.shard or 0] = line.gap
            if line.shard is None:
                self._staleness.lose_all()
            for symbol in line.symbols if line.shard is not None else ():
                self._staleness.lose(symbol)
        if not self._numbered:
            for event in reading.events:
                self._staleness.mark(event)
            return []
        return self._hear_numbers(line.connection, reading, at)

    def goes_on(self, line: Line, found: Sequence[Columns], at: int) -> bool:
        """Hears all of it, if nothing is stale and every number follows its last; else nothing."""
        if self._staleness.active or self._begins_behind_a_gap(line):
            return False
        return not self._numbered or self._numbers.go_on(line.connection, found, at)

    def _hear_numbers(self, connection: str, reading: Reading, at: int) -> list[Gap]:
        missing: list[Missing] = []
        numbers, staleness = self._numbers, self._staleness
        if numbers.hear_frame(connection, reading.seq, at, missing):
            staleness.lose_all()
        events = reading.events
        if reading.refused:
            events = sorted((*events, *reading.refused), key=lambda event: event.seq)
        refused = {id(event) for event in reading.refused} if reading.refused else ()
        for event in events:
            admitted = not refused or id(event) not in refused
            if numbers.hear_event(connection, event, at, missing, begins=admitted):
                if numbers.is_of_symbol(event):
                    staleness.lose(event.symbol)
                else:
                    staleness.lose_all()
            if staleness.active and admitted:
                staleness.mark(event)
        return self._gaps(missing) if missing else []

    def connection_ended(self, connection: str) -> list[Gap]:
        missing: list[Missing] = []
        self._numbers.connection_ended(connection, missing)
        return self._gaps(missing)

    def settle(self, at: int | None) -> list[Gap]:
        """Gaps that nothing can fill any more at `at`; None: capture ends, none can be filled."""
        return self._gaps(list(self._numbers.settle(at))) if self._numbered else []

    def _gaps(self, missing: list[Missing]) -> list[Gap]:
        return [
            Gap(self._source, m.symbol, m.from_ns, m.to_ns, m.size, "closed", m.reason, m.first_seq)
            for m in missing
        ]
