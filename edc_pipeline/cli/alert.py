"""`edc alert`: are alerts heard?"""

from __future__ import annotations

from pathlib import Path

import click

from edc_pipeline.cli import options


@click.group(epilog="Example: EDC_ALERT_URLS=ntfy://my-topic edc alert test")
def alert() -> None:
    """What is told to a person who does not look."""


@alert.command(epilog="Example: EDC_ALERT_URLS='slack://…  mailto://…' edc alert test")
@options.config
@options.as_json
def test(config: Path | None, as_json: bool) -> int:
    """Send a test to every address of EDC_ALERT_URLS.

    Exit code 1 when one of them did not take it.
    """
    import msgspec  # noqa: PLC0415

    from edc_pipeline.alerts.notices import Notice  # noqa: PLC0415
    from edc_pipeline.alerts.send import CannotAlert, known, send  # noqa: PLC0415

    urls = options.load_settings(config).alert_urls
    if not urls:
        raise options.WrongCall(
            "EDC_ALERT_URLS is not set: name addresses as https://appriseit.com/services/ spells"
            " them, separated by spaces, e.g. export EDC_ALERT_URLS='json://127.0.0.1:8080/'"
        )
    notice = Notice(
        title="edc: a test",
        body="- alerts of edc_pipeline arrive here",
        kind="capture_down",
        tone="success",
    )
    try:
        names = known(urls)
        failed = send(notice, urls)
    except CannotAlert as reason:
        raise options.WrongCall(str(reason)) from None
    if as_json:
        taken = [name for name in names if name not in failed]
        click.echo(msgspec.json.encode({"sent": taken, "failed": failed}))
    else:
        for name in names:
            click.echo(f"{name}: {'did not take it' if name in failed else 'sent'}")
    return 1 if failed else 0
