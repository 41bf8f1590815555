"""Running notebook and pipeline twice each, and comparing what they leave."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from nbkube.decoding import from_plain
from nbkube.errors import RunError
from nbkube.runtime.program import Failure, StepProgram
from nbkube.state.model import OutputRef
from nbkube.state.snapshot import FileView
from nbkube.state.workspace import remove_tree
from nbkube.storage import open_store
from nbkube.storage.model import ObjectStore
from nbkube.verify.files import compare_files, same_kind
from nbkube.verify.model import PipelineResult, Verification, VerifyDifference
from nbkube.verify.session import Session, kernel_environment, run_in_own_loop
from nbkube.verify.varying import CHANCE, Finding, Varying

PICKLES = (".pkl", ".pickle", ".joblib", ".sav")
"""Endings of files that are compared by what they hold where their bytes differ."""

MORE_RUNS = 3
"""How often the notebook is run again where a value differs: it may vary by itself, and have been equal by chance."""

RUNS = ("as scheduled", "adversarial")
_MISSING = "no such metric"


@dataclass(frozen=True)
class Subject:
    """What is verified: the very programs that the pipeline runs, on the very files.

    `replayed` are names bound by statements that every later step runs again: they need not be stored.
    `tolerance` is relative, by variable; `*` holds for all others (exact where it says nothing). `variables` are added
    to the environment of the notebook's kernel.
    """

    files: FileView
    cwd: str
    programs: tuple[StepProgram, ...]
    replayed: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()
    tolerance: Mapping[str, float] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict)


class Answer(msgspec.Struct, frozen=True):
    """What the kernel says to one set of bindings: findings, and names that could not be stored."""

    findings: tuple[Finding, ...] = ()
    unstored: tuple[str, ...] = ()


class Exported(msgspec.Struct, frozen=True):
    """A kernel's variables in the store, and its metrics."""

    bindings: dict[str, OutputRef] = {}
    metrics: dict[str, Any] = {}


@dataclass(frozen=True)
class _Left:
    """What one run of the notebook has left."""

    failure: Failure | None
    files: FileView
    exported: Exported
    seconds: float


def verify_notebook(
    subject: Subject,
    run_pipeline: Callable[[bool], PipelineResult],
    store: ObjectStore,
    tell: Callable[[str], None] = lambda _: None,
) -> Verification:
    """Compare a notebook with its pipeline; both run twice.

    Args:
        subject: programs and files of the notebook.
        run_pipeline: runs the pipeline without cache; True for adversarially (alone, serial, ties reversed).
        store: where the notebook's values are put; a folder outside the project.
        tell: receives one line for each thing that happens.
    """
    return run_in_own_loop(_Comparison(subject, run_pipeline, store, tell).verdict)


class _Comparison:
    def __init__(
        self,
        subject: Subject,
        run_pipeline: Callable[[bool], PipelineResult],
        store: ObjectStore,
        tell: Callable[[str], None],
    ) -> None:
        self._subject = subject
        self._run_pipeline = run_pipeline
        self._store = store
        self._tell = tell
        self._differences: dict[str, list[VerifyDifference]] = {run: [] for run in RUNS}
        self._varying: set[str] = set()
        self._unstored: set[str] = set()

    def verdict(self) -> Verification:
        with folder_outside(self._subject.files.root) as folder:
            first = self._notebook(folder / "first", "notebook, first run")
            results = {}
            for run in RUNS:
                self._tell(f"pipeline, {run}")
                results[run] = self._run_pipeline(run != RUNS[0])
            for run, result in results.items():
                self._compare_outcomes(run, first.failure, result.failure)
            seconds = first.seconds
            if first.failure is None and all(result.failure is None for result in results.values()):
                seconds = self._second_notebook(folder, first, results)
        return Verification(
            equal=not any(self._differences.values()),
            differences=_merged(self._differences),
            varying=tuple(sorted(self._varying)),
            unstored=tuple(sorted(self._unstored)),
            failure=_ending(first.failure) if first.failure else "",
            notebook_seconds=min(first.seconds, seconds),
            pipeline_seconds=results[RUNS[0]].seconds,
        )

    def _notebook(self, folder: Path, stage: str) -> _Left:
        with self._session(folder) as session:
            failure = session.run(self._subject.programs, self._progress(stage))
            exported = Exported()
            if failure is None:
                exported = from_plain(session.ask("export", self._names()), Exported)
            session.close()
            return _Left(failure, session.files(), exported, session.seconds)

    def _second_notebook(self, folder: Path, first: _Left, results: Mapping[str, PipelineResult]) -> float:
        """Run the notebook again and compare all others with it, in its own process while its objects live."""
        with self._session(folder / "second") as session:
            failure = session.run(self._subject.programs, self._progress("notebook, second run"))
            if failure is not None:
                raise RunError(
                    f"The notebook ran well once and failed the second time, {_ending(failure)}. "
                    "Fix: what decides that, such as random draws without a seed, must be settled first."
                )
            self._tell("comparing variables")
            answers = {run: self._ask(session, one.bindings, one.store) for run, one in results.items()}
            # Only now are the objects touched by storing them: the pipeline has been compared with them as they were.
            own = from_plain(session.ask("export", self._names()), Exported)
            lost = self._ask(session, own.bindings).findings
            found = [one for answer in answers.values() for one in answer.findings]
            varying, others = self._what_varies(session, folder, first, lost, found)
            self._varying |= set(varying.names)
            for run, answer in answers.items():
                self._unstored |= set(answer.unstored)
                self._differences[run] += [
                    VerifyDifference("variable", one.name, one.path, one.left, one.right, run)
                    for one in answer.findings
                    if not varying.excuses(one)
                ]
            same = {run: self._same_pickles(session, result) for run, result in results.items()}
            session.close()
            self._tell("comparing files")
            own_files = session.files()
            files = {run: _Files(own_files, result.files, same[run]) for run, result in results.items()}
            while len(others) <= MORE_RUNS and any(one.differ_in_content(others) for one in files.values()):
                again = self._once_more(folder, len(others) + 2, "a file")
                if again is None:
                    break
                others.append(again)
            for run, result in results.items():
                self._compare_metrics(run, own.metrics, others, result.metrics)
                self._varying |= set(files[run].varying(others))
                self._differences[run] += [
                    VerifyDifference("file", path, "", left, right, run)
                    for path, (left, right) in files[run].differences(others).items()
                ]
            return session.seconds

    def _what_varies(
        self, session: Session, folder: Path, first: _Left, lost: Sequence[Finding], found: Sequence[Finding]
    ) -> tuple[Varying, list[_Left]]:
        """Tell what varies by itself, and return the runs of the notebook that show it.

        Few possible values (an accuracy on 30 flowers) are often equal in two runs by chance: as long as one differs
        in the pipeline, or a size that follows from some, and nothing else does, the notebook is run again.
        """
        others, findings = [first], list(self._ask(session, first.exported.bindings).findings)
        while True:
            varying = Varying(findings, lost=lost)
            left = [one for one in found if not varying.excuses(one)]
            if not left or any(one.kind not in CHANCE for one in left) or len(others) > MORE_RUNS:
                return varying, others
            again = self._once_more(folder, len(others) + 2, "a value")
            if again is None:
                return varying, others
            others.append(again)
            findings += self._ask(session, again.exported.bindings).findings

    def _once_more(self, folder: Path, number: int, what: str) -> _Left | None:
        """Run the notebook again, since something differs that it may vary in by itself; None: it fails now."""
        again = self._notebook(folder / str(number), f"notebook, run {number}: {what} differs, perhaps by chance")
        return again if again.failure is None else None

    def _names(self) -> dict[str, Any]:
        return {"store": self._store.url, "metrics": list(self._subject.metrics)}

    def _ask(self, session: Session, bindings: Mapping[str, OutputRef], store: str = "") -> Answer:
        request = {
            "store": store or self._store.url,
            "bindings": dict(bindings),
            "replayed": list(self._subject.replayed),
            "tolerance": dict(self._subject.tolerance),
        }
        return from_plain(session.ask("compare", request), Answer)

    def _session(self, folder: Path) -> Session:
        folder.mkdir()
        environment = {**kernel_environment(), **self._subject.variables}
        return Session(self._subject.files, self._subject.cwd, folder, self._store, environment)

    def _progress(self, stage: str) -> Callable[[int], None]:
        total = sum(len(program.cells) for program in self._subject.programs)
        done = 0

        def tell(number: int) -> None:
            nonlocal done
            done += 1
            self._tell(f"{stage}: cell {number} ({done} of {total})")

        return tell

    def _compare_outcomes(self, run: str, notebook: Failure | None, pipeline: Failure | None) -> None:
        if (notebook is None) != (pipeline is None) or (
            notebook is not None and pipeline is not None and not _same_failure(notebook, pipeline)
        ):
            self._differences[run].append(
                VerifyDifference("outcome", "", "", _ending(notebook), _ending(pipeline), run)
            )

    def _compare_metrics(
        self, run: str, notebook: Mapping[str, Any], others: Sequence[_Left], pipeline: Mapping[str, Any]
    ) -> None:
        for name in sorted({*notebook, *pipeline}):
            left, right = notebook.get(name, _MISSING), pipeline.get(name, _MISSING)
            if left == right or (left != left and right != right) or self._is_close(name, left, right):
                continue
            varies = any(one.exported.metrics.get(name, _MISSING) != left for one in others)
            if varies and type(left) is type(right):
                self._varying.add(name)
                continue
            self._differences[run].append(VerifyDifference("metric", name, "", repr(left), repr(right), run))

    def _is_close(self, name: str, left: Any, right: Any) -> bool:
        allowed = self._subject.tolerance.get(name, self._subject.tolerance.get("*", 0.0))
        numbers = all(isinstance(one, int | float) and not isinstance(one, bool) for one in (left, right))
        return numbers and abs(left - right) <= allowed * max(abs(left), abs(right))

    def _same_pickles(self, session: Session, result: PipelineResult) -> set[str]:
        store = open_store(result.store)
        copies = {
            path: str(store.local_path(node.digest))
            for path, node in result.files.nodes.items()
            # What the pipeline has not made lies elsewhere, and is the notebook's own file.
            if node.kind == "file" and path.endswith(PICKLES) and node.pack is None and not node.source
        }
        return set(session.ask("pickles", copies)) if copies else set()


@dataclass(frozen=True)
class _Files:
    """What the notebook and one run of the pipeline have left in the project; `same`: pickles with equal contents."""

    notebook: FileView
    pipeline: FileView
    same: set[str]

    def varying(self, others: Sequence[_Left]) -> dict[str, FileView]:
        """Return the paths in which other runs of the notebook differ, with one such run."""
        return {path: other.files for other in others for path in compare_files(self.notebook, other.files)}

    def differences(self, others: Sequence[_Left]) -> dict[str, tuple[str, str]]:
        """Return what differs and does not vary by itself: both sides by path."""
        varying, found = self.varying(others), {}
        for path, sides in compare_files(self.notebook, self.pipeline).items():
            other = varying.get(path)
            if path in self.same or (
                other and (same_kind(self.notebook, self.pipeline, path) or not same_kind(self.notebook, other, path))
            ):
                continue
            found[path] = sides
        return found

    def differ_in_content(self, others: Sequence[_Left]) -> bool:
        """Tell whether files differ, and only in their contents: these may have been equal by chance."""
        found = self.differences(others)
        return bool(found) and all(same_kind(self.notebook, self.pipeline, path) for path in found)


def _same_failure(notebook: Failure, pipeline: Failure) -> bool:
    if notebook.kind == "killed" or pipeline.kind in ("killed", "exit"):
        return notebook.cell == pipeline.cell
    if pipeline.kind == "input":
        return notebook.cell == pipeline.cell and notebook.type == "StdinNotImplementedError"
    return notebook.cell == pipeline.cell and notebook.type.rpartition(".")[2] == pipeline.type.rpartition(".")[2]


def _ending(failure: Failure | None) -> str:
    if failure is None:
        return "ends well"
    return f"fails in cell {failure.cell} with {failure.type or failure.kind}: {failure.message[:200]}"


def _merged(differences: Mapping[str, Sequence[VerifyDifference]]) -> tuple[VerifyDifference, ...]:
    """List what both runs of the pipeline have in common once."""
    seen: dict[VerifyDifference, list[str]] = {}
    for run, found in differences.items():
        for one in found:
            seen.setdefault(msgspec.structs.replace(one, run=""), []).append(run)
    return tuple(
        msgspec.structs.replace(one, run="both" if len(runs) == len(RUNS) else runs[0]) for one, runs in seen.items()
    )


@contextmanager
def folder_outside(project: Path) -> Iterator[Path]:
    """Make a temporary folder that is no part of the project, and remove it at the end whatever is in it."""
    folder = Path(tempfile.mkdtemp(prefix="nbkube-verify-", dir=_place_outside(project)))
    try:
        yield folder
    finally:
        remove_tree(folder)
        shutil.rmtree(folder, ignore_errors=True)


def _place_outside(project: Path) -> str:
    for place in _temporary_folders():
        path = Path(place).resolve()
        if path.is_dir() and path != project and project not in path.parents:
            return str(path)
    return str(project)


def _temporary_folders() -> Iterable[str]:
    yield tempfile.gettempdir()
    yield "/var/tmp"
    yield "/dev/shm"
    yield str(Path.home())
