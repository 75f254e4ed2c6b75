from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

FEEDS = """
data_dir: {data}
feeds:
  stocks:
    vendor: tiingo
    feed: iex
    symbols: [AAPL, SPY]
    url: {url}
"""


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder that the settings name, and nothing else in the environment."""
    for name in [n for n in os.environ if n.startswith("EDC_")]:
        monkeypatch.delenv(name)
    write_feeds(tmp_path)
    monkeypatch.setenv("EDC_CONFIG", str(tmp_path / "feeds.yaml"))
    return tmp_path / "data"


def write_feeds(folder: Path, url: str = "ws://127.0.0.1:9/iex") -> None:
    (folder / "feeds.yaml").write_text(FEEDS.format(data=folder / "data", url=url))


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance
