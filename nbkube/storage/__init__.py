"""The object store: content-addressed blobs and small named records, in a folder or a bucket.

In a cell, `nbkube.storage()` gives a person's own files in buckets and folders, see `files.Storage`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from types import ModuleType
from typing import TYPE_CHECKING

from nbkube.errors import LocationError
from nbkube.storage.folder import LocalStore
from nbkube.storage.model import Buffer, ObjectStore

if TYPE_CHECKING:
    from nbkube.storage.files import Storage

__all__ = ["Buffer", "LocalStore", "ObjectStore", "open_store"]


def open_store(url_or_path: str | os.PathLike[str], environment: Mapping[str, str] | None = None) -> ObjectStore:
    """Return the store at a folder path, a `file://` or an `s3://bucket/prefix` URL; nothing is written yet.

    `environment` has the AWS variables that lead to a bucket's server, by default those of this process.

    Raises:
        LocationError: the URL names no store, or the settings lead to none (see `nbkube.storage.s3.access`).
    """
    text = os.fspath(url_or_path)
    scheme, separator, _ = text.partition("://")
    if not separator:
        return LocalStore(text)
    if scheme == "file":
        from urllib.parse import unquote, urlsplit

        return LocalStore(unquote(urlsplit(text).path))
    if scheme == "s3":
        from nbkube.storage.s3.store import S3Store

        return S3Store(text, environment)
    raise LocationError(
        f"{text}: no store is known for '{scheme}:'. Give a folder, file:///FOLDER or s3://BUCKET/PREFIX."
    )


class _CallableModule(ModuleType):
    """Lets a cell write `nbkube.storage()`."""

    def __call__(self, base: str | None = None) -> Storage:
        """Return files in buckets and folders; names are below `base`, by default `NBKUBE_STORAGE`."""
        from nbkube.storage.files import Storage

        return Storage(base)


sys.modules[__name__].__class__ = _CallableModule
