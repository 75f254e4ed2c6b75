"""A fake exchange is open: from its first listening until it is over or told to stop."""

from __future__ import annotations

import asyncio
import errno
import signal
import time
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import click

from edc_pipeline.cli.options import WrongCall
from edc_pipeline.cli.simulate_words import Say

if TYPE_CHECKING:
    from edc_pipeline.simulator.exchange import Exchange
    from edc_pipeline.simulator.rest_server import RestServer


def _told_to_stop() -> asyncio.Future[int]:
    """The signal that ends it, once it came."""
    loop = asyncio.get_running_loop()
    told: asyncio.Future[int] = loop.create_future()

    def stop(number: int) -> None:
        if not told.done():
            told.set_result(number)

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop, number)
    return told


async def serve_rest(rest: RestServer, say: Say, seconds: float | None) -> bool:
    """Until told to stop, or `seconds` are over; True when that was SIGINT."""
    told = _told_to_stop()
    try:
        await rest.__aenter__()
    except OSError as error:
        raise WrongCall(
            _why_not(error, rest.config.host, rest.config.port, "--rest-port")
        ) from None
    say.listening_rest(rest)
    await asyncio.wait((told,), timeout=seconds)
    await rest.__aexit__()
    say.summary_rest(rest)
    return told.done() and told.result() == signal.SIGINT


async def serve(exchange: Exchange, rest: RestServer | None, say: Say) -> bool:
    """Until it is over or told to stop; True when that was SIGINT."""
    told = _told_to_stop()
    started = time.monotonic()
    config = exchange.config
    async with AsyncExitStack() as stack:
        try:
            await stack.enter_async_context(exchange)
        except OSError as error:
            raise WrongCall(_why_not(error, config.host, config.port, "--port")) from None
        if rest is not None:
            try:
                await stack.enter_async_context(rest)
            except OSError as error:
                port = rest.config.port
                raise WrongCall(_why_not(error, config.host, port, "--rest-port")) from None
        say.listening(exchange, rest)
        watching = asyncio.create_task(_watch(exchange, say))
        over = asyncio.create_task(exchange.finished())
        await asyncio.wait((told, over), return_when=asyncio.FIRST_COMPLETED)
        watching.cancel()
        if not over.cancel():
            _check(over)
    say.summary(exchange, time.monotonic() - started)
    return told.done() and told.result() == signal.SIGINT


def _check(over: asyncio.Task[None]) -> None:
    try:
        over.result()
    except OSError as error:  # the one file that is written while it runs
        raise click.ClickException(f"--truth: {error.strerror}; stopped") from None


def _why_not(error: OSError, host: str, port: int, option: str) -> str:
    if error.filename is not None:
        return f"--truth {error.filename}: {error.strerror}"
    if error.errno == errno.EADDRINUSE:
        return (
            f"port {port} on {host} is taken: stop what listens there, "
            f"or choose another with {option} (0 picks a free one)"
        )
    return f"cannot listen on {host}:{port}: {error.strerror or error}; see --host and {option}"


async def _watch(exchange: Exchange, say: Say) -> None:
    sent_before, before = 0, time.monotonic()
    while True:
        await asyncio.sleep(1)
        sent, now = exchange.truth.data.total(), time.monotonic()
        say.rate((sent - sent_before) / (now - before), sent, exchange.clients)
        sent_before, before = sent, now
