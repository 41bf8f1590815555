"""The object store: content-addressed blobs and small named records, in a folder or a bucket."""

from __future__ import annotations

import os

from nbkube.errors import StorageError
from nbkube.storage.folder import LocalStore
from nbkube.storage.model import Buffer, CollectableStore, ObjectStore

__all__ = ["Buffer", "CollectableStore", "LocalStore", "ObjectStore", "open_store"]


def open_store(url_or_path: str | os.PathLike[str]) -> ObjectStore:
    """Return the store at a folder path or `file://` URL; nothing is written until the first `put` or `create`."""
    text = os.fspath(url_or_path)
    scheme, separator, _ = text.partition("://")
    if not separator:
        return LocalStore(text)
    if scheme == "file":
        from urllib.parse import unquote, urlsplit

        return LocalStore(unquote(urlsplit(text).path))
    raise StorageError(f"{text}: no store is known for '{scheme}:'. Give a folder, or a URL that starts with file://.")
