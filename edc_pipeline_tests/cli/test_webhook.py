"""Webhooks as a person sets them up: feeds.yaml, `edc capture`, `edc simulate --post-to`."""

from __future__ import annotations

import json
import signal
import socket
from pathlib import Path

import yaml

from edc_pipeline_tests.capture.calling import (
    ALERTS,
    ENVIRON,
    SIGNED,
    SIGNED_SECRET,
    TRADINGVIEW_SECRET,
    written,
)
from edc_pipeline_tests.cli.calling import edc, start

BODY = '{"id": "e1", "items": [{"s": "BRKB", "p": "412.5", "q": 3, "t": 1769092200123}]}'


def test_from_a_sender_to_the_status(tmp_path: Path) -> None:
    config = written(tmp_path, {"alerts": ALERTS, "fills": SIGNED})
    port = yaml.safe_load(config.read_text())["webhook"]["port"]
    capture = start("capture", "--config", config, cwd=tmp_path, **ENVIRON)
    try:
        for vendor, feed, secret in (
            ("TradingView", "alerts", TRADINGVIEW_SECRET),
            ("signed-json", "fills", SIGNED_SECRET),
        ):
            said = edc(
                "simulate", "--vendor", vendor, "--post-to", f"http://127.0.0.1:{port}/{feed}",
                "--events", "5", "--rate", "100", "--json", cwd=tmp_path, EDC_SIM_TOKEN=secret,
            )  # fmt: skip
            assert said.code == 0, said.err
            assert json.loads(said.out)["accepted"] == 5
        # The same posts again: their ids are known.
        again = edc(
            "simulate", "--vendor", "signed_json", "--post-to", f"http://127.0.0.1:{port}/fills",
            "--events", "3", "--rate", "100", cwd=tmp_path, EDC_SIM_TOKEN=SIGNED_SECRET,
        )  # fmt: skip
        assert "3 accepted, 0 refused" in again.out
        wrong = edc(
            "simulate", "--vendor", "tradingview", "--post-to", f"http://127.0.0.1:{port}/alerts",
            "--events", "2", "--rate", "100", cwd=tmp_path, EDC_SIM_TOKEN="no",
        )  # fmt: skip
        assert "0 accepted, 2 refused" in wrong.out
    finally:
        capture.send_signal(signal.SIGTERM)
        _, told = capture.communicate(timeout=30)
    assert capture.returncode == 0, told
    assert "hush" not in told
    status = json.loads(edc("status", "--config", config, "--json", cwd=tmp_path).out)
    feeds = {feed["name"]: feed for feed in status["collector"]["feeds"]}
    assert feeds["alerts"]["refused_calls"] == {"wrong secret": 2}
    assert feeds["fills"]["events"] == {"trade": 5}
    shown = edc("status", "--config", config, cwd=tmp_path).out
    assert "alerts: refused 2 calls: wrong secret 2" in shown
    assert "fills: 3 calls brought what had come already" in shown


def test_a_port_that_is_taken_is_a_wrong_call(tmp_path: Path) -> None:
    config, key = written(tmp_path, {"alerts": ALERTS}), TRADINGVIEW_SECRET
    port = yaml.safe_load(config.read_text())["webhook"]["port"]
    with socket.create_server(("127.0.0.1", port)):
        said = edc("capture", "--config", config, cwd=tmp_path, EDC_TRADINGVIEW_SECRET=key)
        assert said.code == 2
        assert f"can't listen on 127.0.0.1:{port}" in said.err
        assert "Traceback" not in said.err
        told = ("doctor", "--config", config, "--offline")
        doctor = edc(*told, cwd=tmp_path, EDC_TRADINGVIEW_SECRET=key)
        assert f"127.0.0.1:{port} for the webhook: Address already in use" in doctor.out


def test_a_secret_that_is_short_or_missing_is_told(tmp_path: Path) -> None:
    config = written(tmp_path, {"alerts": ALERTS})
    said = edc("capture", "--config", config, cwd=tmp_path)
    assert (said.code, "EDC_TRADINGVIEW_SECRET is not set" in said.err) == (2, True)
    said = edc("capture", "--config", config, cwd=tmp_path, EDC_TRADINGVIEW_SECRET="hush-1")
    assert said.code == 2
    assert "at least 16" in said.err
    assert "hush" not in said.err


def test_decode_reads_with_a_mapping(tmp_path: Path) -> None:
    config = written(tmp_path, {"fills": SIGNED})
    told = ("decode", "--vendor", "signed_json")
    like = edc(*told, "--like", "fills", "--config", config, cwd=tmp_path, stdin=BODY.encode())
    assert like.code == 0, like.err
    row = json.loads(like.out)
    assert (row["symbol"], row["price"], row["feed"]) == ("BRK.B", 412.5, "events")
    as_json = json.dumps(SIGNED["options"])
    same = edc(*told, "--options", as_json, cwd=tmp_path, stdin=BODY.encode())
    assert json.loads(same.out)["symbol"] == "BRK.B"
    for words, wrong in (
        (("--options", "{"), "is no JSON object"),
        (("--options", '{"mapping": {"symbol": "s["}}'), "no JMESPath expression"),
        (("--like", "nothing", "--config", str(config)), "there is no feed 'nothing'"),
    ):
        said = edc(*told, *words, cwd=tmp_path, stdin=BODY.encode())
        assert said.code == 2
        assert wrong in said.err
