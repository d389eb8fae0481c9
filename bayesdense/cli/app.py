"""The application: its verbs, its global options, and how errors become exit statuses.

Exit statuses: 0 done; 1 done but a check failed, or an internal error; 2 bad input or usage;
130 interrupted; 141 the reader of a pipe went away.
"""

import atexit
import gc
import os
import sys
import traceback
from typing import Annotated, Any, Final

import typer
from typer.core import TyperGroup

from bayesdense._version import __version__
from bayesdense.cli import (
    backtesting,
    baseline,
    calibrating,
    comparing,
    fitting,
    forward,
    making,
    plotting,
    power,
    reading,
    shelf,
    sweeping,
    trends,
)
from bayesdense.cli.output import say, use_utf8
from bayesdense.errors import BayesdenseError, CheckFailure, ReportError

DONE: Final = 0
CHECKS_FAILED: Final = 1
INTERNAL: Final = 1
BAD_INPUT: Final = 2
INTERRUPTED: Final = 130
BROKEN_PIPE: Final = 141

#: Flags that belong to the program but are often typed behind the verb; and an option with a value.
_GLOBAL_FLAGS: Final = frozenset({"--debug", "-v", "-vv", "--verbose"})
_TREND_FILE: Final = "--trend-file"


class _Program(TyperGroup):
    """The group of verbs: global flags may stand anywhere, Ctrl-C and closed pipes are quiet."""

    # Typer's base class takes a context of its own vendored click: no public name to write here.
    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401
        """Move global flags and options before the verb."""
        end = args.index("--") if "--" in args else len(args)
        flags: list[str] = []
        rest: list[str] = []
        for before, arg in zip(["", *args], args[:end], strict=False):
            name = arg.split("=", 1)[0]
            is_global = arg in _GLOBAL_FLAGS or name == _TREND_FILE or before == _TREND_FILE
            (flags if is_global else rest).append(arg)
        return super().parse_args(ctx, [*flags, *rest, *args[end:]])

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401
        """Run the verb; typer itself would report these two in its own way."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            say("interrupted")
            raise typer.Exit(INTERRUPTED) from None
        except BrokenPipeError:
            _silence_stdout()
            raise typer.Exit(BROKEN_PIPE) from None


app = typer.Typer(
    name="bayesdense",
    cls=_Program,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Example: bayesdense fit densing --out fits/densing",
)
for _name, _verb, _example in (
    ("list", shelf.list_shipped, "bayesdense list --format json"),
    ("show", shelf.show, "bayesdense show densing"),
    ("validate", shelf.validate, "bayesdense validate my-dataset/"),
    ("trends", trends.trends, "bayesdense trends densing"),
    ("fit", fitting.fit, "bayesdense fit densing --seed 7 --out fits/seed-7"),
    ("check", reading.check, "bayesdense check fits/densing"),
    ("summarize", reading.summarize, "bayesdense summarize fits/densing --format json"),
    ("predict", reading.predict, "bayesdense predict fits/densing --params 7e9 --tokens 2e12"),
    ("score", forward.score, "bayesdense score fits/densing new-llms.csv"),
    ("forecast", forward.forecast, "bayesdense forecast fits/densing --at 2026-12-31 --density 20"),
    (
        "compare",
        comparing.compare,
        "bayesdense compare densing --trends exponential,flat --out studies/growth",
    ),
    ("plot", plotting.plot, "bayesdense plot fits/densing trend --out trend.svg"),
    ("report", plotting.report, "bayesdense report fits/densing --out densing.html"),
    ("point", baseline.point, "bayesdense point densing-published"),
    ("diff", reading.diff, "bayesdense diff fits/march fits/april"),
    ("sweep", sweeping.sweep, "bayesdense sweep densing --axes reference_tokens,params"),
    ("backtest", backtesting.backtest, "bayesdense backtest densing --origins 2024-01,2024-07"),
    ("power", power.power, "bayesdense power densing --trends break_known@2024-04-01"),
    (
        "calibrate",
        calibrating.calibrate,
        "bayesdense calibrate densing --fits 200 --world contaminated",
    ),
    ("simulate", making.simulate, "bayesdense simulate --out worlds/one --seed 1"),
):
    app.command(_name, epilog=f"Example: {_example}")(_verb)


def _print_version(wanted: bool) -> None:
    """Answer --version."""
    if wanted:
        typer.echo(f"bayesdense {__version__}")
        raise typer.Exit


@app.callback()
def program(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version."),
    ] = False,
    verbose: Annotated[
        int,
        typer.Option(
            "--verbose",
            "-v",
            count=True,
            help="Say more on stderr; -vv says most.",
            show_default=False,
        ),
    ] = 0,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    trend_file: Annotated[
        list[str] | None,
        typer.Option(
            "--trend-file",
            metavar="PATH.py:NAME",
            help="Add a trend of your own, from a Python file, which is run.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """How fast does the capability density of language models grow? Answers with intervals."""
    from bayesdense import logs

    logs.configure(verbose)
    for place in trend_file or []:
        trends.add_from_file(place)


def main() -> None:
    """Run the command line and exit with its status (docs/reference/cli.md)."""
    use_utf8()
    # Else Python looks through all that the libraries made for cycles before it ends, for .6 s
    atexit.register(gc.freeze)
    try:
        status = _run(debug="--debug" in sys.argv)
        sys.stdout.flush()
    except BrokenPipeError:
        _silence_stdout()
        status = BROKEN_PIPE
    sys.exit(status)


def _run(*, debug: bool) -> int:
    """Run one command; an error becomes a message and a status."""
    try:
        app(prog_name="bayesdense")
    except SystemExit as leaving:
        return leaving.code if isinstance(leaving.code, int) else DONE
    except KeyboardInterrupt:
        say("interrupted")
        return INTERRUPTED
    except BayesdenseError as error:
        if debug:
            traceback.print_exc()
        say(f"error: {error}")
        return _status(error)
    except Exception as error:
        if debug:
            traceback.print_exc()
        hint = "" if debug else "; run again with --debug for more"
        say(f"internal error: {type(error).__name__}: {error}{hint}")
        return INTERNAL
    return DONE


def _status(error: BayesdenseError) -> int:
    """Exit status of an own error."""
    return CHECKS_FAILED if isinstance(error, CheckFailure | ReportError) else BAD_INPUT


def _silence_stdout() -> None:
    """Send what is left for stdout nowhere: its reader has gone, and flushing would fail again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
