"""Commands that act on the kernel they are typed in: `%nbkube restore`, `pull`, `run --from`, `serve`, `predict`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nbkube.cli.faults import guarded
from nbkube.cli.terminal import one_line, safe, tell, write
from nbkube.errors import NbkubeError

if TYPE_CHECKING:
    from nbkube.client import Client
    from nbkube.engines.model import Listener
    from nbkube.interactive.model import Pulled, Restored
    from nbkube.runs import RunState

_COMMANDS = ("restore", "pull", "serve", "predict")

app = typer.Typer(
    help="What a notebook's own kernel can do.",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

RunName = Annotated[str, typer.Argument(metavar="RUN", help="The run's id, its beginning or end, or last.")]
ModelName = Annotated[str, typer.Argument(metavar="MODEL", help="The model's name.")]
StepName = Annotated[str, typer.Argument(metavar="STEP", help="The step.")]
Store = Annotated[str | None, typer.Option("--store", metavar="FOLDER", help="Where the run's results are kept.")]

_store_of_opened: str | None = None
"""The store of the step that this kernel was restored to: its working directory says nothing about the project."""


def is_for_kernel(words: Sequence[str]) -> bool:
    """Tell whether a line after `%nbkube` is one of these commands."""
    from_kernel = any(word == "--from" or word.startswith("--from=") for word in words)
    return bool(words) and (words[0] in _COMMANDS or (words[0] == "run" and from_kernel))


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


@app.command()
@guarded
def run(
    notebook: Annotated[Path, typer.Argument(metavar="[NOTEBOOK]", help="The notebook (default: this one).")],
    begin: Annotated[str, typer.Option("--from", metavar="STEP", help="The step to begin with.")],
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="STEP.OPTION=VALUE", help="Set an option of a step; may be repeated."),
    ] = None,
    experiment: Annotated[str, typer.Option("--experiment", metavar="NAME", help="Group this run under a name.")] = "",
    parallel: Annotated[
        int | None, typer.Option("--parallel", "-j", min=1, metavar="N", help="Steps that may run at once.")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress, only the result.")] = False,
    store: Store = None,
) -> None:
    """Run the notebook's steps from one on with this kernel's variables. No other run finds the results."""
    from nbkube.cli import arguments, results, running
    from nbkube.client import Client

    if _store_of_opened is not None:
        # It works in a copy of the files, which no other step would see.
        raise NbkubeError(
            "This kernel holds an opened step. Fix: take your changes back with nbkube apply and run the notebook; "
            "finished steps are kept."
        )
    path = arguments.existing_notebook(notebook)
    client = Client(path.parent, store=store)
    options = arguments.step_options(set_ or ())
    pipeline = client.show(path, options=options)
    names = [step.name for step in pipeline.steps]
    first = names.index(begin) if begin in names else 0

    def execute(listen: Listener) -> RunState:
        return client.run_from(
            path, begin, _shell(), options=options, experiment=experiment, parallel=parallel, on_event=listen
        )

    state = running.shown_while(pipeline.steps[first:], _telling(execute), quiet=quiet)
    results.tell_outcome(state, path, metrics=True)
    raise typer.Exit(results.exit_code(state.phase))


@app.command()
@guarded
def serve(
    name: ModelName,
    version: Annotated[int | None, typer.Option("--version", metavar="N", min=1, help="By default the newest.")] = None,
    workers: Annotated[int, typer.Option("--workers", metavar="N", min=1, max=64, help="Processes that predict.")] = 2,
    trust: Annotated[str, typer.Option("--trust", metavar="DIGEST", help="Agree to a model that runs code.")] = "",
    store: Store = None,
) -> None:
    """Serve a model; it goes on until `%nbkube endpoints stop MODEL`, also when this kernel ends."""
    endpoint = _client(store).serve(name, version, workers=workers, trust=trust)
    tell(f"{name} version {endpoint.version} is {endpoint.phase} at {endpoint.url}/v2/models/{name}")


@app.command()
@guarded
def predict(
    name: ModelName,
    data: Annotated[
        str, typer.Argument(metavar="[DATA]", help="A variable, or rows as JSON (default: the model's example).")
    ] = "",
    store: Store = None,
) -> None:
    """Ask an endpoint about a variable of this kernel; the answer is shown and is the variable `_prediction`."""
    from nbkube.cli.serving import given

    space = _shell().user_ns
    value = space[data] if data.isidentifier() and data in space else given(data)
    answer = _client(store).predict(name, value)
    space["_prediction"] = answer
    write(safe(repr(answer)))


def _telling(execute: Callable[[Listener], RunState]) -> Callable[[Listener], RunState]:
    """Say where the kernel differs, before anything else is shown."""

    def telling(listen: Listener) -> RunState:
        def take(event: Mapping[str, Any]) -> None:
            if event.get("event") == "difference":
                tell(f"Not as in the notebook: {one_line(str(event['message']))}.")
            else:
                listen(event)

        return execute(take)

    return telling


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
