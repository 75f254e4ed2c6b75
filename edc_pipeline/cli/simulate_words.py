"""What `edc simulate` says: text for a person, JSON for a machine."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from edc_pipeline.simulator.exchange import Exchange
    from edc_pipeline.simulator.rest_server import RestServer


class Say:
    """What the user sees."""

    def listening(self, exchange: Exchange, rest: RestServer | None = None) -> None:
        raise NotImplementedError

    def listening_rest(self, rest: RestServer) -> None:
        raise NotImplementedError

    def summary_rest(self, rest: RestServer) -> None:
        raise NotImplementedError

    def rate(self, per_s: float, sent: int, clients: int) -> None:
        pass

    def summary(self, exchange: Exchange, seconds: float) -> None:
        raise NotImplementedError


class JsonLines(Say):
    def listening(self, exchange: Exchange, rest: RestServer | None = None) -> None:
        answers = {} if rest is None else _rest(rest)
        line = {"event": "listening", "port": exchange.port, "urls": _urls(exchange), **answers}
        self._line(line)

    def listening_rest(self, rest: RestServer) -> None:
        self._line({"event": "listening", "port": rest.port, **_rest(rest)})

    def summary_rest(self, rest: RestServer) -> None:
        self._line({"event": "summary", "requests": rest.requests, "answers": rest.statuses})

    def summary(self, exchange: Exchange, seconds: float) -> None:
        took = round(seconds, 3)
        faults_done = dict(exchange.trouble.counts)
        summary = {**exchange.truth.summary(), "faults_done": faults_done, "seconds": took}
        self._line({"event": "summary", **summary})

    def _line(self, what: dict[str, Any]) -> None:
        with suppress(BrokenPipeError):
            click.echo(json.dumps(what))


class Text(Say):
    def __init__(self, is_terminal: bool) -> None:
        self._is_terminal = is_terminal

    def listening(self, exchange: Exchange, rest: RestServer | None = None) -> None:
        urls = [*_urls(exchange).values(), *([] if rest is None else [rest.address])]
        click.echo("listening on " + "  ".join(urls) + "  (Ctrl-C stops it)")
        if rest is not None:
            click.echo(f'  curl "{rest.example}"')

    def listening_rest(self, rest: RestServer) -> None:
        click.echo(f"listening on {rest.address}  (Ctrl-C stops it)")
        click.echo(f'  curl "{rest.example}"')

    def summary_rest(self, rest: RestServer) -> None:
        answers = ", ".join(f"{status}: {n:,}" for status, n in sorted(rest.statuses.items()))
        click.echo(f"{rest.requests:,} requests  {answers}")

    def rate(self, per_s: float, sent: int, clients: int) -> None:
        if self._is_terminal:
            click.echo(
                f"\r\x1b[K{per_s:,.0f} frames/s  {sent:,} sent  {clients} connected", nl=False
            )

    def summary(self, exchange: Exchange, seconds: float) -> None:
        summary = exchange.truth.summary()
        parts = [
            f"{summary['data_frames']:,} data frames in {seconds:.1f} s",
            _counted("", summary["by_service"]),
            _counted("connections ", summary["connections"]),
            _counted("faults ", dict(exchange.trouble.counts)),
            _counted("sent again ", {"": summary["faults"].get("resend", 0)}),
            _counted("not sent ", summary["not_sent"]),
        ]
        if exchange.left_out_s:
            parts.append(f"{exchange.left_out_s:.1f} s left out: the rate is more than it can do")
        start = "\r\x1b[K" if self._is_terminal else ""
        click.echo(start + "; ".join(filter(None, parts)))


def _counted(title: str, counts: dict[str, int]) -> str:
    listed = ", ".join(f"{name} {n:,}".strip() for name, n in counts.items() if n)
    return title + listed if listed else ""


def _rest(rest: RestServer) -> dict[str, str]:
    """The address as a feed's `url` has it, and a question to begin with."""
    return {"rest": rest.address, "ask": rest.example}


def _urls(exchange: Exchange) -> dict[str, str]:
    return {service: exchange.url(service) for service in exchange.services}
