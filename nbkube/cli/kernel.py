"""Commands that act on the kernel they are typed in: `%nbkube restore`, `%nbkube pull`, `%nbkube run --from`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nbkube.cli.faults import guarded
from nbkube.cli.terminal import one_line, safe, tell

if TYPE_CHECKING:
    from nbkube.client import Client
    from nbkube.interactive.model import Pulled, Restored

COMMANDS = ("restore", "pull")

app = typer.Typer(
    help="What a notebook's own kernel can do.",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

RunName = Annotated[str, typer.Argument(metavar="RUN", help="The run's id, its beginning or end, or last.")]
StepName = Annotated[str, typer.Argument(metavar="STEP", help="The step.")]
Store = Annotated[str | None, typer.Option("--store", metavar="FOLDER", help="Where the run's results are kept.")]

_store_of_opened: str | None = None
"""The store of the step that this kernel was restored to: its working directory says nothing about the project."""


def is_for_kernel(words: Sequence[str]) -> bool:
    """Tell whether a line after `%nbkube` is one of these commands."""
    return bool(words) and words[0] in COMMANDS


def main(words: Sequence[str]) -> None:
    """Run one of the commands; ends with SystemExit."""
    app(args=list(words), prog_name="%nbkube")


@app.command()
@guarded
def restore(run: RunName, step: StepName, store: Store = None) -> None:
    """Bring this kernel to where a step of a run began; for a step that failed, to the failing cell."""
    global _store_of_opened
    client = _client(store)
    _store_of_opened = client.store_url
    done = client.restore_step(run, step, _shell())
    _tell_restored(done)


@app.command()
@guarded
def pull(
    run: RunName,
    step: StepName,
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME]...", help="What to load (default: all that the step has put out)."),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace variables that this kernel has.")] = False,
    store: Store = None,
) -> None:
    """Load results of a step into this kernel. Its own functions and classes are never replaced."""
    client = _client(store)
    _tell_pulled(client.pull(run, step, names or (), _shell().user_ns, overwrite=overwrite))


def _client(store: str | None) -> Client:
    from nbkube.client import Client

    return Client(store=store or _store_of_opened)


def _shell() -> Any:
    from IPython import get_ipython

    return get_ipython()


def _tell_restored(done: Restored) -> None:
    tell(f"Restored: {_listed(done.names) or 'no variables'}.")
    tell(safe(f"Working in a copy of the files, which goes when another kernel is restored: {done.folder}"))
    for name, why in done.missing.items():
        tell(f"Not there: {one_line(name)} {one_line(why)}.")
    if done.replayed:
        tell(f"Run again: cells {', '.join(map(str, done.replayed))}.")
    for one in done.doubts:
        tell(f"The state may differ from the run's: {one_line(one)}.")
    if done.cell:
        tell(f"Go on with cell {done.cell}.")


def _tell_pulled(pulled: Pulled) -> None:
    tell(f"Bound: {_listed(pulled.names) or 'nothing'}.")
    if pulled.same:
        tell(f"The same here already: {_listed(pulled.same)}.")
    if pulled.apart:
        where = ", ".join(f"pulled.{name}" for name in pulled.apart)
        tell(f"Not those of this kernel, which stay as they are: {one_line(where)}.")
    for name, why in pulled.missing.items():
        tell(f"Not stored: {one_line(name)} {one_line(why)}.")


def _listed(names: Sequence[str]) -> str:
    return one_line(", ".join(names[:12]) + (f" and {len(names) - 12} more" if len(names) > 12 else ""))
