"""What goes over the wire about files in buckets."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from nbkube.server.model import Body, Name, Struct, Text

Key = Annotated[str, Meta(max_length=1024)]
BucketName = Annotated[str, Meta(max_length=63)]
UploadId = Annotated[str, Meta(min_length=1, max_length=2048)]
PartNumber = Annotated[int, Meta(ge=1, le=10_000)]


class StorageAt(Body, frozen=True, kw_only=True):
    """`path`: a notebook or folder of the project; `place`: the profile whose server is meant, "" for its own."""

    path: Text = ""
    place: Name = ""


class ObjectQuery(StorageAt, frozen=True, kw_only=True):
    """What is meant: all buckets (no `bucket`), a bucket (no `key`), a folder (`key` ends in "/") or an object."""

    bucket: BucketName = ""
    key: Key = ""


class ListQuery(ObjectQuery, frozen=True, kw_only=True):
    """Which page: only names that begin with `prefix`; `after` is the `next` of the page before."""

    prefix: Annotated[str, Meta(max_length=512)] = ""
    after: Annotated[str, Meta(max_length=2048)] = ""
    limit: Annotated[int, Meta(ge=1, le=1000)] = 500


class PartQuery(ObjectQuery, frozen=True, kw_only=True):
    """Which part of which upload; parts count from 1."""

    upload: UploadId
    number: PartNumber


class UploadQuery(ObjectQuery, frozen=True, kw_only=True):
    """Which upload."""

    upload: UploadId


class UploadBody(Body, frozen=True, kw_only=True):
    """A file that is to be uploaded: its bytes."""

    size: Annotated[int, Meta(ge=0)]


class PartsBody(Body, frozen=True, kw_only=True):
    """All parts of an upload by their MD5, in order."""

    upload: UploadId
    parts: Annotated[tuple[Name, ...], Meta(max_length=10_000)]


class CopyBody(Body, frozen=True, kw_only=True):
    """Where to copy to. `move` removes the source afterwards; `replace` allows that there is something already."""

    bucket: BucketName
    key: Key
    move: bool = False
    replace: bool = False


class VersionBody(Body, frozen=True, kw_only=True):
    """Which version to make the newest again."""

    version: Name


class StoragePlace(Struct, frozen=True, kw_only=True):
    """A profile whose files can be looked at. `detail` says where they are."""

    name: str
    detail: str
    buckets: bool
    default: bool


class StoragePlaces(Struct, frozen=True, kw_only=True):
    """All places, the default one first; `fault` is what is wrong with the profiles' file."""

    places: tuple[StoragePlace, ...]
    fault: str


EntryKind = Literal["bucket", "store", "folder", "object"]


class StorageEntry(Struct, frozen=True, kw_only=True):
    """A bucket, folder or object. `location` is what a cell or command names it by; `modified` seconds since 1970;
    `holds` says in a word what a name of the store stands for ("data set", "model", "run", "")."""

    kind: EntryKind
    name: str
    key: str
    location: str
    size: int | None
    modified: float | None
    holds: str


class StoragePage(Struct, frozen=True, kw_only=True):
    """Some of what is in a bucket or folder; `next` asks for the following page, "" at the end. `writable` is
    false for the store, which only nbkube itself writes."""

    entries: tuple[StorageEntry, ...]
    next: str
    writable: bool


class ObjectStat(Struct, frozen=True, kw_only=True):
    """What is known of an object without reading it; `version` is "" where the bucket keeps none."""

    location: str
    key: str
    size: int
    modified: float | None
    etag: str
    type: str
    version: str
    writable: bool


class ObjectVersion(Struct, frozen=True, kw_only=True):
    """A version of an object; `deleted` is the mark that a removal has left."""

    id: str
    size: int
    modified: float | None
    latest: bool
    deleted: bool


class Versions(Struct, frozen=True, kw_only=True):
    """The versions of an object, the newest first."""

    versions: tuple[ObjectVersion, ...]


class Upload(Struct, frozen=True, kw_only=True):
    """An upload under way: send the file in parts of `part` bytes; parts whose MD5 is in `there` need not be sent."""

    upload: str
    part: int
    there: dict[str, str]


class Part(Struct, frozen=True, kw_only=True):
    """A part that has arrived, and its MD5."""

    etag: str


class Made(Struct, frozen=True, kw_only=True):
    """Whether a bucket or folder is new."""

    made: bool


class Copied(Struct, frozen=True, kw_only=True):
    """How many objects were copied or moved."""

    count: int


class Removed(Struct, frozen=True, kw_only=True):
    """How many objects are gone."""

    count: int
