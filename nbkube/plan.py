"""A notebook on its way from a pipeline to a run: its place in the project, its programs, what an engine is given."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from nbkube import __version__
from nbkube.dataflow.model import Dependency
from nbkube.engines.budget import check as check_requests
from nbkube.engines.budget import machine
from nbkube.engines.model import Submission, UnitPlan
from nbkube.errors import Diagnostic, NotebookError, Place
from nbkube.notebook.model import Notebook
from nbkube.pipeline import check
from nbkube.pipeline.model import Pipeline
from nbkube.runs import Run, RunUnit, new_run_id
from nbkube.runtime.program import StepProgram
from nbkube.state.model import OutputRef
from nbkube.state.snapshot import FileView, find_root, snapshot
from nbkube.steps import build_programs

if TYPE_CHECKING:
    from nbkube.interactive.model import Live
    from nbkube.verify import Subject


class Plan(msgspec.Struct, frozen=True):
    """A notebook ready to be run: valid, with its place in the project and its programs.

    A run from a live kernel begins with the unit `first`, on the variables `bindings` that the kernel has given.
    """

    pipeline: Pipeline
    root: Path
    cwd: str
    notebook: str
    programs: tuple[StepProgram, ...]
    first: int = 0
    bindings: dict[str, OutputRef] = {}

    @classmethod
    def of(cls, pipeline: Pipeline, path: Path) -> Plan:
        """Prepare a pipeline. Raises `NotebookError` with all its diagnostics if one of them is an error."""
        check(pipeline)
        root, notebook = place_of(path)
        cwd = notebook.parent.as_posix()
        programs = build_programs(pipeline, pipeline.values, cwd=cwd, filename=notebook.as_posix())
        return cls(pipeline, root, cwd, notebook.as_posix(), programs)

    @classmethod
    def from_kernel(cls, pipeline: Pipeline, path: Path, live: Live) -> Plan:
        """Prepare the steps of a pipeline from one on, to be run on what a live kernel has."""
        root, notebook = place_of(path)
        cwd, name = notebook.parent.as_posix(), notebook.as_posix()
        programs = build_programs(
            pipeline, pipeline.values, cwd=cwd, filename=name, first=live.first, instead=live.replay
        )
        return cls(pipeline, root, cwd, name, programs, live.first, live.bindings)

    def files(self, folder: Path, cache: Path | None = None) -> FileView:
        """Take the project's files as they are now; small ones are copied to `folder`, so that they stay so.

        `cache` is the folder in which digests of files are kept from run to run.
        """
        return snapshot(self.root, cache).freeze(folder / "base")

    def check_requests(self) -> tuple[Diagnostic, ...]:
        """Hold what steps ask for against this machine; return warnings.

        Raises:
            NotebookError: a step asks for more than there is.
        """
        found = check_requests(self.submission("").units, machine(), self.notebook)
        if any(one.severity == "error" for one in found):
            raise NotebookError(diagnostics=found)
        return tuple(found)

    def submission(
        self,
        run_id: str,
        *,
        use_cache: bool = True,
        parallel: int | None = None,
        adversarial: bool = False,
        fuse: bool = True,
    ) -> Submission:
        """Return what an engine is given."""
        first, flow = self.first, self.pipeline.flow
        units = zip(self.programs, self.pipeline.steps[first:], flow.after[first:], strict=True)
        return Submission(
            run=run_id,
            root=str(self.root),
            cwd=self.cwd,
            units=tuple(
                UnitPlan(program, step.options, tuple(one - first for one in after if one >= first))
                for program, step, after in units
            ),
            edges=self._edges(),
            bindings=self.bindings,
            # What a live kernel has given is nobody else's: results are found by this run alone.
            use_cache=use_cache and not self.bindings,
            parallel=parallel or machine().parallel,
            adversarial=adversarial,
            fuse=fuse,
        )

    def run(self, experiment: str, *, use_cache: bool, engine: str = "local", profile: str = "") -> Run:
        """Return the frozen record of a run that is about to start."""
        steps = list(zip(self.programs, self.pipeline.steps[self.first :], strict=True))
        names = {step.name for _, step in steps}
        live = bool(self.bindings)
        return Run(
            id=new_run_id(),
            created=time.time(),
            notebook=self.notebook,
            notebook_digest=self.pipeline.notebook.digest,
            name=self.pipeline.name,
            parameters={one.name: self.pipeline.values.get(one.name, one.default) for one in self.pipeline.parameters},
            units=tuple(
                RunUnit(
                    name=step.name,
                    step=step.step,
                    kind=step.kind,
                    program=program.digest,
                    after=tuple(one for one in step.after if one in names),
                    cells=tuple(cell.number for cell in step.unit.cells),
                    options=msgspec.to_builtins(step.options),
                )
                for program, step in steps
            ),
            edges=self._edges(),
            engine=engine,
            profile=profile,
            experiment=experiment,
            root=str(self.root),
            use_cache=use_cache and not live,
            version=__version__,
            begins=steps[0][1].name if live else "",
        )

    def _edges(self) -> tuple[Dependency, ...]:
        """Return the data edges between the units that are run, numbered from the first of them."""
        first = self.first
        return tuple(
            Dependency(edge.producer - first, edge.consumer - first, edge.name)
            for edge in self.pipeline.flow.edges
            if edge.producer >= first
        )

    def subject(self, files: FileView, variables: Mapping[str, str] | None = None) -> Subject:
        """Return what `verify` compares the pipeline with; `variables` are added to the environment of its kernel."""
        from nbkube.verify import Subject

        flow = self.pipeline.flow
        return Subject(
            files=files,
            cwd=self.cwd,
            programs=self.programs,
            replayed=tuple(name for unit in flow.units for one in unit.replay for name in one.binds),
            metrics=self.pipeline.metrics,
            tolerance=_tolerance(self.pipeline.notebook),
            variables=variables or {},
        )


def place_of(path: Path) -> tuple[Path, Path]:
    """Return a notebook's project folder, and the notebook's path in it."""
    place = Path(os.path.abspath(path))
    root = find_root(place)
    return root, place.relative_to(root)


def _tolerance(notebook: Notebook) -> dict[str, float]:
    """Return the relative tolerances written in the notebook's metadata: `nbkube.tolerance`, a number or by name."""
    own = notebook.metadata.get("nbkube")
    written = own.get("tolerance", {}) if isinstance(own, dict) else {}
    if isinstance(written, int | float):
        written = {"*": written}
    if not isinstance(written, dict) or not all(isinstance(one, int | float) for one in written.values()):
        place = Place(notebook.path)
        hint = 'write "nbkube": {"tolerance": 1e-6} or {"tolerance": {"NAME": 1e-6}}'
        message = "the notebook's metadata nbkube.tolerance is neither a number nor numbers by name"
        raise NotebookError(diagnostics=[Diagnostic("error", "bad-tolerance", place, message, hint)])
    return {str(name): float(one) for name, one in written.items()}
