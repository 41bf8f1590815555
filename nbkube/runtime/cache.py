"""Finding a result that still holds: the key finds candidates, the proof decides.

A manifest lies at `steps/<key>/<proof>.json`. The key holds the whole program, the versions of the inputs that analysis
expects, the Python minor version and the schema. The proof is what the step was observed to read; several manifests of
one key differ in it (a data file that was edited and edited back has two, and both stay useful).
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec

from nbkube.decoding import from_json
from nbkube.runtime.program import SCHEMA, StepManifest, StepProgram
from nbkube.state.model import AGAIN, FileReads, OutputRef
from nbkube.storage.model import ObjectStore
from nbkube.storage.seal import seal, unsealed

Bindings = Mapping[str, OutputRef]
FilesCheck = Callable[[FileReads], str | None]
VersionsOf = Callable[[Iterable[str]], Mapping[str, str]]


def step_key(programs: Sequence[StepProgram], bindings: Bindings, *, salt: str = "") -> str:
    """Return the cache key of one unit, or of several fused into one.

    A `salt` makes results of this very run that no other run finds.
    """
    expected = sorted({name for program in programs for name in program.reads if name in bindings})
    return _digest(
        [
            SCHEMA,
            f"{sys.implementation.name}-{sys.version_info[0]}.{sys.version_info[1]}",
            [program.digest for program in programs],
            [[name, bindings[name].version] for name in expected],
            salt,
        ]
    )


def step_proof(reads: Mapping[str, str], files: FileReads, distributions: Mapping[str, str]) -> str:
    """Return the digest of what a step was observed to read; with the key it names the manifest."""
    return _digest([dict(reads), msgspec.to_builtins(files), dict(distributions)])


def mismatch(
    reads: Mapping[str, str],
    touched: Iterable[str],
    bindings: Bindings,
) -> str | None:
    """Tell whether names read then have the same versions now: None if so, else a sentence why not.

    `touched` are stored objects that the step changed in place: every name that now reaches one of them must have
    been loaded by the step, else it would keep the old content.
    """
    for name, version in reads.items():
        ref = bindings.get(name)
        now = "" if ref is None or ref.kind == "deleted" else ref.version
        if version.startswith(AGAIN) and now in ("", version.removeprefix(AGAIN)):
            continue
        if now != version:
            return f"{name} has another value now" if version else f"{name} exists now"
    changed = set(touched)
    if changed:
        for name, ref in bindings.items():
            if name not in reads and (ref.blob in changed or not changed.isdisjoint(ref.refs)):
                return f"{name} shares an object that the step changed"
    return None


def find(
    store: ObjectStore,
    key: str,
    bindings: Bindings,
    files: FilesCheck,
    versions: VersionsOf,
    wanted: Iterable[str] = (),
    damaged: Callable[[str], None] = lambda _: None,
) -> StepManifest | None:
    """Return a manifest whose proof holds now, the newest first; None if there is none.

    Args:
        store: where results lie.
        key: from `step_key`.
        bindings: what the step would see.
        files: checks a manifest's file observations against the workspace the step would see.
        versions: installed versions by distribution name ("" for one that is not installed).
        wanted: names that later steps need; a result that could not store one of them is no hit.
        damaged: is told in a sentence what of a result was found damaged or missing; such a result is set aside.
    """
    candidates: list[tuple[str, StepManifest]] = []
    for name in store.list(f"steps/{key}/"):
        found = read_manifest(store, name, damaged)
        if found is not None:
            candidates.append((name, found))
    needed = set(wanted)
    for name, manifest in sorted(candidates, key=lambda one: one[1].started, reverse=True):
        holes = {name for name, ref in manifest.outputs.items() if ref.kind == "hole"}
        if (
            needed.isdisjoint(holes)
            and mismatch(manifest.reads, manifest.touched, bindings) is None
            and dict(versions(manifest.distributions)) == manifest.distributions
            and files(manifest.files) is None
            and _is_whole(store, name, manifest, damaged)
        ):
            return manifest
    return None


def read_manifest(
    store: ObjectStore, name: str, damaged: Callable[[str], None] = lambda _: None
) -> StepManifest | None:
    """Return a step's result by its record's name; None if it is not there.

    A record whose bytes have changed is set aside, as if it were not there, and `damaged` is told.
    """
    data = store.read(name)
    if data is None:
        return None
    plain = unsealed(data)
    if plain is None:
        damaged(f"the record {name} was damaged and has been set aside")
        _set_aside(store, name, data)
        return None
    return from_json(plain, StepManifest)


def encode_manifest(manifest: StepManifest) -> bytes:
    """Return the bytes of a record for a result; `read_manifest` sees if one of them changes."""
    return seal(msgspec.json.encode(manifest))


def _is_whole(store: ObjectStore, name: str, manifest: StepManifest, damaged: Callable[[str], None]) -> bool:
    """Tell whether everything that a result names is there; it then counts as used now. Else it is set aside."""
    if not store.renew(name):
        return False  # garbage collection was faster
    missing = next((digest for digest in sorted(_blobs(manifest)) if not store.has(digest)), None)
    if missing is None:
        return True
    damaged(f"object {missing} of the result {name} is no longer in the store")
    data = store.read(name)
    if data is not None:
        _set_aside(store, name, data)
    return False


def _blobs(manifest: StepManifest) -> set[str]:
    refs = [ref for ref in manifest.outputs.values() if ref.kind == "blob"]
    found = {digest for ref in refs for digest in (ref.blob, *ref.refs)}
    found |= {entry.digest for entry in manifest.diff.changed}
    return {digest for digest in (*found, manifest.executed, manifest.log) if digest}


def _set_aside(store: ObjectStore, name: str, data: bytes) -> None:
    store.write(f"damaged/{name}", data)
    store.swap(name, data, None)


def _digest(parts: object) -> str:
    return hashlib.sha256(msgspec.json.encode(parts, order="deterministic")).hexdigest()
