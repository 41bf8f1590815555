"""What puts a wheelhouse into a pod: layers of the store become files where an image of nbkube's would have them.

Its text is the program of an init container that runs in the base image as it is, which holds nothing of nbkube's:

    python3 -I -c TEXT SIGNING DIGEST FOLDER

SIGNING is the text of `nbkube.storage.s3.signing`, DIGEST that of the list of layers, FOLDER where they are unpacked.
It uses the standard library alone. All bytes are checked against their digests before anything is made of them.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import shutil
import ssl
import sys
import tarfile
import tempfile
import time
import types
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any, BinaryIO
from urllib.parse import quote, urlsplit

_THREADS = 4
_TRIES = 6
_SECONDS = 60.0
_PIECE = 1 << 20


class UnpackingError(Exception):
    """The pod cannot have what it needs; the text says why."""


class Store:
    """The store that NBKUBE_STORE names, read with the keys of the AWS variables.

    Args:
        signing: the module that signs requests.
    """

    def __init__(self, signing: types.ModuleType) -> None:
        self._signing: Any = signing
        place = urlsplit(os.environ["NBKUBE_STORE"])
        prefix = place.path.strip("/")
        self._root = f"/{place.netloc}/{prefix}/" if prefix else f"/{place.netloc}/"
        self._region = os.environ.get("AWS_REGION") or "us-east-1"
        self._server = urlsplit(os.environ.get("AWS_ENDPOINT_URL") or f"https://s3.{self._region}.amazonaws.com")
        self._keys = signing.Keys(
            os.environ.get("AWS_ACCESS_KEY_ID", ""),
            os.environ.get("AWS_SECRET_ACCESS_KEY", ""),
            os.environ.get("AWS_SESSION_TOKEN") or None,
        )

    def fetch(self, digest: str, folder: str) -> BinaryIO:
        """Return an open file with a blob's bytes, verified; it has no name.

        Raises:
            UnpackingError: the blob is not there or damaged, or the server does not answer.
        """
        for number in range(_TRIES):
            file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - the caller reads it
            try:
                self._read(digest, file)
                file.seek(0)
                return file
            except (OSError, http.client.HTTPException) as error:
                file.close()
                if number == _TRIES - 1:
                    raise UnpackingError(f"{self._server.netloc} does not give {digest[:12]}: {error}") from None
                time.sleep(min(2**number / 4, 8))
        raise AssertionError("the last try returns or raises")

    def _read(self, digest: str, file: BinaryIO) -> None:
        path = quote(f"{self._root}objects/sha256/{digest[:2]}/{digest}", safe="/~")
        connection = self._connect()
        try:
            connection.request("GET", path, headers=self._signed(path))
            answer = connection.getresponse()
            if answer.status >= 500 or answer.status == 429:
                raise http.client.HTTPException(f"status {answer.status}")
            if answer.status != 200:
                raise UnpackingError(f"{self._server.netloc} answers {answer.status} to {path}")
            found = hashlib.sha256()
            while piece := answer.read(_PIECE):
                found.update(piece)
                file.write(piece)
        finally:
            connection.close()
        if found.hexdigest() != digest:
            raise UnpackingError(f"{self._server.netloc} has other bytes for {digest[:12]} than its digest says")

    def _connect(self) -> http.client.HTTPConnection:
        host = self._server.netloc
        if self._server.scheme == "http":
            return http.client.HTTPConnection(host, timeout=_SECONDS)
        trusted = ssl.create_default_context(cadata=os.environ.get("NBKUBE_STORE_CA") or None)
        return http.client.HTTPSConnection(host, timeout=_SECONDS, context=trusted)

    def _signed(self, path: str) -> dict[str, str]:
        now, nothing = datetime.now(UTC), hashlib.sha256().hexdigest()
        headers = {
            "Host": self._server.netloc,
            "x-amz-date": f"{now:%Y%m%dT%H%M%SZ}",
            "x-amz-content-sha256": nothing,
        }
        if self._keys.session_token:
            headers["x-amz-security-token"] = self._keys.session_token
        headers["Authorization"] = self._signing.authorization(
            "GET", urlsplit(path), headers, self._keys, region=self._region, sha256=nothing, date=now
        )
        return headers


def unpack(layer: BinaryIO, folder: str) -> None:
    """Write the files of a layer below `folder`, which stands for the folder of the same name in an image.

    Raises:
        UnpackingError: the layer holds something else than files and folders of that place.
    """
    inside = "opt/nbkube/site-packages"
    with tarfile.open(fileobj=layer, mode="r|gz") as tar:
        for entry in tar:
            if entry.isdir() and f"{inside}/".startswith(f"{entry.name}/"):
                continue  # it is there
            parts = entry.name.split("/")
            if not entry.name.startswith(f"{inside}/") or ".." in parts or not (entry.isdir() or entry.isfile()):
                raise UnpackingError(f"{entry.name[:200]!r} has no place in a pod")
            place = f"{folder}/{entry.name[len(inside) + 1 :]}"
            if entry.isdir():
                os.makedirs(place, exist_ok=True)
                continue
            content = tar.extractfile(entry)
            assert content is not None, "a file has content"
            with open(place, "wb") as file:
                shutil.copyfileobj(content, file, _PIECE)
            os.chmod(place, 0o755 if entry.mode & 0o100 else 0o644)


def main(signing: str, digest: str, folder: str) -> None:
    """Unpack all layers of a list, the later ones over the earlier ones, while the next are fetched."""
    module = types.ModuleType("signing")
    exec(compile(signing, "signing", "exec"), module.__dict__)
    store = Store(module)
    with store.fetch(digest, folder) as file:
        layers = json.load(file)["layers"]
    with ThreadPoolExecutor(_THREADS) as pool:
        for layer in pool.map(lambda one: store.fetch(one, folder), layers):
            with layer:
                unpack(layer, folder)


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except UnpackingError as error:
        sys.exit(f"nbkube: {error}")
