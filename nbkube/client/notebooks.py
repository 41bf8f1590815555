"""Notebooks read as pipelines; nothing of them is run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nbkube.client.project import STORE_FOLDER, Project
from nbkube.errors import Diagnostic, NotebookError, Place

if TYPE_CHECKING:
    from nbkube.engines.forecast import Forecast
    from nbkube.notebook.model import Notebook
    from nbkube.pipeline.model import Pipeline
    from nbkube.pipeline.suggest import Suggestion

Options = Mapping[str, Mapping[str, Any]]


class Notebooks(Project):
    """Notebooks read as pipelines; nothing of them is run."""

    def show(
        self,
        path: Path,
        parameters: Mapping[str, Any] | None = None,
        options: Options | None = None,
        *,
        content: bytes | None = None,
    ) -> Pipeline:
        """Return the pipeline a notebook means, faults included as diagnostics; runs and writes nothing.

        `content` is the notebook's JSON as it stands in an editor; without it the file is read.
        Where an earlier run has seen steps with the same code, their edges are those it saw. A bucket is asked only if
        this client was given one.

        Raises:
            NotebookError: the file cannot be read as a notebook.
        """
        from nbkube.observed import records_of, with_record
        from nbkube.plan import place_of
        from nbkube.steps import build_programs

        pipeline = self._pipeline(path, parameters, options, content)
        if any(one.severity == "error" for one in pipeline.diagnostics):
            return pipeline  # it has no programs
        root, notebook = place_of(path)
        store = self._nearby_store(root)
        if store is None or next(iter(store.folders("runs/")), None) is None:
            return pipeline
        programs = build_programs(pipeline, pipeline.values, cwd=notebook.parent.as_posix())
        return with_record(pipeline, records_of(store, notebook.as_posix(), programs))

    def _pipeline(
        self,
        path: Path,
        parameters: Mapping[str, Any] | None = None,
        options: Options | None = None,
        content: bytes | None = None,
    ) -> Pipeline:
        """Return the pipeline as analysis alone sees it: what is run does not depend on what has run."""
        from nbkube.pipeline import build_pipeline

        return build_pipeline(_notebook(path, content)[0], parameters, options)

    def suggest(self, path: Path, *, content: bytes | None = None) -> tuple[Suggestion, ...]:
        """Return tags for the cells of a notebook that have none yet; runs and writes nothing.

        Raises:
            NotebookError: the file cannot be read as a notebook.
        """
        from nbkube.notebook.headings import headings
        from nbkube.pipeline.suggest import suggest_tags

        notebook, data = _notebook(path, content)
        return suggest_tags(notebook, headings(str(path), data))

    def check(self, path: Path, parameters: Mapping[str, Any] | None = None) -> tuple[Diagnostic, ...]:
        """Return all findings about a notebook, errors first; runs and writes nothing."""
        try:
            found = self.show(path, parameters).diagnostics
        except NotebookError as error:
            if not error.diagnostics:
                raise
            found = error.diagnostics
        return tuple(sorted(found, key=lambda one: one.severity != "error"))

    def tag(
        self, path: Path, cell: int | str, tags: Sequence[str] | None, options: Mapping[str, Any] | None = None
    ) -> None:
        """Replace a cell's tags or nbkube options in the file; everything else in it stays byte for byte.

        Raises:
            NotebookError: there is no such cell, or a tag or option is wrong; the file is unchanged.
        """
        from nbkube.notebook import set_tags
        from nbkube.pipeline import check_options

        faults = check_options(options or {}, "the options", Place(str(path)))[1]
        if faults:
            raise NotebookError(diagnostics=faults)
        set_tags(path, cell, tags=tags, options=options)

    def forecast(
        self, path: Path, *, parameters: Mapping[str, Any] | None = None, use_cache: bool = True
    ) -> tuple[Pipeline, tuple[Forecast, ...]]:
        """Return the pipeline a run would be made of and for each of its steps whether its result is known already.

        Nothing is started. Raises `NotebookError` where the run would be refused.
        """
        from nbkube.engines.forecast import forecast
        from nbkube.plan import Plan
        from nbkube.state.snapshot import snapshot

        plan = Plan.of(self._pipeline(path, parameters), path)
        submission = plan.submission("forecast", use_cache=use_cache)
        view = snapshot(plan.root, plan.root / STORE_FOLDER)
        return plan.pipeline, forecast(self._store(plan.root), submission, view)


def _notebook(path: Path, content: bytes | None) -> tuple[Notebook, bytes]:
    """Read a notebook from what an editor holds, or from its file; return its bytes, too."""
    import hashlib

    from nbkube.notebook.read import parse_notebook
    from nbkube.notebook.source import read_bytes

    if content is None:
        found = read_bytes(str(path))
        return parse_notebook(str(path), found.data, found.digest), found.data
    return parse_notebook(str(path), content, hashlib.sha256(content).hexdigest()), content
