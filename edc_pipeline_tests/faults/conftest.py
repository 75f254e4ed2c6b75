from __future__ import annotations

from pathlib import Path

import pytest

from edc_pipeline_tests.faults import shim


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if why := shim.why_not():
        pytest.skip(why)
    return shim.build(tmp_path_factory.mktemp("shim"))


@pytest.fixture
def faults(library: Path, tmp_path: Path) -> shim.Faults:
    return shim.Faults(library, shim.room_for_rules(tmp_path / "rules"))
