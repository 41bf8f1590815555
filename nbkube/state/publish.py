"""Putting out what a unit bound or changed: values grouped by what they share, into blobs of the store."""

from __future__ import annotations

import pickle
import uuid
from collections.abc import Mapping, Sequence

import msgspec

from nbkube.errors import StateError
from nbkube.state.blobs import Stream, Target, encode, key_version
from nbkube.state.definitions import PREFIX, is_definition
from nbkube.state.dump import Dumped, dump, reason_of, without_collection
from nbkube.state.errors import UnstorableError
from nbkube.state.identity import has_identity
from nbkube.state.imports import import_name, import_version
from nbkube.state.load import LoadedStream
from nbkube.state.model import OutputRef
from nbkube.state.mutation import is_changed
from nbkube.state.namespace import HoleError, Namespace, is_internal
from nbkube.state.reducers.models import shared_models
from nbkube.state.sets import SetOrder, set_orders
from nbkube.state.sharing import foreign_objects, group
from nbkube.state.summary import summary_of, type_of
from nbkube.state.trial import trial_load

_HISTORY = frozenset(("_", "__", "___", "_i", "_ii", "_iii", "_ih", "_oh", "In", "Out", "__annotations__"))
_ATOMS = frozenset((type(None), bool, int, float, complex, str, bytes))
_PACKED = 1 << 16
"""Streams up to this size may share a blob."""
_MANY = 64
"""More small streams of mutable values than this share a blob, since every blob costs a durable write."""
_OWN_DIGEST = 1 << 20
"""Up to this size a stream's version is computed from its content; above it the blob's digest is taken."""

Reference = tuple[Target, object]


class Published(msgspec.Struct, frozen=True):
    """What a unit put out: `outputs` by name, and the blobs whose loaded objects it has changed in place."""

    outputs: dict[str, OutputRef]
    touched: tuple[str, ...] = ()

    @property
    def holes(self) -> dict[str, str]:
        """Names that could not be stored, and why."""
        return {name: ref.reason for name, ref in self.outputs.items() if ref.kind == "hole"}


def publish(namespace: Namespace, *, history: bool = False, extra: Mapping[str, object] | None = None) -> Published:
    """Store every name the process has bound, changed or deleted since its start; may be called again later.

    `extra` are pseudo-names with their values (process state); `history` also puts out `_`, `Out` and `In`.
    """
    with without_collection():
        return _Publication(namespace, history, dict(extra or {})).run()


class _Item:
    """A name on its way out."""

    def __init__(self, name: str, value: object) -> None:
        self.name = name
        self.value = value
        self.dumped: Dumped | None = None
        self.refs: list[Reference] = []
        self.reason = ""
        self.met: list[Dumped] = []

    @property
    def stored(self) -> Dumped:
        assert self.dumped is not None
        return self.dumped


class _Publication:
    def __init__(self, namespace: Namespace, history: bool, extra: dict[str, object]) -> None:
        self.space = namespace
        self.history = history
        self.extra = extra
        self.items: dict[str, _Item] = {}
        self.outputs: dict[str, OutputRef] = {}
        self.touched: set[str] = set()
        self.blobs: dict[str, list[_Item]] = {}

    def run(self) -> Published:
        """Return what was put out."""
        loader = self.space.loader
        self.touch({one.address[0] for one in list(loader.streams.values()) if self.changed(one)})
        for name, value in self.bound():
            self.add(name, value)
        for name, value in self.extra.items():
            self.add(name, value)
        self.follow_definitions()
        while self.break_cycles():
            self.follow_definitions()
        self.refuse_shared_models()
        self.store()
        for name in self.space.deleted:
            if not dict.__contains__(self.space, name) and self.is_bound(name):
                self.outputs[name] = OutputRef(kind="deleted", version="deleted")
        for name in self.space.loaded:
            if ":" not in name and not dict.__contains__(self.space, name) and self.is_bound(name):
                self.outputs[name] = OutputRef(kind="deleted", version="deleted")
        return Published(self.outputs, tuple(sorted(self.touched)))

    def is_bound(self, name: str) -> bool:
        ref = self.space.bindings.get(name)
        return ref is not None and ref.kind != "deleted"

    def changed(self, stream: LoadedStream) -> bool:
        return is_changed(stream, self.space.definitions, self.space)

    # -- what goes out

    def bound(self) -> list[tuple[str, object]]:
        """Return the names bound since the start."""
        found = []
        for name, value in self.space.own_items():
            if not isinstance(name, str) or (is_internal(name) and not (self.history and _is_history(name))):
                continue
            if name in self.items:
                continue
            if name in self.space.ambient and self.space.ambient[name] is value:
                continue
            if name in self.space.loaded and self.space.loaded[name] is value:
                continue
            found.append((name, value))
        return found

    def touch(self, blobs: set[str]) -> None:
        """Take blobs as changed in place: load and publish every bound name that is part of them or refers to them."""
        stale = set(blobs)
        while stale:
            self.touched |= stale
            reached: set[str] = set()
            for name, ref in list(self.space.bindings.items()):
                if name in self.items or (ref.blob not in stale and not stale.intersection(ref.refs)):
                    continue
                if self.is_hidden(name):
                    continue
                if ref.kind == "hole":
                    self.space.reads[name] = ref.version
                elif ref.kind == "blob":
                    self.add_loaded(name, ref)
                    reached.add(ref.blob)
            stale = reached - self.touched
        for item in self.items.values():
            fresh = item.dumped is None and not item.reason
            if fresh or any(target.blob in self.touched for target, _ in item.refs):
                item.refs, item.reason = [], ""
                self.dump(item)

    def is_hidden(self, name: str) -> bool:
        """Tell whether a bound name's value is out of reach: rebound or deleted here."""
        if name.startswith(PREFIX):
            return False
        if name in self.space.deleted:
            return True
        if not dict.__contains__(self.space, name):
            return name in self.space.loaded
        return self.space.loaded.get(name, self) is not dict.__getitem__(self.space, name)

    def add_loaded(self, name: str, ref: OutputRef) -> None:
        """Publish a bound name again, loading it first where that has not happened."""
        try:
            value = self.space.load(name)
        except HoleError as error:
            self.items[name] = item = _Item(name, None)
            item.reason = f"depends on {error}"
            return
        self.items[name] = _Item(name, value)

    def add(self, name: str, value: object) -> None:
        """Publish a name: as another name of an unchanged input, or as a value of its own."""
        alias = self.alias(value)
        if alias is not None:
            self.outputs[name] = alias
            return
        self.items[name] = _Item(name, value)
        self.dump(self.items[name])

    def alias(self, value: object) -> OutputRef | None:
        if type(value) in _ATOMS or is_definition(value) or import_name(value) is not None or not has_identity(value):
            return None
        for name, loaded in self.space.loaded.items():
            if loaded is value and ":" not in name:
                ref = self.space.bindings[name]
                return ref if ref.blob not in self.touched else None
        return None

    def follow_definitions(self) -> None:
        """Add the definitions that are new here and that anything put out refers to."""
        pending = list(self.items.values())
        while pending:
            item = pending.pop()
            for key in item.dumped.stream.late if item.dumped is not None else ():
                if key in self.items or key in self.space.loaded or key not in self.space.definitions:
                    continue
                self.items[key] = new = _Item(key, self.space.definitions[key])
                self.dump(new)
                pending.append(new)

    # -- pickling

    def dump(self, item: _Item) -> None:
        """Pickle one name by itself; objects of unchanged inputs become references."""
        if type(item.value) in _ATOMS and (not self.space.root or self.space.root not in str(item.value)):
            return
        try:
            item.dumped = self.write({item.name: item.value}, [], failed=item.met)
            item.refs = self.references(item.dumped)
            orders = set_orders(item.dumped.sets())
            if item.refs or orders:
                item.dumped = self.write({item.name: item.value}, item.refs, orders)
            trial_load(item.dumped, self.space, [target for _, target in item.refs])
        except UnstorableError as error:
            item.reason = str(error)
        except Exception as error:  # noqa: BLE001 - user code may raise anything while it is pickled
            item.reason = reason_of(error)

    def write(
        self,
        values: dict[str, object],
        refs: list[Reference],
        orders: Sequence[SetOrder] = (),
        failed: list[Dumped] | None = None,
    ) -> Dumped:
        space = self.space
        return dump(values, space.definitions, space, refs=refs, root=space.root, orders=orders, failed=failed)

    def references(self, dumped: Dumped) -> list[Reference]:
        """Return the outermost objects of unchanged inputs that a dump reaches."""
        streams = self.unchanged()
        covered: set[int] = set()
        found: list[Reference] = []
        for stream, place, value in foreign_objects(dumped, streams):
            if id(value) in covered:
                continue
            inner = dump({"": value}, self.space.definitions, self.space)
            covered |= inner.memo().keys()
            blob, index = stream.address
            found.append((Target(blob, index, place, stream.version), value))
        return found

    def unchanged(self) -> list[LoadedStream]:
        """Return the loaded streams that nothing was changed in."""
        return [one for one in self.space.loader.streams.values() if one.address[0] not in self.touched]

    # -- cycles between streams

    def break_cycles(self) -> bool:
        """Publish inputs again that a new version of a definition refers to and that are bound to it themselves."""
        stale: set[str] = set()
        for item in self.items.values():
            if not item.name.startswith(PREFIX):
                continue
            stale |= {target.blob for target, _ in item.refs if item.name in self.late_of(target)}
        stale -= self.touched
        if not stale:
            return False
        self.touch(stale)
        return True

    def late_of(self, target: Target) -> set[str]:
        """Return all definitions that loading an object of an input may ask for."""
        found: set[str] = set()
        streams = [(target.blob, target.stream)]
        seen: set[tuple[str, int]] = set()
        while streams:
            address = streams.pop()
            if address in seen:
                continue
            seen.add(address)
            head = self.space.loader.stream(address).head
            streams += [(one.blob, one.stream) for one in head.refs]
            for key in head.late:
                if key in found:
                    continue
                found.add(key)
                item = self.items.get(key)
                if item is not None:
                    streams += [(one.blob, one.stream) for one, _ in item.refs]
                    found |= set(item.stored.stream.late) if item.dumped is not None else set()
                elif key in self.space.loaded:
                    streams.append(self.space.loader.stream_of(self.space.bindings[key]).address)
        return found

    def refuse_shared_models(self) -> None:
        """Take back Keras models that share parts with each other: each would be loaded with parts of its own."""
        noted = [(item.name, item.dumped.dumper.met) for item in self.items.values() if item.dumped is not None]
        for name, reason in shared_models([(name, met) for name, met in noted if met]).items():
            self.items[name].reason = self.items[name].reason or reason

    # -- blobs

    def store(self) -> None:
        """Write the blobs and note the outputs."""
        small: list[tuple[Stream, list[_Item]]] = []
        loose: list[tuple[Stream, list[_Item]]] = []
        for item in self.items.values():
            if not item.reason and item.dumped is None:
                small.append((Stream([item.name], pickle.dumps([item.value], 5)), [item]))
        whole = [item for item in self.items.values() if not item.reason and item.dumped is not None]
        for numbers in group([item.stored for item in whole]):
            members = [whole[number] for number in numbers]
            stream = self.component(members)
            if stream is None:
                continue
            packable = stream.size <= _PACKED and not stream.refs
            if packable and len(members) == 1 and not self.is_mutable(members[0]):
                small.append((stream, members))
            else:
                loose.append((stream, members))
        tiny = [pair for pair in loose if pair[0].size <= _PACKED and not pair[0].refs]
        if len(tiny) > _MANY:
            self.put(tiny)
            loose = [pair for pair in loose if pair not in tiny]
        if small:
            self.put(small)
        for pair in loose:
            self.put([pair])
        self.note_holes()

    def is_mutable(self, item: _Item) -> bool:
        if item.name.startswith(PREFIX):
            return True
        return bool(item.stored.objects())

    def component(self, members: list[_Item]) -> Stream | None:
        """Return the stream of names that share objects; None where they cannot be stored together."""
        if len(members) == 1:
            return members[0].stored.stream
        refs = {id(value): (target, value) for item in members for target, value in item.refs}
        values = {item.name: item.value for item in sorted(members, key=lambda one: one.name)}
        try:
            orders = set_orders({id(one): one for item in members for one in item.stored.sets()}.values())
            return self.write(values, list(refs.values()), orders).stream
        except Exception as error:  # noqa: BLE001 - user code may raise anything while it is pickled
            for item in members:
                item.reason = reason_of(error)
            return None

    def put(self, pairs: list[tuple[Stream, list[_Item]]]) -> None:
        """Write one blob and note the outputs it holds."""
        streams = [stream for stream, _ in pairs]
        alone = len(streams) == 1
        by_digest = alone and streams[0].self_contained and streams[0].size > _OWN_DIGEST
        versions = [""] if by_digest else [stream.version() for stream in streams]
        digest = self.space.store.put(encode(streams, versions))
        for (stream, members), version in zip(pairs, versions, strict=True):
            refs, late = self.closure(stream)
            for item in members:
                self.blobs.setdefault(digest, []).append(item)
                imported = import_version(item.value)
                self.outputs[item.name] = OutputRef(
                    kind="blob",
                    version=imported or key_version(version or digest, item.name),
                    blob=digest,
                    key=item.name,
                    refs=refs,
                    late=late,
                    type=type_of(item.value),
                    summary=summary_of(item.value),
                    size=stream.size,
                )

    def closure(self, stream: Stream) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Return the blobs a stream refers to, transitively, and the definitions it and they are bound to."""
        blobs: set[str] = set()
        late = set(stream.late)
        pending = [(one.blob, one.stream) for one in stream.refs]
        while pending:
            address = pending.pop()
            blobs.add(address[0])
            head = self.space.loader.stream(address).head
            late |= set(head.late)
            pending += [(one.blob, one.stream) for one in head.refs]
        return tuple(sorted(blobs)), tuple(sorted(late))

    def note_holes(self) -> None:
        """Note the names that could not be stored, and which blobs hold objects that they share."""
        for item in self.items.values():
            if not item.reason:
                continue
            refs: set[str] = {target.blob for target, _ in item.refs}
            for met in [*item.met[-1:], *([item.dumped] if item.dumped is not None else [])]:
                refs.update(one.address[0] for one, _, _ in foreign_objects(met, self.unchanged()))
                for digest, members in self.blobs.items():
                    stored = [one.dumped for one in members if one.dumped is not None]
                    if any(met.objects().keys() & one.objects().keys() for one in stored):
                        refs.add(digest)
            self.outputs[item.name] = OutputRef(
                kind="hole",
                version=f"hole-{uuid.uuid4().hex}",
                refs=tuple(sorted(refs)),
                type=type_of(item.value),
                summary=summary_of(item.value),
                reason=item.reason,
            )


def _is_history(name: str) -> bool:
    return name in _HISTORY or name[:2] == "_i" and name[2:].isdigit() or name[:1] == "_" and name[1:].isdigit()


def check_storable(published: Published, names: set[str]) -> None:
    """Raise `StateError` for names that could not be stored."""
    bad = [f"`{name}` {reason}" for name, reason in published.holes.items() if name in names]
    if bad:
        raise StateError("; ".join(bad) + ".")
