"""The pickler: the C pickler with one Python call for objects that are no plain data."""

from __future__ import annotations

import contextlib
import gc
import io
import pickle
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from nbkube.state import loading
from nbkube.state.blobs import OUT_OF_BAND, Stream, Target
from nbkube.state.classes import (
    class_args,
    class_state,
    fill_attributes,
    fill_methods,
    make_class,
    make_variable,
    own_parts,
    variable_args,
)
from nbkube.state.code import Places
from nbkube.state.definitions import CACHED, Definitions
from nbkube.state.functions import (
    cached_args,
    cached_state,
    fill_cached,
    fill_function,
    filled_cells,
    make_args,
    make_cached,
    state_of,
)
from nbkube.state.identity import flat_objects, has_identity
from nbkube.state.opcodes import may_hold_sets
from nbkube.state.paths import mark_root
from nbkube.state.reducers import find_reducer
from nbkube.state.sets import SetOrder

_PLAIN = frozenset((type(None), bool, int, float, complex, str, bytes, bytearray, list, tuple, dict, set, frozenset))


class Scope:
    """A dict that serves as globals of functions made by `exec`; the builtins are left out."""

    def __init__(self, items: dict[str, Any]) -> None:
        self.items = {key: value for key, value in items.items() if key != "__builtins__"}


class _Reference:
    """Stands for an object of another blob at the start of a stream."""

    def __init__(self, index: int) -> None:
        self.index = index


class _Shell:
    """Stands for a definition while it is made without its state."""

    def __init__(self, key: str, value: Any) -> None:
        self.key, self.value = key, value


class _Methods(_Shell):
    """Stands for the functions in a class."""


class _State(_Shell):
    """Stands for the state of a definition."""


class Dumper(pickle.Pickler):
    """Writes streams. Objects of `_PLAIN` types never reach Python code.

    `late`: pseudo-names met. `owned`: ids of functions and classes that go by value now, being part of a class that
    does. `bare`: closures go without contents. `exact`: nothing may be left out or compacted, since two dumps of one
    object are to be compared; `pins` must then be kept until they have been. `met`: what reducers noted for later
    checks (Keras models and the like).
    """

    def __init__(self, file: io.BytesIO, definitions: Definitions, namespace: dict[str, Any], *, exact: bool) -> None:
        self.buffers: list[memoryview] = []
        super().__init__(file, 5, buffer_callback=self._take)
        self.definitions = definitions
        self.namespace = namespace
        self.exact = exact
        self.places = Places()
        self.late: dict[str, None] = {}
        self.owned: set[int] = set()
        self.bare = False
        self.met: list[Any] = []
        self.pins: list[Any] = []
        self.kinds: set[type] = set()
        self.odd = False
        self._kept: list[Any] = []
        self._scopes: dict[int, Scope] = {}
        self._class_states: dict[int, Any] = {}
        self.values: list[object] = []

    def _take(self, buffer: pickle.PickleBuffer) -> bool:
        try:
            view = buffer.raw()
        except BufferError:
            return True
        if view.nbytes < OUT_OF_BAND:
            return True
        self.buffers.append(view)
        return False

    def reducer_override(self, value: Any) -> Any:
        """Return how to store an object that is no plain data (called by the C pickler)."""
        self.kinds.add(type(value))
        reducer = find_reducer(type(value))
        if reducer is None:
            self.odd = True
            return NotImplemented
        return reducer(self, value)

    def refer(self, value: object) -> str:
        """Return a definition's key, noting that the stream is bound to it."""
        key = self.definitions.key(value)
        self.late[key] = None
        return key

    def own(self, parts: Iterable[object]) -> None:
        """Store these by value wherever they come up in this stream."""
        self.owned.update(map(id, parts))

    def keep(self, value: Any) -> Any:
        """Keep a temporary object alive until the dump is over, so that its id is not used again."""
        self._kept.append(value)
        return value

    def around(self) -> list[object]:
        """Return the values being written and those loaded so far, bound to a name or not."""
        loader = getattr(self.namespace, "loader", None)
        loaded = list(loader.streams.values()) if loader is not None else []
        return [*self.values, *(one for stream in loaded for one in stream.values.values())]

    def scope(self, items: dict[str, Any]) -> Scope:
        """Return the one stand-in for a dict that serves as globals."""
        if id(items) not in self._scopes:
            self._scopes[id(items)] = Scope(items)
        return self._scopes[id(items)]

    def seed(self, targets: Sequence[object]) -> None:
        """Write references to objects of other blobs; from here on these objects are known to the pickler."""
        stands = [_Reference(index) for index in range(len(targets))]
        self.dump(stands)
        memo = self.memo.copy()
        for stand, target in zip(stands, targets, strict=True):
            memo[id(target)] = (memo.pop(id(stand))[0], target)
        self.memo = memo

    def shells(self, keys: Sequence[str]) -> None:
        """Write the definitions without their state."""
        self.bare = True
        objects = [self.definitions[key] for key in keys]
        for one in objects:
            if isinstance(one, type):
                self.own(own_parts(one))
        self.dump([_Shell(key, one) for key, one in zip(keys, objects, strict=True)])
        self.bare = False
        classes = [(key, one) for key, one in zip(keys, objects, strict=True) if isinstance(one, type)]
        self._class_states = {id(one): class_state(self, one) for _, one in classes}
        self.dump([_Methods(key, one) for key, one in classes])

    def class_state(self, cls: type) -> Any:
        """Return the state of a definition taken by `shells`."""
        return self._class_states[id(cls)]


def shell_order(keys: Iterable[str], definitions: Definitions) -> list[str]:
    """Return keys so that bases and metaclasses come before the classes made of them."""

    def rank(key: str) -> tuple[int, int, str]:
        value = definitions[key]
        if not isinstance(value, type):
            return (0 if not isinstance(value, CACHED) else 1, 0, key)
        return (2 if issubclass(value, type) else 3, len(value.__mro__), key)

    return sorted(keys, key=rank)


def reduce_reference(dumper: Dumper, value: _Reference) -> Any:
    """A reference to an object of another blob."""
    return loading.external, (value.index,)


def reduce_shell(dumper: Dumper, value: _Shell) -> Any:
    """A definition without its state."""
    key, one = value.key, value.value
    if isinstance(one, type):
        return make_class, class_args(key, one)
    if isinstance(one, CACHED):
        return make_cached, cached_args(key, one)
    if hasattr(one, "__code__"):
        return make_args(dumper, key, one)
    return make_variable, variable_args(key, one)


def reduce_methods(dumper: Dumper, value: _Methods) -> Any:
    """The functions of a class."""
    names, methods, _, _ = dumper.class_state(value.value)
    return fill_methods, (value.value, names, methods)


def reduce_state(dumper: Dumper, value: _State) -> Any:
    """The state of a definition; the result of loading it is the definition."""
    one = value.value
    if isinstance(one, type):
        _, _, others, rest = dumper.class_state(one)
        return fill_attributes, (one, others, rest)
    if isinstance(one, CACHED):
        return fill_cached, (one, cached_state(one))
    if hasattr(one, "__code__"):
        return fill_function, (one, (state_of(one), filled_cells(one)))
    return loading.definition, (value.key,)


def make_scope(items: dict[str, Any]) -> dict[str, Any]:
    """Make a dict for globals (called from inside pickles)."""
    return items


def reduce_scope(dumper: Dumper, value: Scope) -> Any:
    """A dict that serves as globals."""
    return dict, (), None, None, iter(value.items.items())


@contextlib.contextmanager
def without_collection() -> Iterator[None]:
    """Keep the cyclic garbage collector from walking millions of objects that are being made."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


class Dumped:
    """One dump: the stream, the pickler's memo while it is of use, and what was noted on the way."""

    def __init__(
        self, stream: Stream, dumper: Dumper, seeds: Sequence[object], roots: list[object], data: bytes = b""
    ) -> None:
        self.stream = stream
        self._data = data
        self.roots = roots
        self.dumper = dumper
        self.seeds = {id(one) for one in seeds}
        self._memo: dict[int, tuple[int, object]] | None = None
        self._objects: dict[int, object] | None = None

    def memo(self) -> dict[int, tuple[int, object]]:
        """Return id -> (index, object) for all objects met, also those that are part of other blobs."""
        if self._memo is None:
            with without_collection():
                self._memo = self.dumper.memo.copy()
        return self._memo

    def objects(self) -> dict[int, object]:
        """Return id -> object for the objects met whose identity counts; flat data is told without the memo."""
        if self._objects is None:
            flat = flat_objects(self.roots[0]) if len(self.roots) == 1 and not self.seeds else None
            if flat is None:
                memo = self.memo()
                roots = id(self.roots)
                flat = [one for key, (_, one) in memo.items() if key not in self.seeds and key != roots]
                flat = [one for one in flat if has_identity(one)]
            self._objects = {id(one): one for one in flat}
        return self._objects

    def sets(self) -> list[object]:
        """Return the sets met, perhaps without those that are empty."""
        if len(self.roots) == 1 and not self.seeds and flat_objects(self.roots[0]) is not None:
            return [one for one in self.roots if type(one) in (set, frozenset)]
        if not may_hold_sets(self._data):
            return []
        return [one for _, one in self.memo().values() if type(one) in (set, frozenset)]

    def forget(self) -> None:
        """Let go of the memo and of the pickler's references."""
        self._memo = None
        self._data = b""
        self.dumper.clear_memo()


def dump(
    values: dict[str, object],
    definitions: Definitions,
    namespace: dict[str, Any],
    *,
    refs: Sequence[tuple[Target, object]] = (),
    exact: bool = False,
    root: str = "",
    orders: Sequence[SetOrder] = (),
    failed: list[Dumped] | None = None,
) -> Dumped:
    """Write values (and the state of definitions, for keys that are pseudo-names of such) into one stream.

    `refs` are objects of other blobs that are stored as references. Raises whatever user code raises in pickling; what
    was met until then is put into `failed`.
    """
    file = io.BytesIO()
    dumper = Dumper(file, definitions, namespace, exact=exact)
    dumper.values = list(values.values())
    seeds = [one for _, one in refs]
    keys = shell_order([key for key in values if key in definitions], definitions)
    order = [*keys, *(key for key in values if key not in definitions)]
    roots = [*(_State(key, definitions[key]) for key in keys), *(values[key] for key in order[len(keys) :])]
    try:
        with without_collection():
            if seeds:
                dumper.seed(seeds)
            if keys:
                dumper.shells(keys)
            dumper.dump(roots)
            if orders:
                dumper.dump(list(orders))
    except BaseException:
        if failed is not None:
            failed.append(Dumped(Stream(order, b""), dumper, seeds, roots))
        raise
    data = file.getvalue()
    stream = Stream(order, data)
    if root:
        stream.data = mark_root(data, root)
        stream.marked = stream.data is not data
    stream.places = dumper.places.encode()
    stream.buffers = dumper.buffers
    stream.refs = tuple(target for target, _ in refs)
    stream.late = tuple(dumper.late)
    stream.definitions = len(keys)
    stream.ordered = bool(orders)
    stream.plain = not (dumper.odd or keys or refs or stream.marked or dumper.late or dumper.met or orders)
    return Dumped(stream, dumper, seeds, roots, data)


def reason_of(error: BaseException) -> str:
    """Return why a value cannot be stored, as a sentence that fits after its name."""
    text = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    match = re.search(r"cannot (?:pickle|serialize) '?([\w.]+)'? object", text)
    if match:
        return f"holds a {match.group(1).rpartition('.')[2]} object, which lives only in its process"
    if isinstance(error, RecursionError):
        return "is nested too deeply to be stored"
    return f"cannot be stored: {text}"
