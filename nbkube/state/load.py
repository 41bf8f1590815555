"""Loading: one load per stream and process, so that what was one object stays one object."""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from typing import Any

from nbkube.errors import StateError
from nbkube.state import loading
from nbkube.state.blobs import OpenBlob, Target
from nbkube.state.code import decode
from nbkube.state.dump import without_collection
from nbkube.state.model import OutputRef
from nbkube.state.paths import expand_root
from nbkube.state.sets import restore_orders
from nbkube.storage.model import ObjectStore

Address = tuple[str, int]
"""A stream: digest of its blob and its number there."""


class Unpickler(pickle.Unpickler):
    """Looks names of `__main__` up in the live namespace."""

    def __init__(self, file: io.BytesIO, buffers: Any, resolver: loading.Resolver) -> None:
        super().__init__(file, buffers=buffers)
        self._resolver = resolver

    def find_class(self, module: str, name: str) -> Any:
        """Return what a stream calls by name."""
        if module != "__main__":
            return super().find_class(module, name)
        first, *rest = name.split(".")
        found = self._resolver.named(first)
        for part in rest:
            found = getattr(found, part)
        return found


class LoadedStream:
    """The live objects of one stream, and what is needed to tell later whether they were changed."""

    def __init__(self, address: Address, blob: OpenBlob) -> None:
        self.address = address
        self.blob = blob
        self.head = blob.head.streams[address[1]]
        self.version = blob.version(address[1])
        self.values: dict[str, object] = {}
        self.refs: list[tuple[Target, object]] = []
        self.buffers = list(blob.buffers(address[1]))
        self.baseline: Any = None
        self._memo: Callable[[], Any] = dict
        self._ids: dict[int, int] | None = None
        self._by_index: dict[int, object] | None = None

    def remember(self, memo: Callable[[], Any]) -> None:
        """Keep the way to the unpickler's memo."""
        self._memo = memo

    def at(self, index: int) -> object:
        """Return the object at a place in the memo."""
        if self._by_index is None:
            with without_collection():
                self._by_index = self._memo()
        return self._by_index[index]

    def ids(self) -> dict[int, int]:
        """Return id -> place in the memo for the objects made by this stream (not those of other blobs)."""
        if self._ids is None:
            with without_collection():
                if self._by_index is None:
                    self._by_index = self._memo()
                foreign = {id(one) for _, one in self.refs}
                self._ids = {id(one): index for index, one in self._by_index.items() if id(one) not in foreign}
        return self._ids


class Loader:
    """Loads streams of a store into one process, each once."""

    def __init__(
        self, store: ObjectStore, resolver: loading.Resolver, root: str, *, loaded: Callable[[LoadedStream], None]
    ) -> None:
        self.store = store
        self.streams: dict[Address, LoadedStream] = {}
        self._resolver = resolver
        self._root = root
        self._loaded = loaded
        self._blobs: dict[str, OpenBlob] = {}
        self._fresh: list[LoadedStream] = []
        self._busy: set[Address] = set()

    def value(self, ref: OutputRef) -> object:
        """Return the live object of a reference."""
        return self.stream_of(ref).values[ref.key]

    def stream_of(self, ref: OutputRef) -> LoadedStream:
        """Return the loaded stream that holds a reference's value."""
        blob = self.blob(ref.blob)
        if ref.key in blob.numbers:
            return self.stream((ref.blob, blob.numbers[ref.key]))
        raise StateError(f"Object {ref.blob[:12]} holds no value called {ref.key!r}.")

    def blob(self, digest: str) -> OpenBlob:
        """Return a blob, opened once."""
        if digest not in self._blobs:
            self._blobs[digest] = OpenBlob(digest, self.store.local_path(digest))
        return self._blobs[digest]

    def stream(self, address: Address) -> LoadedStream:
        """Return a stream, loaded once."""
        known = self.streams.get(address)
        if known is not None:
            return known
        if address in self._busy:
            raise StateError(f"Object {address[0][:12]} refers to itself; it was stored by a faulty version.")
        self._busy.add(address)
        try:
            stream = self._load(LoadedStream(address, self.blob(address[0])))
        finally:
            self._busy.discard(address)
        self.streams[address] = stream
        self._fresh.append(stream)
        if not self._busy:  # classes met on the way may be incomplete until the outermost load is done
            fresh, self._fresh = self._fresh, []
            for one in fresh:
                self._loaded(one)
        return stream

    def _load(self, stream: LoadedStream) -> LoadedStream:
        blob, index, head = stream.blob, stream.address[1], stream.head
        stream.refs = [(one, self.stream((one.blob, one.stream)).at(one.memo)) for one in head.refs]
        places = decode(blob.places(index))
        places.publish_sources()
        data = blob.data(index)
        if head.marked:
            data = expand_root(data, self._root)
        unpickler = Unpickler(io.BytesIO(data), stream.buffers, self._resolver)
        values = run(unpickler, loading.Loading(self._resolver, places, [one for _, one in stream.refs]), head)
        stream.values = dict(zip(head.keys, values, strict=True))
        stream.remember(lambda: unpickler.memo.copy())
        return stream


def run(unpickler: pickle.Unpickler, now: loading.Loading, head: Any) -> list[object]:
    """Run the parts of a stream in turn and return its values."""
    loading.push(now)
    try:
        with without_collection():
            if head.refs:
                unpickler.load()
            if head.definitions:
                unpickler.load()
                unpickler.load()
            values: list[object] = unpickler.load()
            if head.ordered:
                restore_orders(unpickler.load())
            return values
    finally:
        loading.pop()
