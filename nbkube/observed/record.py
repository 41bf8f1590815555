"""Finding what earlier runs have seen of a notebook's units; nothing is run or written."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from nbkube.errors import NbkubeError
from nbkube.runs import RunState, RunStore, StepRun
from nbkube.runtime.cache import read_manifest
from nbkube.runtime.program import StepManifest, StepProgram
from nbkube.state.model import AGAIN
from nbkube.storage.model import ObjectStore

MOST_RUNS = 10
"""How many of a notebook's runs are looked at, the newest first."""


class UnitRecord(msgspec.Struct, frozen=True):
    """What one unit was seen to do, in the run `run`.

    `reads` are names of other units that it looked up and found, `writes` those it bound or changed, `deletes` those it
    took away; all three are None where the unit shared its process with others, so that nothing is known of it alone.
    `files_read` and `files_changed` are paths in the project. Times in seconds, memory in bytes; the measures are those
    of the process.
    """

    run: str
    reads: frozenset[str] | None
    writes: frozenset[str] | None
    deletes: frozenset[str] | None
    files_read: frozenset[str] = frozenset()
    files_changed: frozenset[str] = frozenset()
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak_memory: int = 0


def records_of(store: ObjectStore, notebook: str, programs: Sequence[StepProgram]) -> dict[int, UnitRecord]:
    """Return what is known of units whose code is what it was, by their place among `programs`.

    A store that cannot be read, or holds records of another version, knows nothing.
    """
    left = {program.digest: at for at, program in enumerate(programs)}
    found: dict[int, UnitRecord] = {}
    try:
        for state in RunStore(store).list(notebook=notebook, limit=MOST_RUNS):
            if state.run.begins:
                continue  # it began with the variables of a kernel: of no interest to others
            for unit, step in zip(state.run.units, state.steps, strict=True):
                at = left.get(unit.program)
                record = _record(store, state, step) if at is not None and step.manifest else None
                if at is not None and record is not None:
                    found[at] = record
                    del left[unit.program]
            if not left:
                break
    except (NbkubeError, OSError, msgspec.DecodeError):
        return found
    return found


def _record(store: ObjectStore, state: RunState, step: StepRun) -> UnitRecord | None:
    manifest = read_manifest(store, step.manifest)
    if manifest is None or manifest.skipped:
        return None
    alone = len(manifest.units) == 1
    outputs = {name: ref for name, ref in manifest.outputs.items() if ":" not in name}
    return UnitRecord(
        run=state.id,
        reads=frozenset(_names(manifest)) if alone else None,
        writes=frozenset(name for name, ref in outputs.items() if ref.kind != "deleted") if alone else None,
        deletes=frozenset(name for name, ref in outputs.items() if ref.kind == "deleted") if alone else None,
        files_read=frozenset({*manifest.files.read, *manifest.files.listed}),
        files_changed=frozenset({*(one.path for one in manifest.diff.changed), *manifest.diff.removed}),
        seconds=manifest.seconds,
        cpu_seconds=manifest.cpu_seconds,
        peak_memory=manifest.peak_memory,
    )


def _names(manifest: StepManifest) -> list[str]:
    """Return the names that were found; imports that are made again in every step are nobody's."""
    return [
        name
        for name, version in manifest.reads.items()
        if ":" not in name and version and not version.startswith(AGAIN)
    ]
