"""Every mistake is told with its place, the value, and what is allowed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from edc_pipeline.settings import Settings, SettingsMistakes, load
from edc_pipeline.vendors import VENDORS
from edc_pipeline.vendors.contract import Vendor, Websocket

ROOT = Path(__file__).parents[1]
GOOD = """\
feeds:
  stocks:
    vendor: tiingo
    feed: iex
    symbols: [ON, NO, SPY]   # tickers, not booleans
    url: ws://127.0.0.1:8765/iex
capture:
  flush_seconds: 5
"""


def told(tmp_path: Path, text: str, **environ: str) -> list[str]:
    path = tmp_path / "feeds.yaml"
    path.write_text(text)
    with pytest.raises(SettingsMistakes) as mistakes:
        load(path, environ)
    return mistakes.value.mistakes


def read(tmp_path: Path, text: str, **environ: str) -> Settings:
    path = tmp_path / "feeds.yaml"
    path.write_text(text)
    return load(path, environ)


def test_the_example_is_sound_and_needs_no_key() -> None:
    settings = load(ROOT / "feeds.example.yaml", {})
    assert settings.missing_secrets() == []
    assert {t for f in settings.feeds.values() for t in f.spec.event_types} == {
        "trade",
        "quote",
        "ref_px",
    }


def uncommented(folder: Path, words: str, environ: dict[str, str]) -> Settings:
    """The example with the feeds that stand behind these words, down to the line of dashes."""
    lines = (ROOT / "feeds.example.yaml").read_text().splitlines()
    first = next(n for n, line in enumerate(lines) if words in line)
    last = next(n for n, line in enumerate(lines) if n > first and line.startswith("  # -----"))
    begins = next(n for n in range(first, last) if lines[n] == "  #") + 1
    lines[begins:last] = [line.replace("  # ", "  ", 1) for line in lines[begins:last]]
    return read(folder, "\n".join(lines), **environ)


def test_the_keyless_feeds_of_the_example_are_sound_once_uncommented(tmp_path: Path) -> None:
    settings = uncommented(tmp_path, "without an account", {})
    assert settings.missing_secrets() == []
    real = {feed.vendor for feed in settings.feeds.values() if not feed.is_simulated}
    assert real == {"binance", "coinbase", "kraken"}
    assert len([f for f in settings.feeds.values() if not f.is_simulated]) == 5


def test_the_examples_feeds_with_an_account_are_sound_once_uncommented(tmp_path: Path) -> None:
    vendors = (
        *("massive", "finnhub", "finage", "fmp", "twelve_data"),
        *("tiingo", "alpha_vantage"),
    )
    settings = uncommented(tmp_path, "With an account", {})
    missing = " ".join(settings.missing_secrets())
    assert all(f"EDC_{vendor.upper()}_TOKEN is not set" in missing for vendor in vendors)
    assert "export EDC_ZERODHA_KEY=<api key>:<access token>" in missing
    keys = {f"EDC_{vendor.upper()}_TOKEN": "k" for vendor in vendors} | {"EDC_ZERODHA_KEY": "k:t"}
    settings = uncommented(tmp_path, "With an account", keys)
    assert settings.missing_secrets() == []
    real = {feed.vendor for feed in settings.feeds.values() if not feed.is_simulated}
    assert real == {*vendors, "zerodha"}


def test_yaml_1_1_does_not_eat_tickers_or_times(tmp_path: Path) -> None:
    settings = read(tmp_path, GOOD + "consolidation:\n  at: 10:20\n")
    assert settings.feeds["stocks"].symbols == ("ON", "NO", "SPY")
    assert settings.consolidation.at == "10:20"


def test_the_environment_goes_before_the_file(tmp_path: Path) -> None:
    settings = read(
        tmp_path,
        GOOD,
        EDC_CAPTURE__FLUSH_SECONDS="30",
        EDC_FEEDS__STOCKS__SYMBOLS='["QQQ"]',
        EDC_DATA_DIR="/elsewhere",
    )
    assert settings.capture.flush_seconds == 30
    assert settings.feeds["stocks"].symbols == ("QQQ",)
    assert settings.feeds["stocks"].vendor == "tiingo"
    assert settings.spool == Path("/elsewhere/spool")


def test_a_secret_is_in_no_dump(tmp_path: Path) -> None:
    settings = read(tmp_path, GOOD, EDC_TIINGO_TOKEN="hush")
    assert settings.secret(settings.feeds["stocks"]) == "hush"
    assert "hush" not in repr(settings) + str(settings.model_dump())


def test_a_missing_key_is_named(tmp_path: Path) -> None:
    (line,) = read(
        tmp_path, GOOD.replace("ws://127.0.0.1:8765/iex", "wss://api.tiingo.com/iex")
    ).missing_secrets()
    assert "EDC_TIINGO_TOKEN" in line
    assert "stocks" in line


@pytest.mark.parametrize(
    ("change", "line", "words"),
    [
        (("vendor: tiingo", "vendor: tingo"), 3, ["'tingo'", "did you mean 'tiingo'"]),
        (("feed: iex", "feed: iexx"), 2, ["'iexx'", "did you mean 'iex'", "crypto"]),
        (("feed: iex", "feed: iex\n    optoins: {}"), 5, ["optoins", "did you mean 'options'"]),
        (("[ON, NO, SPY]", "[spy]"), 2, ["'spy'", "upper case"]),
        (("[ON, NO, SPY]", "[]"), 2, ["symbols", "all_symbols"]),
        (("flush_seconds: 5", "flush_seconds: soon"), 8, ["'soon'", "number"]),
        (("flush_seconds: 5", "flush_seconds: -1"), 8, ["-1", "greater than 0"]),
        (("flush_seconds: 5", "flush_sconds: 5"), 8, ["did you mean 'flush_seconds'"]),
        (("capture:", "captur:"), 7, ["captur", "did you mean 'capture'"]),
        (("ws://127.0.0.1:8765/iex", "ws://example.com/"), 2, ["unencrypted", "wss://"]),
        (("ws://127.0.0.1:8765/iex", "http://example.com/"), 2, ["http://example.com/"]),
        (("  stocks:", "  Stocks!:"), 1, ["Stocks!", "lower-case"]),
        (("feed: iex", "feed: iex\n    feed: fx"), 5, ["stands here and on line 4"]),
    ],
)
def test_a_mistake_is_told_with_its_line(
    tmp_path: Path, change: tuple[str, str], line: int, words: list[str]
) -> None:
    mistakes = told(tmp_path, GOOD.replace(*change))
    assert len(mistakes) == 1
    assert f"feeds.yaml line {line}:" in mistakes[0]
    assert all(word in mistakes[0] for word in words)


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    text = GOOD.replace("vendor: tiingo", "vendor: x").replace("flush_seconds: 5", "flush_rows: 0")
    mistakes = told(tmp_path, text, EDC_CAPTURE__HORIZON_DAYS="x", EDC_CAPTUR="1")
    assert len(mistakes) == 4
    assert any("environment EDC_CAPTURE__HORIZON_DAYS" in m and "'x'" in m for m in mistakes)
    assert any("environment EDC_CAPTUR:" in m and "'EDC_CAPTURE'" in m for m in mistakes)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("feeds: [", "line 1"),
        ("- a\n- b\n", "expected `key: value`"),
        ("feeds: !!python/object:os.system {}\n", "line 1"),
        ("a: &a [*a]\n", "line 1"),
    ],
)
def test_what_is_no_yaml_is_told(tmp_path: Path, text: str, words: str) -> None:
    (mistake,) = told(tmp_path, text)
    assert words in mistake


def test_a_file_that_is_named_and_missing_is_told(tmp_path: Path) -> None:
    with pytest.raises(SettingsMistakes, match="No such file"):
        load(tmp_path / "nothing.yaml", {})


def test_bytes_that_are_no_text_are_told(tmp_path: Path) -> None:
    path = tmp_path / "feeds.yaml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SettingsMistakes, match="not UTF-8"):
        load(path, {})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("flush_seconds: 5", "flush_rows: 1.5"), ["1.5", "a whole number is needed"]),
        (("flush_seconds: 5", "raw_archive: 7"), ["7", "text is needed"]),
        (("flush_seconds: 5", "raw_archive: week"), ["'week'", "days, as 7d"]),
        (("flush_seconds: 5", "flush_rows: 0"), ["must be at least 1"]),
        (("[ON, NO, SPY]", "SPY"), ["'SPY'", "a list is needed"]),
        (("    feed: iex\n", ""), ["feeds.stocks.feed", "is missing"]),
        (("url: ws://127.0.0.1:8765/iex", "enabled: perhaps"), ["'perhaps'", "true or false"]),
        (("url: ws", "secret: hush hush\n    url: ws"), ["secret: names a variable"]),
        (("capture:\n", "webhook: {host: 0.0.0.0}\ncapture:\n"), ["'0.0.0.0'", "public: true"]),
        (("capture:\n", "webhook: {proxies: [me]}\ncapture:\n"), ["'me' is no IP address"]),
    ],
)
def test_a_mistake_is_told_in_the_files_own_words(
    tmp_path: Path, change: tuple[str, str], words: list[str]
) -> None:
    (mistake,) = told(tmp_path, GOOD.replace(*change))
    assert all(word in mistake for word in words)
    assert "input" not in mistake.lower()
    assert "hush" not in mistake


def test_a_variable_that_is_no_json_is_named(tmp_path: Path) -> None:
    (mistake,) = told(
        tmp_path, GOOD, EDC_FEEDS__STOCKS__SYMBOLS="AAPL,MSFT", EDC_CAPTURE__FLUSH_ROWS="5"
    )
    assert mistake.startswith("environment EDC_FEEDS__STOCKS__SYMBOLS = 'AAPL,MSFT': is no JSON")


def test_a_feed_may_name_the_variable_of_its_key(tmp_path: Path) -> None:
    text = GOOD.replace("    feed: iex\n", "    feed: iex\n    secret: EDC_MY_OTHER_TOKEN\n")
    settings = read(tmp_path, text, EDC_MY_OTHER_TOKEN="hush", EDC_TIINGO_TOKEN="loud")
    assert settings.secret(settings.feeds["stocks"]) == "hush"
    real = text.replace("ws://127.0.0.1:8765/iex", "wss://api.tiingo.com/iex")
    (line,) = read(tmp_path, real, EDC_TIINGO_TOKEN="loud").missing_secrets()
    assert "EDC_MY_OTHER_TOKEN is not set" in line


def test_more_connections_than_the_vendor_allows_are_refused_with_the_arithmetic(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tiingo = VENDORS["tiingo"]
    fx = replace(tiingo.feeds["fx"], websocket=Websocket(symbols_per_connection=2, connections=2))
    made = replace(tiingo, feeds={**tiingo.feeds, "fx": fx})
    monkeypatch.setitem(cast(dict[str, Vendor], VENDORS), "tiingo", made)

    def made_of(feeds: dict[str, Any]) -> Settings:
        return Settings(feeds=feeds)

    four: dict[str, Any] = {
        "vendor": "tiingo",
        "feed": "fx",
        "symbols": ["EUR/USD", "USD/JPY", "GBP/USD", "AUD/USD"],
    }
    assert made_of({"a": four}).feeds["a"].websocket.connections == 2
    refused: tuple[dict[str, Any], ...] = (
        {"a": {**four, "symbols": [*four["symbols"], "NZD/USD"]}},
        {"a": four, "b": {**four, "symbols": ["EUR/USD"]}},
        {"a": {**four, "connections": 2}},
    )
    for feeds in refused:
        with pytest.raises(ValueError, match="Tiingo fx allows 2 of one key, 2 symbols each"):
            made_of(feeds)
    # Another key, a better plan, or one that is switched off.
    made_of({"a": four, "b": {**four, "secret": "EDC_OTHER"}})
    made_of({"a": {**four, "connections": 2, "limits": {"connections": 4}}})
    made_of({"a": four, "b": {**four, "enabled": False}})


def test_the_webhooks_of_the_example_are_sound_once_uncommented(tmp_path: Path) -> None:
    lines = (ROOT / "feeds.example.yaml").read_text().splitlines()
    begin = next(i for i, line in enumerate(lines) if "Who calls us" in line)
    begin = next(i for i, line in enumerate(lines[begin:], begin) if line.startswith("  # alerts:"))
    end = next(i for i, line in enumerate(lines[begin:], begin) if line.startswith("  # ---"))
    block = ["  " + line.removeprefix("  # ").removeprefix("  #") for line in lines[begin:end]]
    secrets = dict.fromkeys(
        ("EDC_TRADINGVIEW_SECRET", "EDC_FINNHUB_SECRET", "EDC_MY_FILLS_SECRET"), "x" * 16
    )
    settings = read(tmp_path, "\n".join(["feeds:", *block]), **secrets)
    assert {f.vendor for f in settings.feeds.values()} == {"tradingview", "finnhub", "signed_json"}
    assert settings.missing_secrets() == []
    short = read(tmp_path, "\n".join(["feeds:", *block]), **{**secrets, "EDC_FINNHUB_SECRET": "x"})
    (line,) = short.missing_secrets()
    assert "EDC_FINNHUB_SECRET is short" in line
