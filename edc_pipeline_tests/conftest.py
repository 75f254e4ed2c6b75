"""For all tests: an example may take as long as the machine needs, and a failing one prints what it
takes to run it again. And in which order, by how many workers."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings

from edc_pipeline_tests import dice

settings.register_profile(
    "edc",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    print_blob=True,
    derandomize=bool(dice.GIVEN),
)
settings.load_profile("edc")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """One more than there are cores: a third of the suite's time is spent waiting for Dagster."""
    return (os.cpu_count() or 1) + 1


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest first, so that no worker ends with one while the others have nothing to do.

    Before all the steps that share one Dagster: a worker without work takes from another's end, so
    they stay together, and Dagster is started for them once (five times in a measured run).
    """
    items.sort(key=lambda item: (not item.get_closest_marker("dagster_dev"), not _long(item)))


def _long(item: pytest.Item) -> bool:
    timeout = item.get_closest_marker("timeout")
    return timeout is not None and timeout.args[0] > 300
