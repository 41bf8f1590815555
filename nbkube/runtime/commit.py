"""The commit of a unit's result: a record that can be made only once."""

from __future__ import annotations

import msgspec

from nbkube.errors import StorageError
from nbkube.runtime.distributions import distributions, installed_versions
from nbkube.runtime.program import StepManifest
from nbkube.storage.model import ObjectStore


def commit(store: ObjectStore, key: str, proof: str, manifest: StepManifest) -> StepManifest:
    """Write `steps/<key>/<proof>.json` and return the manifest that counts: this one, or the one that was first.

    Everything the manifest names must be in the store already.
    """
    name = f"steps/{key}/{proof}.json"
    if store.create(name, msgspec.json.encode(manifest)):
        return manifest
    data = store.read(name)
    if data is None:
        raise StorageError(f"{store.url}: {name} exists and cannot be read. Run the step again.")
    return msgspec.json.decode(data, type=StepManifest)


__all__ = ["commit", "distributions", "installed_versions"]
