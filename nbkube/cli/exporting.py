"""Writing a notebook as a file that another tool runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nbkube.cli import arguments
from nbkube.cli.app import NotebookPath, Parameter, ParameterFile, ProfileName, Setting, Store, app
from nbkube.cli.app import _client as client_for
from nbkube.cli.faults import guarded, tell_diagnostics
from nbkube.cli.terminal import tell, write

_KINDS = ("argo",)


@app.command()
@guarded
def export(
    notebook: NotebookPath,
    to: Annotated[str, typer.Option("--to", metavar="KIND", help="What to write: argo, a Workflow as YAML.")] = "argo",
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Where to write it (default: standard output)."),
    ] = None,
    param: Parameter = None,
    params: ParameterFile = None,
    set_: Setting = None,
    no_cache: Annotated[
        bool, typer.Option("--no-cache", help="Run every step, also those with a known result.")
    ] = False,
    profile: ProfileName = "",
    store: Store = None,
) -> None:
    """Write the pipeline for kubectl. What its steps need besides is put into the profile's store."""
    from nbkube.cli import pipelines
    from nbkube.engines.argo.text import as_yaml
    from nbkube.errors import NbkubeError, NotebookError

    if to not in _KINDS:
        raise NbkubeError(f"nbkube cannot export to {to!r}. Fix: use {', '.join(_KINDS)}.")
    client = client_for(store, notebook, profile)
    pipeline = pipelines.built(client, notebook, param, params, set_)
    if pipelines.is_broken(pipeline):
        raise NotebookError(diagnostics=pipeline.diagnostics)
    tell_diagnostics(pipeline.diagnostics)
    options = arguments.step_options(set_ or ())
    text = as_yaml(client.export(notebook, parameters=pipeline.values, options=options, use_cache=not no_cache))
    if output is None:
        write(text, end="")
    else:
        output.write_text(text, encoding="utf-8")
        tell(f"Each `kubectl create --filename {output}` runs the notebook as it is now.")
