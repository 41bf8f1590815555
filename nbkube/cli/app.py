"""The commands. Each reads its arguments, calls `Client` once, prints what came back and returns an exit code."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer.main import get_command_name
from typer.models import CommandInfo

from nbkube.cli import arguments, clusters, labs, serving, storage
from nbkube.cli.arguments import AsJson
from nbkube.cli.faults import guarded, tell_diagnostics
from nbkube.cli.terminal import write

if TYPE_CHECKING:
    from nbkube.client import Client

app = typer.Typer(
    help="Turn a tagged notebook into a pipeline, run it, and prove that it computes what the notebook computes.",
    epilog="Exit codes: 0 ok, 1 a run or check failed, 2 your input is wrong, 3 cluster, store or registry cannot be "
    "reached, 130 cancelled.",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    suggest_commands=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

NotebookPath = Annotated[
    Path, typer.Argument(metavar="NOTEBOOK", help="The notebook (.ipynb, or a percent script .py).", show_default=False)
]
Store = Annotated[
    str | None,
    typer.Option("--store", metavar="FOLDER", help="Where results are kept (default: .nbkube in the project)."),
]
Parameter = Annotated[
    list[str] | None,
    typer.Option("--param", "-p", metavar="NAME=VALUE", help="Give a parameter a value; may be repeated."),
]
ParameterFile = Annotated[
    Path | None, typer.Option("--params", metavar="FILE", help="Read parameters from a .json or .toml file.")
]
Setting = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="STEP.OPTION=VALUE", help="Set an option of a step; may be repeated."),
]


def _runs(incomplete: str) -> list[str]:
    """Complete the names of runs; says nothing when there are none to be found."""
    from nbkube.cli.results import LAST, run_names
    from nbkube.errors import NbkubeError

    try:
        return [name for name in (LAST, *run_names(_client(None))) if name.startswith(incomplete)]
    except (NbkubeError, OSError):
        return []


RunName = Annotated[
    str,
    typer.Argument(
        metavar="[RUN]", help="The run's id, its beginning or end, or last.", autocompletion=_runs, show_default=False
    ),
]


ProfileName = Annotated[
    str,
    typer.Option(
        "--profile", metavar="NAME", help="A profile of nbkube.toml (default: NBKUBE_PROFILE, or the file's)."
    ),
]
NoFuse = Annotated[
    bool, typer.Option("--no-fuse", help="On a cluster: give each step a pod of its own, also in chains of equal ones.")
]
EngineName = Annotated[
    str, typer.Option("--engine", metavar="ENGINE", help="Where to run: local or argo (default: the profile's).")
]


def _client(store: str | None, notebook: Path | None = None, profile: str = "") -> Client:
    from nbkube.client import Client

    return Client(notebook.parent if notebook else None, store=store, profile=profile)


def _version(wanted: bool) -> None:
    if wanted:
        from nbkube import __version__

        write(f"nbkube {__version__}")
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    return None


@app.command()
@guarded
def show(
    notebook: NotebookPath,
    param: Parameter = None,
    params: ParameterFile = None,
    set_: Setting = None,
    mermaid: Annotated[
        bool, typer.Option("--mermaid", help="Print the graph as a Mermaid diagram, for markdown.")
    ] = False,
    store: Store = None,
    json: AsJson = False,
) -> None:
    """Show steps and what flows between them. Nothing is run."""
    from nbkube.cli import pipelines

    pipeline = pipelines.built(_client(store, notebook), notebook, param, params, set_)
    if mermaid:
        from nbkube.cli.mermaid import mermaid as diagram

        write(diagram(pipeline))
    elif json:
        write(pipelines.as_json(pipeline))
    else:
        pipelines.draw_pipeline(pipeline)
    tell_diagnostics(pipeline.diagnostics)
    raise typer.Exit(2 if pipelines.is_broken(pipeline) else 0)


@app.command()
@guarded
def check(
    notebook: NotebookPath,
    param: Parameter = None,
    params: ParameterFile = None,
    set_: Setting = None,
    store: Store = None,
    json: AsJson = False,
) -> None:
    """Report every error and warning at once. Nothing is run."""
    from nbkube.cli import pipelines

    pipeline = pipelines.built(_client(store, notebook), notebook, param, params, set_)
    if json:
        import msgspec

        write(msgspec.json.encode({"diagnostics": list(pipeline.diagnostics)}).decode())
    tell_diagnostics(pipeline.diagnostics)
    if pipelines.is_broken(pipeline):
        raise typer.Exit(2)
    if not json:
        write(f"{notebook}: ready to run ({pipelines.counted(pipeline)}).")


@app.command()
@guarded
def tag(
    notebook: NotebookPath,
    cell: Annotated[str, typer.Argument(metavar="CELL", help="The cell's number (from 1) or its id.")],
    tags: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[TAG]...", help="All tags the cell is to have, such as step:train.", show_default=False
        ),
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option("--option", "-o", metavar="NAME=VALUE", help="Set an option of the step, such as memory=4Gi."),
    ] = None,
    clear: Annotated[bool, typer.Option("--clear", help="Take all tags away.")] = False,
    json: AsJson = False,
) -> None:
    """Write the tags of a cell, and options of its step. Nothing else in the file changes."""
    from nbkube.cli import tagging

    tagging.tag(_client(None, notebook), notebook, cell, tags or (), option or (), clear=clear, json=json)


@app.command()
@guarded
def suggest(
    notebook: NotebookPath,
    accept: Annotated[bool, typer.Option("--accept", help="Write the tags into the notebook.")] = False,
    cell: Annotated[
        list[int] | None, typer.Option("--cell", min=1, metavar="N", help="Only this cell; may be repeated.")
    ] = None,
    json: AsJson = False,
) -> None:
    """Suggest tags for cells that have none, from headings, what cells do, and what flows between them."""
    from nbkube.cli import suggestion

    suggestion.suggest(_client(None, notebook), notebook, cell or (), accept=accept, json=json)


@app.command()
@guarded
def run(
    notebook: NotebookPath,
    param: Parameter = None,
    params: ParameterFile = None,
    set_: Setting = None,
    experiment: Annotated[str, typer.Option("--experiment", metavar="NAME", help="Group this run under a name.")] = "",
    no_cache: Annotated[
        bool, typer.Option("--no-cache", help="Run every step, also those with a known result.")
    ] = False,
    parallel: Annotated[
        int | None,
        typer.Option("--parallel", "-j", min=1, metavar="N", help="Steps that may run at once (default: by CPUs)."),
    ] = None,
    engine: EngineName = "",
    profile: ProfileName = "",
    no_fuse: NoFuse = False,
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Print the run's id and return at once.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress, only the result.")] = False,
    store: Store = None,
    json: AsJson = False,
) -> None:
    """Run a notebook as a pipeline. Steps whose result is known are not run again; ends with the metrics."""
    from nbkube.cli import pipelines, running

    client = _client(store, notebook, profile)
    pipeline = pipelines.built(client, notebook, param, params, set_)
    if pipelines.is_broken(pipeline):
        from nbkube.errors import NotebookError

        raise NotebookError(diagnostics=pipeline.diagnostics)
    tell_diagnostics(pipeline.diagnostics)
    request = running.Request(
        notebook=notebook,
        parameters=pipeline.values,
        options=arguments.step_options(set_ or ()),
        experiment=experiment,
        use_cache=not no_cache,
        parallel=parallel,
        engine=engine,
        fuse=not no_fuse,
    )
    if detach:
        raise typer.Exit(running.submit(client, request, json=json))
    raise typer.Exit(running.run(client, pipeline, request, quiet=quiet, json=json))


@app.command()
@guarded
def trace(
    notebook: NotebookPath,
    param: Parameter = None,
    params: ParameterFile = None,
    set_: Setting = None,
    parallel: Annotated[
        int | None,
        typer.Option("--parallel", "-j", min=1, metavar="N", help="Steps that may run at once (default: by CPUs)."),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress, only the result.")] = False,
    store: Store = None,
    json: AsJson = False,
) -> None:
    """Run every step for its record, then show the pipeline as it was seen."""
    from nbkube.cli import tracing

    raise typer.Exit(
        tracing.trace(
            _client(store, notebook), notebook, param, params, set_, parallel=parallel, quiet=quiet, json=json
        )
    )


@app.command()
@guarded
def runs(
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, metavar="N", help="Show the newest N runs.")] = 20,
    experiment: Annotated[
        str, typer.Option("--experiment", metavar="NAME", help="Only the runs of one experiment.")
    ] = "",
    store: Store = None,
    json: AsJson = False,
) -> None:
    """List runs, the newest first."""
    from nbkube.cli import results

    results.list_runs(_client(store), limit=limit, experiment=experiment, json=json)


@app.command()
@guarded
def status(
    run: RunName = "last",
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Show it until the run has ended.")] = False,
    store: Store = None,
    json: AsJson = False,
) -> None:
    """Show where a run stands. If it failed: where and why, and the exit code is 1."""
    from nbkube.cli import results, running

    if watch:
        running.watch(_client(store), run, json=json)
    raise typer.Exit(results.show_status(_client(store), run, json=json))


@app.command()
@guarded
def logs(
    run: RunName = "last",
    step: Annotated[str | None, typer.Argument(metavar="[STEP]", help="Only this step.", show_default=False)] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the run has ended.")] = False,
    store: Store = None,
    json: AsJson = False,
) -> None:
    """Print what the cells of a run have printed."""
    from nbkube.cli.logs import print_logs

    print_logs(_client(store), run, step, follow=follow, json=json)


@app.command()
@guarded
def artifacts(
    run: RunName = "last",
    files: Annotated[
        Path | None, typer.Option("--files", metavar="FOLDER", help="Copy the files that the run made to a new folder.")
    ] = None,
    html: Annotated[bool, typer.Option("--html", help="Write a report of the run that any browser can show.")] = False,
    output: Annotated[
        Path | None, typer.Option("--output", metavar="FILE", help="Where to write the report (default: RUN.html).")
    ] = None,
    store: Store = None,
    json: AsJson = False,
) -> None:
    """List what a run has made. Export its files, or write an HTML report."""
    from nbkube.cli import results

    client = _client(store)
    if html or output:
        results.write_report(client, run, output, json=json)
    elif files:
        results.export_files(client, run, files, json=json)
    else:
        results.list_artifacts(client, run, json=json)


@app.command("open")
@guarded
def open_(
    run: Annotated[
        str, typer.Argument(metavar="RUN", help="The run's id, its beginning or end, or last.", autocompletion=_runs)
    ],
    step: Annotated[str, typer.Argument(metavar="STEP", help="The step to open.")],
    output: Annotated[
        Path | None,
        typer.Option("--output", metavar="FILE", help="The notebook to write."),
    ] = None,
    store: Store = None,
    json: AsJson = False,
) -> None:
    """Write a notebook that goes on where a step began, or at the cell where it failed."""
    from nbkube.cli import opening

    raise typer.Exit(opening.open_step(_client(store), run, step, output, json=json))


@app.command()
@guarded
def apply(
    opened: Annotated[Path, typer.Argument(metavar="FILE", help="A notebook that open has written.")],
    to: Annotated[
        Path | None, typer.Option("--to", metavar="NOTEBOOK", help="The notebook to change (default: its source).")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Write without asking.")] = False,
    json: AsJson = False,
) -> None:
    """Take what was changed in an opened step back to its notebook. Shows the difference and asks."""
    from nbkube.cli import opening

    raise typer.Exit(opening.apply(_client(None), opened, to, yes=yes, json=json))


@app.command()
@guarded
def verify(
    notebook: NotebookPath,
    param: Parameter = None,
    params: ParameterFile = None,
    engine: EngineName = "",
    profile: ProfileName = "",
    no_fuse: NoFuse = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress, only the result.")] = False,
    json: AsJson = False,
) -> None:
    """Prove that pipeline and notebook compute the same. Both are run twice and everything is compared."""
    from nbkube.cli import verification

    client = _client(None, notebook, profile)
    fuse = not no_fuse
    raise typer.Exit(
        verification.verify(client, notebook, param, params, engine=engine, fuse=fuse, quiet=quiet, json=json)
    )


clusters.add_to(app)
storage.add_to(app)
labs.add_to(app)
serving.add_to(app)

from nbkube.cli import building as building  # noqa: E402
from nbkube.cli import control as control  # noqa: E402 - adds its commands to the app above
from nbkube.cli import exporting as exporting  # noqa: E402


def app_for(words: Sequence[str]) -> typer.Typer:
    """Return the application as these arguments need it: with one command, where its name comes first, else whole.

    Typer reads the signatures of all commands before it looks for one.
    """
    name = words[0] if words else ""
    commands = [one for one in app.registered_commands if _name(one) == name]
    groups = [one for one in app.registered_groups if one.name == name]
    if not commands and not groups:
        return app
    narrow = copy.copy(app)
    narrow.registered_commands, narrow.registered_groups = commands, groups
    return narrow


def _name(command: CommandInfo) -> str | None:
    return command.name or (command.callback and get_command_name(command.callback.__name__))
