"""Notices to where people read: Slack, e-mail, webhooks and some hundred more, by `apprise`."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from edc_pipeline.alerts.notices import Notice

if TYPE_CHECKING:
    from apprise import NotifyBase

INSTALL: Final = "pip install 'edc_pipeline[alerts]'"


class CannotAlert(Exception):
    """Alerts can't be sent at all; the message says why, and how to mend it."""


def send(notice: Notice, urls: Sequence[str]) -> list[str]:
    """Send to every address; returns those that did not take it, named without their secrets."""
    services = _services(urls)
    return [name for name, service in services if not _sent(service, notice)]


def known(urls: Sequence[str]) -> list[str]:
    """What the addresses stand for, without their secrets; `CannotAlert` for one that is none."""
    return [name for name, _ in _services(urls)]


def _services(urls: Sequence[str]) -> list[tuple[str, NotifyBase]]:
    try:
        import apprise  # noqa: PLC0415 - 0.3 s, and in an extra
    except ImportError:
        raise CannotAlert(f"alerts need `apprise`, which is not installed: {INSTALL}") from None
    services = []
    for number, url in enumerate(urls, 1):
        with _silent():
            service = apprise.Apprise.instantiate(url, suppress_exceptions=True)
        if service is None:
            # Never the address itself: it may hold a token, well-formed or not.
            kind = urlsplit(url).scheme[:20] or "no scheme"
            raise CannotAlert(
                f"address {number} of EDC_ALERT_URLS ({kind}://…) is none that apprise knows:"
                " see https://appriseit.com/services/"
            )
        services.append((f"{number}. {service.service_name}", service))
    return services


def _sent(service: NotifyBase, notice: Notice) -> bool:
    from apprise import NotifyType  # noqa: PLC0415 - in an extra

    with _silent():
        try:
            return bool(
                service.notify(
                    title=notice.title, body=notice.body, notify_type=NotifyType(notice.tone)
                )
            )
        except Exception:
            # Whatever a service's code stumbles over: its message may hold the address.
            return False


@contextmanager
def _silent() -> Iterator[None]:
    """apprise logs addresses on failure; they are secrets."""
    logger = logging.getLogger("apprise")
    before = logger.disabled
    logger.disabled = True
    try:
        yield
    finally:
        logger.disabled = before
