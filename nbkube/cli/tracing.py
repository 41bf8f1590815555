"""A run for its record: every step is run, and the pipeline is shown as it was seen."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nbkube.cli import arguments, pipelines, results, running
from nbkube.cli.faults import tell_diagnostics
from nbkube.cli.terminal import write
from nbkube.errors import NotebookError

if TYPE_CHECKING:
    from nbkube.client import Client


def trace(
    client: Client,
    notebook: Path,
    texts: Sequence[str] | None,
    file: Path | None,
    settings: Sequence[str] | None,
    *,
    parallel: int | None,
    quiet: bool,
    json: bool,
) -> int:
    """Run a notebook without the cache, show the pipeline with what was seen, and return the exit code."""
    pipeline = pipelines.built(client, notebook, texts, file, settings)
    if pipelines.is_broken(pipeline):
        raise NotebookError(diagnostics=pipeline.diagnostics)
    options = arguments.step_options(settings or ())
    state = running.shown_while(
        pipeline.steps,
        lambda listen: client.run(
            notebook, parameters=pipeline.values, options=options, use_cache=False, parallel=parallel, on_event=listen
        ),
        quiet=quiet or json,
    )
    results.tell_outcome(state, notebook, metrics=False)
    seen = client.show(notebook, parameters=pipeline.values, options=options)
    if json:
        write(pipelines.as_json(seen))
    else:
        pipelines.draw_pipeline(seen)
    tell_diagnostics(seen.diagnostics)
    return results.exit_code(state.phase)
