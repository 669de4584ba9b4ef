"""The program `mipverify`: its commands, and what a failure tells the shell."""

from __future__ import annotations

import os
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from mipverify import __version__
from mipverify.cli.certify import certify
from mipverify.cli.check import check
from mipverify.cli.compare import compare
from mipverify.cli.distance import distance
from mipverify.cli.entry import main
from mipverify.cli.exit_codes import ExitCode
from mipverify.cli.export import export
from mipverify.cli.inspect import inspect
from mipverify.cli.merge import merge
from mipverify.cli.report import report
from mipverify.cli.universal import universal
from mipverify.cli.vnnlib import vnnlib
from mipverify.errors import InputError, MipverifyError, SoundnessError

__all__ = ["app", "main"]  # scripts that are installed already name the latter

# Exit, Abort and every usage error; the last has no public name in typer.
ANSWERED_BY_TYPER = (typer.Exit, typer.Abort, *typer.BadParameter.__mro__[1:2])


class Program(TyperGroup):
    """A command group that turns exceptions into one line on stderr and an exit code."""

    def invoke(self, ctx: Any) -> Any:
        """Run a command; a defect alone shows a traceback."""
        try:
            return super().invoke(ctx)
        except InputError as error:
            _fail(f"error: {error}", ExitCode.USAGE, error)
        except SoundnessError as error:
            _fail(f"soundness alarm: {error}", ExitCode.UNSOUND, error)
        except MipverifyError as error:
            _fail(f"error: {error}", ExitCode.INTERNAL, error)
        except KeyboardInterrupt as error:
            _fail("interrupted", ExitCode.INTERRUPTED, error)
        except BrokenPipeError as error:
            # The reader of stdout is gone; the interpreter must not try to flush to it at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(ExitCode.INTERRUPTED) from error
        except Exception as error:
            if isinstance(error, ANSWERED_BY_TYPER):
                raise
            import traceback

            traceback.print_exc()
            _fail(f"internal error: {type(error).__name__}: please report it", ExitCode.INTERNAL, error)


def _fail(message: str, code: ExitCode, error: BaseException) -> None:
    typer.echo(message, err=True)
    raise typer.Exit(code) from error


app = typer.Typer(
    cls=Program,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(certify)
app.command()(distance)
app.command()(universal)
app.command()(vnnlib)
app.command()(export)
app.command()(check)
app.command()(report)
app.command()(compare)
app.command()(merge)
app.command()(inspect)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"mipverify {__version__}")
        raise typer.Exit


@app.callback()
def program(
    version: Annotated[
        bool,
        typer.Option(
            "-V", "--version", callback=_show_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    """Certified minimal distortions of ReLU networks, by bounds, attacks and mixed-integer programming."""
