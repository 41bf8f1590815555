"""What starts in the pods of an endpoint:

    python3 -m nbkube.serving.pod fetch STORE NAME VERSION FOLDER [RUNTIME]  the init container: files by their digests
    python3 -m nbkube.serving.pod serve TASK                                 a version's server, or a router

A fault is written where Kubernetes looks for a container's last words, so that it is told by `nbkube serve`.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

TOKEN = "NBKUBE_ENDPOINT_TOKEN"
STORE_CA = "NBKUBE_STORE_CA"
_LAST_WORDS = "/dev/termination-log"
_NEEDED = ("tornado", "numpy", "prometheus_client")


def main(arguments: Sequence[str]) -> int:
    """Do what is asked and return the exit status: 2 for what starting again does not mend."""
    from nbkube.errors import NbkubeError

    _take_certificates()
    try:
        if arguments[0] == "fetch":
            return _fetch(*arguments[1:])
        return _serve(arguments[1])
    except NbkubeError as error:
        return _failed(str(error), 1)


def _fetch(url: str, name: str, version: str, folder: str, runtime: str = "") -> int:
    from nbkube.models.copying import mirror
    from nbkube.models.registry import ModelRegistry
    from nbkube.storage import open_store

    store = open_store(url)
    if runtime:
        from nbkube.serving.runtimes import lay_out

        found = ModelRegistry(store).get(name, int(version))
        lay_out(runtime, store, found, Path(folder))
    else:
        found = mirror(store, open_store(Path(folder)), name, int(version))
    print(f"model {name} version {version}: {found.size} bytes, {found.digest}", flush=True)  # noqa: T201
    return 0


def _serve(text: str) -> int:
    import asyncio
    import importlib.util

    import msgspec

    from nbkube.serving.model import ServerTask

    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        return _failed(
            f"the image has no {', '.join(missing)}. Fix: name one with nbkube[serve] and the libraries of the model, "
            "by --image REFERENCE or serve.image of the profile",
            2,
        )
    from nbkube.decoding import from_json
    from nbkube.serving.server import serve_until_told

    task = from_json(text, ServerTask)
    task = msgspec.structs.replace(task, token=os.environ.get(TOKEN, ""))
    faults: list[str] = []

    def tell(news: dict[str, object]) -> None:
        print(msgspec.json.encode(news).decode(), flush=True)  # noqa: T201
        if "error" in news:
            faults.append(str(news["error"]))

    asyncio.run(serve_until_told(task, tell, detached=False))
    return _failed(faults[0], 1) if faults else 0


def _failed(message: str, status: int) -> int:
    print(message, file=sys.stderr, flush=True)  # noqa: T201
    with contextlib.suppress(OSError):  # outside pods there is no such place
        Path(_LAST_WORDS).write_text(message[:2000], encoding="utf-8")
    return status


def _take_certificates() -> None:
    """Put the certificates that the store is checked with where S3 clients look for them."""
    text = os.environ.pop(STORE_CA, "")
    if text:
        handle, file = tempfile.mkstemp(suffix=".crt")
        with open(handle, "w", encoding="ascii") as target:
            target.write(text)
        os.environ["AWS_CA_BUNDLE"] = file


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
