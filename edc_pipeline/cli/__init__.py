"""`edc`: one file a command. Each is imported when it is called, so that `edc --help` is quick."""

from __future__ import annotations

import importlib
import os
import select
import sqlite3
import sys
from collections.abc import Sequence
from typing import Any, Final, TextIO

import click

from edc_pipeline import __version__

# Name → what it is for, in the order of the data's way.
COMMANDS: Final = {
    "doctor": "Tell what is wrong with a set-up, and how to mend it.",
    "vendors": "Show whom we can hear: feeds, limits, free plans, identity.",
    "symbols": "Show how each vendor spells a symbol, and ours for theirs.",
    "simulate": "Run a simulated exchange on this machine.",
    "replay": "Play a day again: look at it, or send it through the pipeline.",
    "synth": "Make a day of any size for benchmarks and demos.",
    "capture": "Capture the feeds of feeds.yaml into the spool.",
    "decode": "Read frames as a vendor sent them, print events.",
    "status": "Show what capture is doing and which days are in.",
    "journal": "List, show and check what was received, frame by frame.",
    "quarantine": "List, show and retry the frames that could not be read.",
    "gaps": "List what is known to be missing.",
    "consolidate": "Make a day's files from the spool.",
    "verify": "Re-read daily files and check all that they claim.",
    "diff": "Tell what one daily file says that another does not.",
    "show": "Show what a daily file holds.",
    "backfill": "Make the files of a span of days.",
    "alert": "Tell whether alerts are heard.",
    "compact": "Put a spool's small micro-batches together.",
    "retain": "Remove the micro-batches that sound daily files hold.",
    "demo": "The whole way in under a minute, without a screen.",
    "dev": "The simulated exchange and the Dagster UI, together.",
}

EXIT_FALLS_SHORT: Final = 1
EXIT_WRONG_CALL: Final = 2
EXIT_INTERRUPTED: Final = 130


class _ReaderHasEnough(Exception):
    """`edc show … | head`: nobody reads standard output any more."""


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"edc_pipeline.cli.{cmd_name}")
        command: click.Command = getattr(module, cmd_name)
        return command

    def invoke(self, ctx: click.Context) -> Any:
        try:
            done = super().invoke(ctx)
            sys.stdout.flush()
        except BrokenPipeError:
            # click would exit with 1, a fault to a shell with `pipefail`.
            if _is_read(sys.stdout):
                raise
            raise _ReaderHasEnough from None
        return done

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


def _is_read(stream: TextIO) -> bool:
    """Whether there is still someone at the other end."""
    poll = select.poll()
    poll.register(stream.fileno(), 0)  # only what can't be hidden: POLLERR, POLLHUP
    return not poll.poll(0)


@click.command(
    cls=_Commands,
    epilog="Exit: 0 done, 1 the data falls short, 2 the call is wrong, 130 interrupted.",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="edc")
def edc() -> None:
    """Event Driven Connectivity: live market data in, one trusted file a day out."""


def main(arguments: Sequence[str] | None = None) -> None:
    """The `edc` command. A user's mistake is told in a line, never in a traceback."""
    try:
        outcome = edc.main(args=arguments, prog_name="edc", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        sys.exit(EXIT_INTERRUPTED)
    except sqlite3.DatabaseError as error:
        click.echo(
            f"edc: the ledger of the spool can't be read or written: {error}. If the file is"
            " damaged, move _ledger.sqlite aside: the micro-batches and the journal stay",
            err=True,
        )
        sys.exit(EXIT_FALLS_SHORT)
    except _ReaderHasEnough:
        # What is left in the buffer goes nowhere, and Python does not complain of it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except OSError as error:
        # A disk that is full, a folder that is not ours: the path and the reason say what to mend.
        where = f"{error.filename}: " if error.filename else ""
        click.echo(f"edc: {where}{error.strerror or error}", err=True)
        sys.exit(EXIT_FALLS_SHORT)
    sys.exit(outcome if isinstance(outcome, int) else 0)
