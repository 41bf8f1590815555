"""Files of a bucket as files of this machine: fetched once for each version, shared by all processes of the user.

The content lies in the blob cache (`cache.py`), verified; the names are links to it, in a folder named after server,
key and ETag, so that a file that has been replaced in the bucket is fetched anew.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

from nbkube.errors import NotFoundError
from nbkube.storage import disk
from nbkube.storage.bucket_files import Bucket
from nbkube.storage.cache import BlobCache, cache_folder, cache_limit


def fetch(place: Bucket) -> Path:
    """Return a read-only local file with a file's present content, or a folder of these for a key that ends in '/'.

    Raises:
        NotFoundError: there is no such file, or none below the folder.
    """
    cache = BlobCache(cache_folder(), cache_limit())
    if place.key.endswith("/") or not place.key:
        return _fetch_folder(cache, place)
    etag, size = place.identity()
    folder = _named(cache, [place.connection.server.endpoint, str(place), etag, str(size)])
    return _link(cache, place, folder / place.key.rpartition("/")[2])


def _fetch_folder(cache: BlobCache, place: Bucket) -> Path:
    files = [(place.below(key[len(place.folder) :]), size) for key, size, _ in place.list(recursive=True)]
    if not files:
        raise NotFoundError(f"{place}: there are no files below it.")
    versions = [f"{one.key} {one.identity()[0]} {size}" for one, size in files]
    folder = _named(cache, [place.connection.server.endpoint, str(place), *versions])
    for one, _ in files:
        _link(cache, one, folder / one.key[len(place.folder) :])
    return folder


def _named(cache: BlobCache, identity: Iterable[str]) -> Path:
    return cache.folder / "named" / hashlib.sha256("\0".join(identity).encode()).hexdigest()[:32]


def _link(cache: BlobCache, place: Bucket, link: Path) -> Path:
    """Make a name for a file's content, fetching it where the cache has lost it or never had it."""
    with contextlib.suppress(OSError):
        if cache.find(os.path.basename(os.readlink(link))) is not None:
            return link
    _, path = cache.add(place.pieces())
    with disk.explained(link.parent):
        link.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        temporary = link.with_name(f".{os.urandom(8).hex()}")
        os.symlink(path, temporary)
        os.replace(temporary, link)
    return link
