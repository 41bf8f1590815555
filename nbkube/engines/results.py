"""Results of groups: found in the store or committed to it, and what is remembered for the next run."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec

from nbkube.decoding import from_json
from nbkube.engines.independence import Observed, reordered
from nbkube.engines.model import Submission, UnitPlan
from nbkube.engines.schedule import Group, Outcome
from nbkube.errors import StorageError
from nbkube.runtime import cache
from nbkube.runtime.attempt import Finished
from nbkube.runtime.commit import commit, distributions, installed_versions
from nbkube.runtime.program import SCHEMA, Failure, StepManifest
from nbkube.state.model import FileDiff, OutputRef
from nbkube.state.proof import matches
from nbkube.state.snapshot import FileView
from nbkube.storage.model import ObjectStore


@dataclass(frozen=True)
class Result(Outcome):
    """An outcome with what a run shows of it. `manifest` is the record's name, "" for a failure; `observed` the digest
    of what a failed attempt was seen to do, `skipped` the units of the group, counted from 0, whose condition did not
    hold."""

    manifest: str = ""
    cached: bool = False
    seconds: float = 0.0
    peak_memory: int = 0
    gpu_memory: int = 0
    gpus: int = 0
    cpu_seconds: float = 0.0
    metrics: Mapping[str, Any] = field(default_factory=dict)
    executed: str = ""
    log: str = ""
    observed: str = ""
    skipped: tuple[int, ...] = ()


class Results:
    """The store as a run uses it."""

    def __init__(
        self, store: ObjectStore, submission: Submission, damaged: Callable[[str], None] = lambda _: None
    ) -> None:
        self._damaged = damaged
        self._store = store
        self._submission = submission

    def find(
        self, group: Group[Result], bindings: Mapping[str, OutputRef], view: FileView, wanted: set[str]
    ) -> Result | None:
        """Return a result whose proof holds for what the group would see now."""
        key = self._key(group, bindings)
        found = cache.find(
            self._store, key, bindings, lambda files: matches(files, view), installed_versions, wanted, self._damaged
        )
        return _result(found, cached=True) if found else None

    def commit(
        self, group: Group[Result], attempt: str, bindings: Mapping[str, OutputRef], finished: Finished, started: float
    ) -> Result:
        """Publish what an attempt has made; the result is that of the manifest which counts, this one or an earlier."""
        manifest = self._manifest(group, attempt, bindings, finished, started)
        # A lost race: the steps after this one use what the manifest holds, never what this process made.
        return _result(commit(self._store, manifest.key, _proof(manifest), manifest))

    def failed(
        self,
        group: Group[Result],
        attempt: str,
        bindings: Mapping[str, OutputRef],
        finished: Finished,
        failure: Failure,
        started: float,
    ) -> Result:
        """Return what is known of an attempt that failed; nothing of it is published."""
        manifest = self._manifest(group, attempt, bindings, finished, started)
        # For whoever opens the step: the record of an attempt, which no look-up finds.
        observed = self._store.put(msgspec.json.encode(manifest))
        known = _result(manifest)
        return replace(known, manifest="", outputs={}, diff=FileDiff(), failure=failure, observed=observed)

    def remember(self, group: Group[Result]) -> None:
        """Keep for the next run that these units belong together; advice only, so the last writer may win."""
        digests = [unit.program.digest for unit in self._units(group)]
        self._store.write(f"records/{digests[0]}.json", msgspec.json.encode(digests))

    def all_remembered(self) -> list[tuple[int, int]]:
        """Return the first and last of all units that an earlier run of this code ran in one process."""
        # One request tells which units to ask for: most pipelines have none.
        names = set(self._store.list("records/"))
        found: list[tuple[int, int]] = []
        for at, unit in enumerate(self._submission.units):
            if f"records/{unit.program.digest}.json" in names and not any(first <= at <= last for first, last in found):
                last = self.remembered(Group(at, at))
                if last > at:
                    found.append((at, last))
        return found

    def remembered(self, group: Group[Result]) -> int:
        """Return the last unit that an earlier run of this code ran in one process with the group's first."""
        data = self._store.read(f"records/{self._submission.units[group.first].program.digest}.json")
        known: list[str] = from_json(data, list[str]) if data else []
        units = self._submission.units[group.first : group.first + len(known)]
        same = [unit.program.digest for unit in units] == known
        return max(group.last, group.first + len(known) - 1) if same else group.last

    def reordered(self) -> tuple[UnitPlan, ...]:
        """Return the units of the run, waiting for each other as far as earlier runs have shown that they must."""
        return reordered(self._submission.units, self._submission.edges, self._observed())

    def keep_observed(self, groups: Sequence[Group[Result]]) -> None:
        """Keep what was seen of units for the next run; advice only, so the last writer may win."""
        units = self._submission.units
        digests = {unit.program.digest for unit in units}
        known = self._observed()
        seen = {digest: one for digest, one in known.items() if digest in digests} | {
            units[group.first].program.digest: Observed.of(group.outcome)
            for group in groups
            # One that was skipped has shown nothing of what it does, one after a failure not all.
            if group.outcome is not None
            and group.outcome.failure is None
            and group.first == group.last
            and not group.outcome.skipped
            and not group.rescue
        }
        if seen != known and not self._submission.adversarial:
            with contextlib.suppress(StorageError):
                self._store.write(self._observed_name(), msgspec.json.encode(seen))

    def _observed(self) -> dict[str, Observed]:
        data = self._store.read(self._observed_name()) if not self._submission.adversarial else None
        known: dict[str, Observed] = {}
        with contextlib.suppress(msgspec.MsgspecError):
            known = from_json(data or b"{}", dict[str, Observed])
        return known

    def _observed_name(self) -> str:
        notebook = self._submission.units[0].program.filename if self._submission.units else ""
        return f"records/observed/{hashlib.sha256(notebook.encode()).hexdigest()[:32]}.json"

    def _units(self, group: Group[Result]) -> Sequence[UnitPlan]:
        return self._submission.units[group.first : group.last + 1]

    def _key(self, group: Group[Result], bindings: Mapping[str, OutputRef]) -> str:
        units = self._units(group)
        private = not self._submission.use_cache or any(not unit.options.cache for unit in units)
        salt = self._submission.run if private else ""
        return cache.step_key([unit.program for unit in units], bindings, salt=salt)

    def _manifest(
        self, group: Group[Result], attempt: str, bindings: Mapping[str, OutputRef], finished: Finished, started: float
    ) -> StepManifest:
        result = finished.result
        return StepManifest(
            schema=SCHEMA,
            key=self._key(group, bindings),
            units=tuple(unit.program.unit for unit in self._units(group)),
            attempt=attempt,
            outputs=result.outputs,
            reads=result.reads,
            touched=result.touched,
            files=finished.reads,
            diff=finished.diff,
            distributions=distributions(result.modules, result.module_files),
            metrics=result.metrics,
            executed=result.executed,
            log=finished.log,
            seconds=finished.seconds,
            cpu_seconds=result.cpu_seconds,
            peak_memory=result.peak_memory,
            gpu_memory=result.gpu_memory,
            gpus=result.gpus,
            started=started,
            wrote_outside=result.wrote_outside,
            draws=result.draws,
            seeded=result.seeded,
            contacted=result.contacted,
            skipped=result.skipped,
        )


def _proof(manifest: StepManifest) -> str:
    return cache.step_proof(manifest.reads, manifest.files, manifest.distributions)


def _result(manifest: StepManifest, *, cached: bool = False) -> Result:
    return Result(
        outputs=manifest.outputs,
        diff=manifest.diff,
        reads=manifest.reads,
        touched=manifest.touched,
        files=manifest.files,
        manifest=f"steps/{manifest.key}/{_proof(manifest)}.json",
        cached=cached,
        seconds=0.0 if cached else manifest.seconds,
        peak_memory=manifest.peak_memory,
        gpu_memory=manifest.gpu_memory,
        gpus=manifest.gpus,
        cpu_seconds=manifest.cpu_seconds,
        metrics=manifest.metrics,
        executed=manifest.executed,
        log=manifest.log,
        skipped=manifest.skipped,
    )


def ended(submission: Submission, group: Group[Result], result: Result) -> list[dict[str, Any]]:
    """Return the events that tell of a group's end, one for each of its units."""
    return [_ended(submission.units[unit], result, unit - group.first) for unit in range(group.first, group.last + 1)]


def _ended(unit: UnitPlan, result: Result, position: int) -> dict[str, Any]:
    skipped = position in result.skipped
    phase = "Failed" if result.failure else ("Skipped" if skipped else ("Cached" if result.cached else "Succeeded"))
    return {
        "event": "step-ended",
        "step": unit.program.unit,
        "phase": phase,
        "reason": f"its condition does not hold: {unit.program.when}" if skipped and not result.failure else "",
        "seconds": result.seconds,
        "cpu_seconds": result.cpu_seconds,
        "peak_memory": result.peak_memory,
        "gpu_memory": result.gpu_memory,
        "gpus": result.gpus,
        "cached": result.cached,
        "manifest": result.manifest,
        "executed": result.executed,
        "log": result.log,
        "observed": result.observed,
        "failure": msgspec.to_builtins(result.failure) if result.failure else None,
    }
