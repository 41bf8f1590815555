"""A process that holds one version of a model and predicts; the only kind of process in which code of models runs.

    python -m nbkube.serving.worker STORE NAME VERSION FOLDER DESCRIPTOR

Through the descriptor come jobs, one after the other; the first answer is that of the version's own example.
"""

from __future__ import annotations

import gc
import os
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from nbkube.decoding import from_msgpack
from nbkube.errors import NbkubeError
from nbkube.serving.frames import Done, Job, frame, length_of, pack, unpack

_INPUTS_FAULT = (ValueError, TypeError, KeyError, IndexError, ArithmeticError, UnicodeError)


def main(arguments: list[str]) -> None:
    """Load the version, predict its example, then do jobs until the connection ends."""
    store, name, version, folder, descriptor = arguments
    gc.disable()  # until the model is there: what is imported stays, and looking through it again and again takes time
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    with socket.socket(fileno=int(descriptor)) as server:
        server.set_inheritable(False)
        os.set_blocking(server.fileno(), True)
        with tempfile.TemporaryDirectory(prefix="model-", dir=folder or None) as place:
            try:
                serve(server, _loaded(store, name, int(version), Path(place)))
            except NbkubeError as error:
                server.sendall(frame(Done(fault=str(error), blame="model")))
    os._exit(0)


def _loaded(url: str, name: str, version: int, place: Path) -> Callable[[Job], Done]:
    from nbkube.models import loaders
    from nbkube.models.formats import ModelError, fetch
    from nbkube.models.registry import ModelRegistry
    from nbkube.models.tensors import from_example
    from nbkube.storage import open_store

    store = open_store(url)
    known = ModelRegistry(store).get(name, version)
    predictor = loaders.load(known.format, fetch(store, known, place), known.signature, store)

    def predict(job: Job) -> Done:
        started = time.perf_counter()
        try:
            outputs = predictor(unpack(job.inputs), frozenset(job.wanted))
            return Done(pack(outputs), seconds=time.perf_counter() - started)
        except ModelError as error:
            return Done(fault=str(error), blame="model")
        except _INPUTS_FAULT as error:
            return Done(fault=_said(error), blame="input")
        except Exception as error:  # noqa: BLE001 - the model's own code
            return Done(fault=_said(error), blame="model")

    first = predict(Job(pack(from_example(known.example))))
    if first.fault:
        raise ModelError(f"model {name} version {version} does not answer its own example: {first.fault}")
    gc.freeze()
    gc.enable()
    return predict


def _said(error: Exception) -> str:
    text = str(error).strip().split("\n")[0][:300]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def serve(server: socket.socket, predict: Callable[[Job], Done]) -> None:
    """Tell that the model is ready, then answer jobs."""
    server.sendall(frame(Done(ready=True)))
    while head := _read(server, 4):
        body = _read(server, length_of(head))
        if body is None:
            return
        server.sendall(frame(predict(from_msgpack(body, Job))))


def _read(server: socket.socket, count: int) -> bytes | None:
    data = bytearray(count)
    view = memoryview(data)
    while view:
        got = server.recv_into(view)
        if not got:
            return None
        view = view[got:]
    return bytes(data)


if __name__ == "__main__":
    main(sys.argv[1:])
