"""The command line `nbkube`: translates arguments into calls of `Client` and prints what comes back."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line with `arguments` (default: the process's own); ends with SystemExit."""
    from nbkube.cli.app import app

    app(args=None if arguments is None else list(arguments), prog_name="nbkube")
