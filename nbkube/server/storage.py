"""Files in the buckets of a place, and what lies in its store, for the storage panel.

A request names a place (a profile), a bucket and a key, never a server or a path of this machine. The embedded store
of a place that keeps results in a folder is shown beside the buckets under a name that no bucket can have; it is for
looking at only.
"""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import cast

from nbkube.client import STORE_FOLDER, Client
from nbkube.errors import LocationError, NbkubeError, NotFoundError
from nbkube.server import model, storage_model
from nbkube.server.service import HERE, Service
from nbkube.storage import uploads
from nbkube.storage.files import FileInfo, Storage
from nbkube.storage.model import Buffer
from nbkube.storage.preview import ObjectPreview
from nbkube.storage.s3.access import check_bucket

STORE = ".nbkube"
"""The name under which a place's own folder of results is shown."""

_HOLDS = (("refs/models/", "model"), ("refs/data/", "data set"), ("runs/", "run"), ("steps/", "result"))


def places(service: Service, query: storage_model.StorageAt) -> storage_model.StoragePlaces:
    """List the places whose files can be looked at, the default one first."""
    try:
        known = service.storage(query.path, query.place)[0].profiles()
        names, default, fault = list(known.profiles), known.default, ""
    except NbkubeError as error:
        names, default, fault = [HERE], HERE, str(error)
    found = [_place(service, query.path, name, default) for name in names]
    return storage_model.StoragePlaces(
        places=tuple(sorted(found, key=lambda one: (not one.default, one.name))), fault=fault
    )


def _place(service: Service, path: str, name: str, default: str) -> storage_model.StoragePlace:
    buckets, detail = False, "the folder of results beside the notebooks"
    try:
        client = service.storage(path, name)[0]
        store = client.profile().store
        buckets = service.leads_to_buckets(client)
        if buckets:
            detail = f"S3 at {store.endpoint}" if store.endpoint else "S3 of the environment"
    except NbkubeError as error:
        detail = str(error)
    return storage_model.StoragePlace(name=name, detail=detail, buckets=buckets, default=name == default)


def page(service: Service, query: storage_model.ListQuery) -> storage_model.StoragePage:
    """List buckets, or a page of what is in a bucket or folder."""
    client, files = service.storage(query.path, query.place)
    if query.bucket and query.key and not query.key.endswith("/"):
        raise LocationError(f"{query.key[:200]!r} is no folder: end it with '/'.")
    if not query.bucket:
        return _buckets(service, client, files, query.prefix)
    location = _location(client, query)
    found = files.page(location, prefix=query.prefix, token=query.after, limit=query.limit)
    in_store = query.bucket == STORE
    return storage_model.StoragePage(
        entries=tuple(_entry(one, query, in_store) for one in found.files), next=found.next, writable=not in_store
    )


def _buckets(service: Service, client: Client, files: Storage, prefix: str) -> storage_model.StoragePage:
    found: list[storage_model.StorageEntry] = []
    if service.leads_to_buckets(client):
        for one in files.page("s3://", prefix=prefix).files:
            name = one.location.removeprefix("s3://").removesuffix("/")
            found.append(_row("bucket", name, "", one))
    store = _store(client)
    if store is not None and store.is_dir() and STORE.startswith(prefix):
        found.append(_row("store", STORE, "", FileInfo(f"{store}/", None, store.stat().st_mtime)))
    return storage_model.StoragePage(entries=tuple(found), next="", writable=service.leads_to_buckets(client))


def _entry(one: FileInfo, query: storage_model.ListQuery, in_store: bool) -> storage_model.StorageEntry:
    # The key is what follows the bucket; in the store, the folder that was asked for and the name in it.
    name = one.location.removesuffix("/").rpartition("/")[2] + ("/" if one.size is None else "")
    key = query.key + name if in_store else one.location.removeprefix(f"s3://{query.bucket}/")
    holds = next((word for start, word in _HOLDS if key.startswith(start) and key != start), "") if in_store else ""
    shown = key[len(query.key) :].removesuffix("/")
    return _row("folder" if one.size is None else "object", shown, key, one, holds)


def _row(
    kind: storage_model.EntryKind, name: str, key: str, one: FileInfo, holds: str = ""
) -> storage_model.StorageEntry:
    return storage_model.StorageEntry(
        kind=kind, name=name, key=key, location=one.location, size=one.size, modified=one.modified, holds=holds
    )


def stat(service: Service, query: storage_model.ObjectQuery) -> storage_model.ObjectStat:
    """Say what is known of an object without reading it."""
    client, files = service.storage(query.path, query.place)
    found = files.stat(_object(client, query))
    return storage_model.ObjectStat(
        location=found.location,
        key=query.key,
        size=found.size,
        modified=found.modified,
        etag=found.etag,
        type=found.type,
        version=found.version,
        writable=query.bucket != STORE,
    )


def preview(service: Service, query: storage_model.ObjectQuery) -> ObjectPreview:
    """Show the beginning of an object; it is read as data, never executed."""
    client, files = service.storage(query.path, query.place)
    return files.preview(_object(client, query))


def content(service: Service, query: storage_model.ObjectQuery) -> tuple[str, int, Generator[bytes, None, None]]:
    """Send an object for a download."""
    client, files = service.storage(query.path, query.place)
    location = _object(client, query)
    size = files.stat(location).size
    pieces = cast("Generator[bytes, None, None]", files.pieces(location))
    return query.key.rpartition("/")[2], size, pieces


def write(service: Service, query: storage_model.ObjectQuery, body: Buffer) -> storage_model.ObjectStat:
    """Write or replace an object by the body of the request, as a whole or not at all."""
    client, files = service.storage(query.path, query.place)
    files.write(_writable(client, query), body)
    return stat(service, query)


def remove(service: Service, query: storage_model.ObjectQuery) -> storage_model.Removed:
    """Remove an object, all below a folder, or an empty bucket."""
    client, files = service.storage(query.path, query.place)
    location = _writable(client, query)
    return storage_model.Removed(count=files.rm(location if query.key else location.removesuffix("/")))


def make_folder(service: Service, query: storage_model.ObjectQuery) -> storage_model.Made:
    """Make a bucket, or an empty folder in one."""
    client, files = service.storage(query.path, query.place)
    location = _writable(client, query)
    return storage_model.Made(made=files.mkdir(location if query.key else location.removesuffix("/")))


def copy(service: Service, query: storage_model.ObjectQuery, body: storage_model.CopyBody) -> storage_model.Copied:
    """Copy or move an object or folder on its server; nothing is replaced unless that is said."""
    client, files = service.storage(query.path, query.place)
    to = storage_model.ObjectQuery(path=query.path, place=query.place, bucket=body.bucket, key=body.key)
    source, target = _writable(client, query), _writable(client, to)
    return storage_model.Copied(count=files.move(source, target, replace=body.replace, keep=not body.move))


def versions(service: Service, query: storage_model.ObjectQuery) -> storage_model.Versions:
    """List the versions that a bucket keeps of an object."""
    client, files = service.storage(query.path, query.place)
    return storage_model.Versions(
        versions=tuple(
            storage_model.ObjectVersion(
                id=one.id, size=one.size, modified=one.modified, latest=one.latest, deleted=one.deleted
            )
            for one in files.versions(_writable(client, query))
        )
    )


def restore(
    service: Service, query: storage_model.ObjectQuery, body: storage_model.VersionBody
) -> storage_model.Versions:
    """Make an older version of an object the newest one; the others are kept."""
    client, files = service.storage(query.path, query.place)
    files.restore(_writable(client, query), body.version)
    return versions(service, query)


# -- uploads, piece by piece -----------------------------------------------------------------------------------------


def begin(service: Service, query: storage_model.ObjectQuery, body: storage_model.UploadBody) -> storage_model.Upload:
    """Begin an upload, or go on with the one of this object that was broken off."""
    client, files = service.storage(query.path, query.place)
    found = uploads.begin(files.bucket(_writable(client, query)), body.size)
    there = {str(number): etag for number, etag in found.there.items()}
    return storage_model.Upload(upload=found.id, part=found.part, there=there)


def send(service: Service, query: storage_model.PartQuery, body: Buffer) -> storage_model.Part:
    """Take one part of an upload."""
    client, files = service.storage(query.path, query.place)
    place = files.bucket(_writable(client, query))
    return storage_model.Part(etag=uploads.send(place, query.upload, query.number, body))


def complete(
    service: Service, query: storage_model.ObjectQuery, body: storage_model.PartsBody
) -> storage_model.ObjectStat:
    """Make an object out of the parts of an upload."""
    client, files = service.storage(query.path, query.place)
    place = files.bucket(_writable(client, query))
    uploads.complete(place, body.upload, dict(enumerate(body.parts, 1)))
    return stat(service, query)


def give_up(service: Service, query: storage_model.UploadQuery) -> model.Empty:
    """Remove what has arrived of an upload."""
    client, files = service.storage(query.path, query.place)
    uploads.give_up(files.bucket(_writable(client, query)), query.upload)
    return model.Empty()


# -- where that is ---------------------------------------------------------------------------------------------------


def _object(client: Client, query: storage_model.ObjectQuery) -> str:
    location = _location(client, query)
    if not query.key or query.key.endswith("/"):
        raise LocationError(f"{location[:200]} is no object.")
    return location


def _writable(client: Client, query: storage_model.ObjectQuery) -> str:
    if query.bucket == STORE:
        raise LocationError("the store is written by nbkube alone: what runs have left is removed with the runs.")
    return _location(client, query)


def _location(client: Client, query: storage_model.ObjectQuery) -> str:
    """Return the location that a request means: in a bucket, or below the folder of results and nowhere else."""
    if query.bucket != STORE:
        return f"s3://{check_bucket(query.bucket)}/{query.key}"
    store = _store(client)
    if store is None:
        raise NotFoundError("this place keeps its results in a bucket.")
    found = store
    if query.key.strip("/"):
        parts = query.key.strip("/").split("/")
        if any(part in ("", ".", "..") or "\0" in part for part in parts):
            raise LocationError(f"{query.key[:200]!r} names nothing in the store.")
        found = store.joinpath(*parts)
    place = found.resolve()
    if place != store and store not in place.parents:
        raise NotFoundError(f"{query.key[:200]} leads out of the store.")
    return f"{place}/" if query.key.endswith("/") or not query.key else str(place)


def _store(client: Client) -> Path | None:
    """Return the folder of a place's results; None where these lie in a bucket."""
    url = client.profile().store.url
    if url.startswith("s3:"):
        return None
    return (client.root / (url.removeprefix("file://") or STORE_FOLDER)).resolve()
