"""Versions of models from one store to another, by the digests of their files."""

from __future__ import annotations

import msgspec

from nbkube.errors import DamagedObjectError, NotFoundError
from nbkube.models.model import ModelVersion
from nbkube.models.registry import ModelRegistry
from nbkube.storage.model import ObjectStore


def copy_files(source: ObjectStore, target: ObjectStore, version: ModelVersion) -> None:
    """Copy all that loading a version needs; what the target has already is not sent again.

    Raises:
        DamagedObjectError: a file was changed since it was registered; the message names it.
        NotFoundError: a file is no longer in the store.
    """
    what = f"model {version.name} version {version.version}"
    for one in (*version.files, *version.objects):
        if target.has(one.digest):
            continue
        try:
            copied = target.put_file(source.local_path(one.digest))
        except DamagedObjectError:
            copied = ""
        except NotFoundError:
            raise NotFoundError(f"{what}: its file {one.path} is gone from {source.url}. Register it again.") from None
        if copied != one.digest:
            raise DamagedObjectError(
                f"{what}: its file {one.path} was changed since it was registered (object {one.digest[:12]}…). It is "
                "not copied. Fix: register the model again, by running its notebook."
            )


def copy_version(source: ObjectStore, target: ObjectStore, version: ModelVersion) -> ModelVersion:
    """Register a version of one store in another and return it as it is numbered there.

    Where the same files are a version already, that one is returned. Raises what `copy_files` does.
    """
    registry = ModelRegistry(target)
    for known in registry.versions(version.name):
        if known.digest == version.digest and known.signature == version.signature:
            return known
    copy_files(source, target, version)
    return registry.add(msgspec.structs.replace(version, version=0))


def mirror(source: ObjectStore, target: ObjectStore, name: str, number: int) -> ModelVersion:
    """Copy a version under its own number, for a server that is to have nothing but it; doing it twice does no harm.

    Raises what `copy_files` does, and `NotFoundError` for a version that is not there.
    """
    version = ModelRegistry(source).get(name, number)
    copy_files(source, target, version)
    ModelRegistry(target).keep(version)
    return version
