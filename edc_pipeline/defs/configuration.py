"""Settings as the Dagster wing takes them: read anew at each use, so that an edited feeds.yaml
counts from the next tick or run on, and a mistake in it is told in a line and breaks no loading."""

from __future__ import annotations

import dagster as dg

from edc_pipeline.settings import Settings, SettingsMistakes, load


class NotConfigured(Exception):
    """What has to be mended before anything can run."""


def settings_now() -> Settings:
    try:
        return load()
    except SettingsMistakes as mistakes:
        raise NotConfigured("the settings are wrong: " + "; ".join(mistakes.mistakes)) from None


def settings_for_capture() -> Settings:
    """Settings with which capture can start: feeds are named, and their keys are there."""
    settings = settings_now()
    if not settings.enabled_feeds:
        raise NotConfigured(
            "no feeds to capture: name some in feeds.yaml (copy feeds.example.yaml to begin)"
        )
    if missing := settings.missing_secrets():
        raise NotConfigured("; ".join(missing))
    return settings


def plain_failure(reason: object) -> dg.Failure:
    """An operator's mistake or a state of the data: told in a line, and no retry would mend it."""
    return dg.Failure(description=str(reason), allow_retries=False)
