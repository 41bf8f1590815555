"""From errors to messages and exit codes: 0 ok, 1 a run or check failed, 2 wrong input, 3 store, 130 cancelled."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import ParamSpec, TypeVar

import typer

from nbkube.cli.terminal import safe, tell, write
from nbkube.errors import Diagnostic, NbkubeError

CANCELLED = 130
SHOWN = 20
"""Diagnostics printed at once; the rest is counted."""

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")


def guarded(command: Callable[_Arguments, _Result]) -> Callable[_Arguments, _Result]:
    """Turn a command's errors into one message per fault and the right exit code; never a traceback for a mistake."""

    @functools.wraps(command)
    def run(*args: _Arguments.args, **kwargs: _Arguments.kwargs) -> _Result:
        try:
            return command(*args, **kwargs)
        except NbkubeError as error:
            explain(error, as_json=bool(kwargs.get("json")))
            raise typer.Exit(error.exit_code) from None
        except KeyboardInterrupt:
            tell("Cancelled.")
            raise typer.Exit(CANCELLED) from None
        except OSError as error:
            if error.filename is None:
                raise
            tell(safe(f"Error: {error.filename}: {error.strerror or error}."))
            raise typer.Exit(2) from None

    return run


def explain(error: NbkubeError, *, as_json: bool) -> None:
    """Print an error: its diagnostics where it has some, else its message; with `as_json` also as one JSON object."""
    if error.diagnostics:
        tell_diagnostics(error.diagnostics)
    else:
        tell(safe(f"Error: {error}"))
    if as_json:
        import msgspec

        body = {"error": str(error), "diagnostics": list(error.diagnostics)}
        write(msgspec.json.encode(body).decode())


def tell_diagnostics(diagnostics: Sequence[Diagnostic]) -> None:
    """Print diagnostics to stderr, errors first, at most the first twenty."""
    ordered = sorted(diagnostics, key=lambda one: ("error", "warning", "info").index(one.severity))
    for one in ordered[:SHOWN]:
        tell(safe(f"{'' if one.severity == 'error' else one.severity + ': '}{one}"))
    if len(ordered) > SHOWN:
        tell(f"… and {len(ordered) - SHOWN} more.")
