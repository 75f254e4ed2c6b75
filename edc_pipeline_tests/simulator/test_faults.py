"""Faults on demand: exactly what was planned, about what was likely, and all of it told."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edc_pipeline.simulator.faults import FAULTS, Chaos, Cut, Delivery, Line, Odds, Planned, Trouble
from edc_pipeline.simulator.rubbish import RUBBISH_KINDS, rubbish

SECOND = 1_000_000_000
FRAMES = [
    f'{{"messageType":"A","service":"iex","data":["2026-01-22","spy",{n}.5]}}' for n in range(300)
]


def line(chaos: str, service: str = "iex", connection: int = 1) -> Line:
    return Trouble(Chaos.parse(chaos)).line(service, connection)


def run(through: Line, frames: Sequence[str] = FRAMES, step_ns: int = SECOND) -> list[object]:
    steps: list[object] = []
    for number, frame in enumerate(frames):
        steps += through.feed(frame, number * step_ns)
    return steps + list(through.flush())


def deliveries(steps: list[object]) -> list[Delivery]:
    return [s for s in steps if isinstance(s, Delivery)]


def test_without_chaos_everything_passes_as_it_came() -> None:
    steps = deliveries(run(line("")))
    assert [s.body for s in steps] == FRAMES
    assert [s.n for s in steps] == list(range(1, len(FRAMES) + 1))


def test_the_plan_strikes_once_and_exactly_there() -> None:
    trouble = Trouble(Chaos.parse("cut@20,rubbish@iex:5:truncated,duplicate@7"))
    first = run(trouble.line("fx", 1), FRAMES[:10])
    assert [d.fault for d in deliveries(first)] == [""] * 7 + ["duplicate"] + [""] * 3
    second = run(trouble.line("iex", 2), FRAMES[:20])
    assert [d.fault for d in deliveries(second)] == [""] * 5 + ["rubbish"] + [""] * 15
    assert isinstance(second[-1], Cut)
    assert deliveries(run(trouble.line("iex", 3))) == [
        Delivery(body, n) for n, body in enumerate(FRAMES, start=1)
    ]
    assert trouble.counts == {"cut": 1, "rubbish": 1, "duplicate": 1}
    assert [(d.fault, d.connection, d.n) for d in trouble.report] == [
        ("duplicate", 1, 7),
        ("rubbish", 2, 5),
        ("cut", 2, 20),
    ]


def test_reorder_swaps_two_neighbours() -> None:
    bodies = [d.body for d in deliveries(run(line("reorder@2"), FRAMES[:4], step_ns=1))]
    assert bodies == [FRAMES[0], FRAMES[2], FRAMES[1], FRAMES[3]]


def test_a_reordered_frame_without_a_successor_goes_out_alone() -> None:
    mine = line("reorder@1")
    assert mine.feed(FRAMES[0], 0) == []
    assert mine.due(SECOND - 1) == []
    assert [d.body for d in deliveries(list(mine.due(SECOND)))] == [FRAMES[0]]


def test_a_delayed_frame_comes_when_its_time_is_up() -> None:
    mine = line("delay@1:250ms")
    assert mine.feed(FRAMES[0], 0) == []
    assert mine.feed(FRAMES[1], SECOND // 5) == [Delivery(FRAMES[1], 2)]
    assert mine.due(SECOND // 4) == [Delivery(FRAMES[0], 1, "delay")]
    assert mine.flush() == []


def test_mute_withholds_for_as_long_as_was_said() -> None:
    mine = line("mute@3:10s")
    bodies = [d.body for d in deliveries(run(mine, FRAMES[:20]))]
    assert bodies == FRAMES[:3] + FRAMES[12:20]
    assert mine.withheld == 9
    assert not mine.is_mute(12 * SECOND)
    for_good = line("mute@3")
    assert len(deliveries(run(for_good))) == 3


def test_a_cut_loses_nothing_that_was_held() -> None:
    steps = run(line("delay@1:60s,reorder@2,cut@2"), FRAMES[:2])
    assert {d.body for d in deliveries(steps)} == set(FRAMES[:2])
    assert isinstance(steps[-1], Cut)


@settings(deadline=None)
@given(
    odds=st.dictionaries(
        st.sampled_from(("duplicate", "delay", "reorder", "rubbish")), st.floats(0.01, 0.4)
    ),
    seed=st.integers(0, 1000),
)
def test_chance_is_seeded_told_and_loses_nothing_by_itself(
    odds: dict[str, float], seed: int
) -> None:
    text = ",".join(f"{fault}={share:.4f}" for fault, share in odds.items()) + f",seed={seed}"
    trouble = Trouble(Chaos.parse(text))
    steps = deliveries(run(trouble.line("iex", 1), step_ns=SECOND // 100))
    assert steps == deliveries(run(line(text), step_ns=SECOND // 100))
    counted = Counter(d.fault for d in steps if d.fault)
    assert counted == trouble.counts
    originals = [d for d in steps if d.fault not in ("duplicate", "rubbish")]
    assert sorted(d.n for d in originals) == list(range(1, len(FRAMES) + 1))
    assert {d.n: d.body for d in originals} == dict(enumerate(FRAMES, start=1))


def test_dropped_frames_are_lost_and_told_with_what_they_held() -> None:
    trouble = Trouble(Chaos.parse("drop@3:2,drop@9"))
    mine = trouble.line("iex", 1)
    sent = deliveries(run(mine, FRAMES[:12]))
    assert [d.n for d in sent] == [1, 2, 5, 6, 7, 8, 10, 11, 12]
    assert [(d.n, d.body) for d in trouble.report] == [(n, FRAMES[n - 1]) for n in (3, 4, 9)]
    assert mine.lost == {"drop": 3}
    assert trouble.counts == {"drop": 3}


def test_a_corrupted_frame_is_no_text_any_more() -> None:
    trouble = Trouble(Chaos.parse("corrupt=20%,drop=20%,seed=5"))
    sent = deliveries(run(trouble.line("iex", 1)))
    spoiled = [d for d in sent if d.fault == "corrupt"]
    assert spoiled
    for delivery in spoiled:
        assert isinstance(delivery.body, bytes)
        with pytest.raises(UnicodeDecodeError):
            delivery.body.decode()
    told = {(d.fault, d.n): d.body for d in trouble.report}
    assert {n for fault, n in told if fault == "corrupt"} == {d.n for d in spoiled}
    assert len(sent) + trouble.counts["drop"] == len(FRAMES)
    assert all(body == FRAMES[n - 1] for (_, n), body in told.items())


def test_a_hush_silences_one_symbol_alone() -> None:
    mine = line("hush@4:10s:IBM")
    steps: list[object] = []
    for number, frame in enumerate(FRAMES[:30]):
        steps += mine.feed(frame, number * SECOND, "IBM" if number % 2 else "SPY")
    kept = [FRAMES.index(str(d.body)) for d in deliveries(steps)]
    # Struck at second 3: until second 13 what IBM says is withheld.
    assert kept == [n for n in range(30) if n <= 3 or n >= 13 or n % 2 == 0]
    assert mine.lost == {"hush": 4}
    struck = line("hush@2:5s")
    assert struck.feed(FRAMES[0], 0, "SPY")
    assert struck.feed(FRAMES[1], 1, "IBM")
    assert struck.feed(FRAMES[2], 2, "IBM") == []
    assert struck.feed(FRAMES[3], 3, "SPY")


def test_a_slow_line_keeps_the_order_and_loses_nothing() -> None:
    mine = line("slow@3:10s")
    by_second = [mine.feed(frame, n * SECOND) for n, frame in enumerate(FRAMES[:20])]
    assert [len(steps) for steps in by_second] == [1, 1, 1, *[0] * 9, 10, *[1] * 7]
    sent = deliveries([s for steps in by_second for s in steps])
    assert [d.n for d in sent] == list(range(1, 21))


@pytest.mark.parametrize("how", ["cut", "half_open", "expired", "limit"])
def test_an_ending_is_the_last_step_and_says_how(how: str) -> None:
    trouble = Trouble(Chaos.parse(f"{how}@5" + (":2" if how in ("expired", "limit") else "")))
    steps = run(trouble.line("iex", 1), FRAMES[:5])
    assert steps[-1] == Cut(how)  # type: ignore[arg-type]
    answers = [trouble.refusal() for _ in range(3)]
    status = {"expired": 401, "limit": 429}.get(how)
    assert answers == ([status, status, None] if status else [None] * 3)


def test_a_late_snapshot_is_counted_in_snapshots() -> None:
    mine = line("late_snapshot@2:4")
    assert [mine.snapshot_waits_for(n) for n in range(3)] == [0, 4, 0]


def test_rates_by_the_hour_hold() -> None:
    mine = Trouble(Chaos.parse("duplicate=60/h"))
    run(mine.line("iex", 1), FRAMES[:1] * 20_000)  # a frame a second, 5.6 hours
    assert 250 < mine.counts["duplicate"] < 420


@pytest.mark.parametrize("kind", RUBBISH_KINDS)
@settings(deadline=None)
@given(data=st.data())
def test_rubbish_is_rubbish(kind: str, data: st.DataObject) -> None:
    frame = data.draw(st.sampled_from(FRAMES))
    spoiled = rubbish(kind, frame, random.Random(data.draw(st.integers())))
    assert spoiled not in (frame, frame.encode())
    if kind in ("truncated", "not_json"):
        with pytest.raises(json.JSONDecodeError):
            json.loads(spoiled)
    elif kind == "invalid_utf8":
        assert isinstance(spoiled, bytes)
        with pytest.raises(UnicodeDecodeError):
            spoiled.decode()
    else:
        spoiled_frame, sound = json.loads(spoiled), json.loads(frame)
        assert spoiled_frame.keys() == sound.keys()
        changed = "messageType" if kind == "unknown_type" else "data"
        assert {k for k in sound if sound[k] != spoiled_frame[k]} == {changed}


def test_parsing() -> None:
    text = "duplicate=0.1%, delay=0.02:250ms,cut=2/h,mute=1/min:10s,cut@500,rubbish@iex:9:not_json"
    assert Chaos.parse(text + ",seed=7") == Chaos(
        odds=(
            Odds(fault="duplicate", per_frame=0.001),
            Odds(fault="delay", per_frame=0.02, seconds=0.25),
            Odds(fault="cut", per_hour=2),
            Odds(fault="mute", per_hour=60, seconds=10),
        ),
        planned=(
            Planned(fault="cut", frame=500),
            Planned(fault="rubbish", frame=9, service="iex", rubbish="not_json"),
        ),
        seed=7,
    )
    assert Chaos.parse("") == Chaos()
    assert Chaos.parse("clock=-250ms") == Chaos(clock_ns=-SECOND // 4)
    assert Chaos.parse("drop@7:3,hush=1/h:10s:eur/usd,late_snapshot=5%").planned == (
        Planned(fault="drop", frame=7, count=3),
    )
    assert set(FAULTS) >= {odds.fault for odds in Chaos.parse("hush=1/h:1s,limit=1/h").odds}


@pytest.mark.parametrize(
    "text",
    [
        "explode=1%",
        "cut",
        "cut=",
        "cut=often",
        "cut=2/year",
        "duplicate=120%",
        "duplicate=2",
        "cut@0",
        "cut@x",
        "cut@iex",
        "cut@5:10s",
        "drop@5:10s",
        "drop@5:0",
        "mute@5:10s:IBM",
        "clock=soon",
        "delay=1%:soon",
        "rubbish@5:nice",
        "seed=x",
        "=1%",
        "@5",
    ],
)
def test_errors_name_what_was_written(text: str) -> None:
    with pytest.raises(ValueError, match="chaos: ") as caught:
        Chaos.parse(f"duplicate=1%,{text}")
    assert repr(text) in str(caught.value)


@settings(deadline=None)
@given(st.text(alphabet="cut=@:%/h,rbis0123456789.ex ", max_size=30))
def test_any_text_is_parsed_or_refused_with_reason(text: str) -> None:
    refusal = "chaos: "
    try:
        Chaos.parse(text)
    except ValueError as error:
        refusal = str(error)
    assert refusal.startswith("chaos: ")
