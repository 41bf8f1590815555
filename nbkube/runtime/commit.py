"""The commit of a unit's result: a record that can be made only once."""

from __future__ import annotations

from nbkube.errors import StorageError
from nbkube.runtime.cache import encode_manifest, read_manifest
from nbkube.runtime.distributions import distributions, installed_versions
from nbkube.runtime.program import StepManifest
from nbkube.storage.model import ObjectStore

_TRIES = 3


def commit(store: ObjectStore, key: str, proof: str, manifest: StepManifest) -> StepManifest:
    """Write `steps/<key>/<proof>.json` and return the manifest that counts: this one, or the one that was first.

    Everything the manifest names must be in the store already.
    """
    name = f"steps/{key}/{proof}.json"
    for _ in range(_TRIES):
        if store.create(name, encode_manifest(manifest)):
            return manifest
        first = read_manifest(store, name)
        if first is not None:
            return first  # else it was damaged and has been set aside, or was removed in between
    raise StorageError(f"{store.url}: {name} exists and cannot be read. Run the step again.")


__all__ = ["commit", "distributions", "installed_versions"]
