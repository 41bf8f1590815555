"""Named models in a store.

    refs/models/<name>/<version>.json    one version, create-only, sealed; versions count from 1

A version that was removed leaves a record that says so: its number is never given again.
"""

from __future__ import annotations

import time

import msgspec

from nbkube.decoding import from_json
from nbkube.errors import DamagedObjectError, NbkubeError, NotFoundError
from nbkube.models.model import ModelVersion, check_model_name
from nbkube.storage.model import ObjectStore
from nbkube.storage.seal import seal, unsealed

_FOLDER = "refs/models/"
_TRIES = 50


class ModelRegistry:
    """All models of a store: list, look up, add and remove versions."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    def names(self) -> list[str]:
        """Return the names of models that have a version."""
        return [name for name in self._store.folders(_FOLDER) if self.versions(name)]

    def versions(self, name: str) -> list[ModelVersion]:
        """Return the versions of a model, oldest first; none if there is no such model."""
        return [one for one in self._all(check_model_name(name)) if not one.removed]

    def get(self, name: str, version: int | None = None) -> ModelVersion:
        """Return a version of a model, by default the newest.

        Raises:
            NotFoundError: there is no such model or version.
            DamagedObjectError: the version's record has changed since it was written.
        """
        known = self.versions(name)
        if not known:
            others = ", ".join(self.names()[:5])
            hint = f"There are: {others}." if others else "Fix: run a notebook with a step that has the option model."
            raise NotFoundError(f"there is no model {name}. {hint}")
        if version is None:
            return known[-1]
        for one in known:
            if one.version == version:
                return one
        numbers = ", ".join(str(one.version) for one in known[-10:])
        raise NotFoundError(f"model {name} has no version {version}. It has: {numbers}.")

    def add(self, draft: ModelVersion) -> ModelVersion:
        """Record a version under the next number and return it; the newest one if that is the same in all it does."""
        check_model_name(draft.name)
        for _ in range(_TRIES):
            known = self._all(draft.name)
            live = [one for one in known if not one.removed]
            if live and live[-1].identity == draft.identity:
                return live[-1]
            number = known[-1].version + 1 if known else 1
            made = msgspec.structs.replace(draft, version=number, created=draft.created or time.time())
            if self._store.create(_record(draft.name, number), _encoded(made)):
                return made
        raise NbkubeError(f"model {draft.name}: others add versions all the time. Try again.")

    def keep(self, version: ModelVersion) -> None:
        """Record a version of another store under the number that it has there, if there is none of that number."""
        self._store.create(_record(check_model_name(version.name), version.version), _encoded(version))

    def remove(self, name: str, version: int) -> None:
        """Remove a version; its number is not given again, its files go with the next garbage collection."""
        self.get(name, version)
        record = _record(name, version)
        old = self._store.read(record)
        found = None if old is None else _decoded(record, old)
        if found is not None and not found.removed:
            gone = msgspec.structs.replace(
                found, removed=True, files=(), objects=(), identity="", example=(), answer=()
            )
            self._store.swap(record, old, _encoded(gone))

    def _all(self, name: str) -> list[ModelVersion]:
        found = []
        for record in self._store.list(f"{_FOLDER}{name}/"):
            data = self._store.read(record)
            if data is not None:
                found.append(_decoded(record, data))
        return sorted(found, key=lambda one: one.version)


def _record(name: str, version: int) -> str:
    return f"{_FOLDER}{name}/{version:06}.json"


def _encoded(version: ModelVersion) -> bytes:
    return seal(msgspec.json.encode(version))


def _decoded(record: str, data: bytes) -> ModelVersion:
    plain = unsealed(data)
    if plain is None:
        raise DamagedObjectError(
            f"the record {record} was damaged: its bytes no longer match its digest. Fix: add the model again, or "
            f"remove the record from the store."
        )
    return from_json(plain, ModelVersion)
