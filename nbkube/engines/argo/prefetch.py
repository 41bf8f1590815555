"""A step's inputs on their way to the pod while its process still starts.

The process loads a value when its cells look it up, from the folder of this machine that holds blobs of far stores.
What it is expected to read, and is small, is brought into that folder beforehand, several at a time. It is a hint only:
what does not come is fetched by the process, which then says what is wrong.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress
from queue import Empty, SimpleQueue

from nbkube.errors import NbkubeError
from nbkube.state.model import OutputRef
from nbkube.storage.model import ObjectStore

SMALL = 8 << 20
"""Bytes up to which a blob is fetched before anybody has looked it up; a large one may turn out not to be needed."""

MOST = 64 << 20
"""Bytes that are fetched in all."""

_AT_ONCE = 8


def expected(names: Iterable[str], bindings: Mapping[str, OutputRef]) -> list[str]:
    """Return the digests of the small blobs that a step is likely to load, the smallest first.

    Args:
        names: the variables that its cells read.
        bindings: what there is before it; what is no variable (`process:…`) is the state that each step begins with.
    """
    sizes: Counter[str] = Counter()
    for ref in bindings.values():
        sizes[ref.blob] += ref.size
    read = [bindings[name] for name in bindings.keys() & set(names)]
    read += [ref for name, ref in bindings.items() if name.startswith("process:")]
    wanted = {digest for ref in read for digest in (ref.blob, *ref.refs) if digest in sizes and digest}
    found, total = [], 0
    for digest in sorted(wanted, key=lambda one: (sizes[one], one)):
        total += sizes[digest]
        if sizes[digest] <= SMALL and total <= MOST:
            found.append(digest)
    return found


def prefetch(store: ObjectStore, digests: Iterable[str]) -> None:
    """Begin to fetch blobs of a far store; return at once."""
    if "://" not in store.url:
        return
    waiting: SimpleQueue[str] = SimpleQueue()
    for digest in digests:
        waiting.put(digest)
    for _ in range(min(_AT_ONCE, waiting.qsize())):
        threading.Thread(target=_fetch, args=(store, waiting), name="prefetch", daemon=True).start()


def _fetch(store: ObjectStore, waiting: SimpleQueue[str]) -> None:
    with suppress(Empty):
        while True:
            digest = waiting.get_nowait()
            with suppress(NbkubeError, OSError):
                store.local_path(digest)
