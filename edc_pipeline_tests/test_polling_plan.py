"""A plan that a vendor's budget cannot carry is refused at start, with the arithmetic."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from edc_pipeline.cli.doctor import doctor
from edc_pipeline.polling_plan import Plan, plan_mistakes
from edc_pipeline.settings import Settings, SettingsMistakes, load
from edc_pipeline.vendors.contract import Budget

SIXTY = ", ".join(f"A{n}" for n in range(60))


def feed(name: str, **told: object) -> str:
    lines = {"vendor": "finnhub", "feed": "quote", "symbols": "[AAPL]", **told}
    return f"  {name}:\n" + "".join(f"    {key}: {value}\n" for key, value in lines.items())


def mistakes(tmp_path: Path, *feeds: str) -> list[str]:
    path = tmp_path / "feeds.yaml"
    path.write_text("feeds:\n" + "".join(feeds))
    with pytest.raises(SettingsMistakes) as wrong:
        load(path, {})
    return wrong.value.mistakes


def sound(tmp_path: Path, *feeds: str) -> Settings:
    path = tmp_path / "feeds.yaml"
    path.write_text("feeds:\n" + "".join(feeds))
    return load(path, {})


def test_too_often_is_refused_with_the_arithmetic_and_the_remedy(tmp_path: Path) -> None:
    (told,) = mistakes(tmp_path, feed("quotes", symbols=f"[{SIXTY}]", every=5))
    assert "feeds.yaml line 6: feeds.quotes" in told
    assert "60 symbols every 5 s = 720/min, Finnhub's free plan allows 60" in told
    assert "every to 60 s or more" in told
    assert "budget: {minute: 720}" in told


def test_the_remedy_is_one(tmp_path: Path) -> None:
    settings = sound(tmp_path, feed("quotes", symbols=f"[{SIXTY}]", every=60))
    assert settings.polling_plans[0].in_a("minute") == 60
    sound(tmp_path, feed("quotes", symbols=f"[{SIXTY}]", every=5, budget="{minute: 720}"))


def test_feeds_of_one_key_are_counted_together(tmp_path: Path) -> None:
    one = feed("one", symbols=f"[{SIXTY}]", every=60)
    two = feed("two", symbols="[IBM]", every=60)
    (told,) = mistakes(tmp_path, one, two)
    assert "one: 60 symbols every 60 s + two: 1 symbol every 60 s = 61/min" in told
    sound(tmp_path, one, two.replace("every: 60", "every: 60\n    secret: EDC_MY_OTHER_KEY"))


def test_a_day_has_its_hours_of_trading_and_one_request_after_the_close(tmp_path: Path) -> None:
    alpha = {"vendor": "alpha_vantage", "feed": "global_quote"}
    sound(tmp_path, feed("quotes", **alpha, symbols="[A, B, C]", every=3600))
    (told,) = mistakes(tmp_path, feed("quotes", **alpha, symbols="[A, B, C, D]", every=3600))
    assert "4 symbols every 3600 s = 30/day, Alpha Vantage's free plan allows 25" in told
    (told,) = mistakes(tmp_path, feed("q", **alpha, symbols="[A, B]", every=3600, hours="always"))
    assert "= 48/day" in told
    pairs = {"vendor": "alpha_vantage", "feed": "exchange_rate", "symbols": "[EUR/USD, BTC/USD]"}
    assert "= 48/day" in mistakes(tmp_path, feed("pairs", **pairs))[0]


def test_a_vendor_that_takes_many_symbols_at_once_is_counted_by_its_requests(
    tmp_path: Path,
) -> None:
    many = ", ".join(f"A{n}" for n in range(150))
    tiingo = {"vendor": "tiingo", "feed": "iex_rest", "symbols": f"[{many}]", "every": 10}
    (told,) = mistakes(tmp_path, feed("stocks", **tiingo))
    assert "150 symbols in 2 requests every 10 s = 720/h" in told


def test_a_symbol_that_is_named_twice_is_asked_for_and_counted_once(tmp_path: Path) -> None:
    """As a websocket's is."""
    settings = sound(tmp_path, feed("quotes", symbols=f"[{SIXTY}, A0, A59, A0]", every=60))
    (plan,) = settings.polling_plans
    assert (plan.symbols, plan.requests) == (60, 60)
    quotes = settings.feeds["quotes"]
    assert quotes.spec.polling is not None
    asked = [
        request.query["symbol"] for request in quotes.spec.polling.requests(quotes.subscription)
    ]
    assert len(set(asked)) == len(asked) == 60


def test_budgets_that_disagree_are_told(tmp_path: Path) -> None:
    (told,) = mistakes(
        tmp_path, feed("one", budget="{minute: 300}"), feed("two", budget="{minute: 600}")
    )
    assert "one and two share one Finnhub key" in told


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ({"connections": 2}, "what is polled is asked once"),
        ({"url": "ws://127.0.0.1:1"}, "is not a http:// or https:// address"),
        ({"url": "http://finnhub.example"}, "would send the key and the data unencrypted"),
        ({"every": 0}, "must be greater than 0"),
        ({"budget": "{fortnight: 3}"}, "must be one of"),
        ({"budget": "{minute: 0}"}, "must be at least 1"),
        ({"hours": "nights"}, "must be one of"),
        ({"options": "{every_poll: sometimes}"}, "every_poll is true or false"),
        ({"symbols": "[]", "all_symbols": "true"}, "has to be asked symbol by symbol"),
    ],
)
def test_a_mistake_of_a_polled_feed_is_told(
    tmp_path: Path, setting: dict[str, object], told: str
) -> None:
    assert told in "\n".join(mistakes(tmp_path, feed("quotes", **setting)))


@pytest.mark.parametrize("setting", ["every: 5", "hours: always", "budget: {minute: 3}"])
def test_what_means_nothing_to_a_websocket_is_told(tmp_path: Path, setting: str) -> None:
    stocks = feed("stocks", vendor="tiingo", feed="iex") + f"    {setting}\n"
    assert "is not polled" in mistakes(tmp_path, stocks)[0]


def test_doctor_tells_the_plan_and_its_share_of_the_budget(tmp_path: Path) -> None:
    path = tmp_path / "feeds.yaml"
    path.write_text(f"data_dir: {tmp_path}\nfeeds:\n{feed('quotes', url='http://127.0.0.1:9')}")
    result = CliRunner().invoke(doctor, ["--config", str(path), "--offline", "--json"])
    found = [json.loads(line) for line in result.output.splitlines()]
    (polling,) = [f["said"] for f in found if f["what"] == "polling"]
    assert "quotes: 1 symbol every 60 s = 1 of 60 a minute" in polling
    (address,) = [f["remedy"] for f in found if f["what"] == "address"]
    assert address == "edc simulate --vendor finnhub --rest-port 9"


@given(
    requests=st.integers(1, 500),
    every_s=st.floats(0.1, 86_400),
    limit=st.integers(1, 10_000),
    per=st.sampled_from(["second", "minute", "hour", "day", "month"]),
    hours=st.sampled_from(["regular", "extended", "always"]),
)
def test_what_is_told_to_be_too_much_is(
    requests: int, every_s: float, limit: int, per: str, hours: str
) -> None:
    plan = Plan(
        "quotes",
        "Acme",
        "acme",
        requests,
        requests,
        every_s,
        frozenset({"equity"}),
        hours,  # type: ignore[arg-type]
        (Budget(limit, per),),  # type: ignore[arg-type]
        stated=False,
    )
    told = plan_mistakes([plan])
    assert bool(told) == (plan.in_a(per) > limit * (1 + 1e-9))
