"""The namespace of a step: a dict that loads earlier units' values when they are first looked up."""

from __future__ import annotations

import builtins
import sys
import threading
from collections.abc import ItemsView, Iterable, Iterator, KeysView, Mapping, ValuesView
from typing import Any

from nbkube.errors import StateError
from nbkube.state.builtin_names import BuiltinNames
from nbkube.state.definitions import Definitions
from nbkube.state.imports import import_version
from nbkube.state.load import LoadedStream, Loader
from nbkube.state.model import AGAIN, OutputRef
from nbkube.state.mutation import take_baseline
from nbkube.state.reducers import arrays, arrow, builtin, frames, models  # noqa: F401  (they fill the table of reducers)
from nbkube.storage.model import ObjectStore

_HOT = 200
"""After so many look-ups a builtin is kept in the namespace itself: loops over `len` would be slow otherwise."""
_INTERNAL = frozenset(
    ("In", "Out", "_", "__", "___", "_i", "_ii", "_iii", "_ih", "_oh", "_dh", "exit", "quit", "get_ipython", "open")
)


class HoleError(StateError):
    """A name whose value could not be stored was looked up in another process."""

    def __init__(self, name: str, reason: str) -> None:
        self.name = name
        super().__init__(f"`{name}` {reason}.")


def is_internal(name: str) -> bool:
    """Tell whether IPython or Python itself keeps this name in the namespace."""
    if name in _INTERNAL:
        return True
    if name.startswith("__") and name.endswith("__"):
        return True
    return name[:2] == "_i" and name[2:].isdigit() or name[:1] == "_" and name[1:].isdigit()


class Namespace(dict[str, Any]):
    """The names of one step process.

    Holds what the process has bound or loaded. `bindings` are the names (and pseudo-names) put out by earlier units;
    one is loaded when it is looked up. `reads` tells which versions were used: name -> version, "" for names that were
    looked up and not there. `root` is the workspace root as the code sees it.
    """

    def __init__(self, bindings: Mapping[str, OutputRef], store: ObjectStore, *, root: str = "") -> None:
        super().__init__({"__name__": "__main__", "__doc__": None})
        self["__builtins__"] = BuiltinNames(self, self.__missing__)
        self.bindings = dict(bindings)
        self.store = store
        self.root = root
        self.reads: dict[str, str] = {}
        self.loaded: dict[str, Any] = {}
        self.deleted: set[str] = set()
        self.ambient: dict[str, Any] = {}
        self.definitions = Definitions(self._key_taken)
        self.loader = Loader(store, self, root, loaded=self._stream_loaded)
        self._lock = threading.RLock()
        self._settled = False
        self._hits: dict[str, int] = {}
        self.hoisted: dict[str, Any] = {}

    def attach(self, bindings: Mapping[str, OutputRef], store: ObjectStore) -> None:
        """Take the bindings of a unit whose statements before its cells may have run here without them."""
        self.bindings = dict(bindings)
        self.store = self.loader.store = store

    # -- loading

    def named(self, name: str) -> object:
        """Return the value of a name, as a pickle asks for it."""
        return self[name]

    @property
    def globals(self) -> dict[str, Any]:
        """The namespace itself, as the globals of the notebook's functions."""
        return self

    def available(self, name: str) -> OutputRef | None:
        """Return the binding of a name that this process has neither loaded nor deleted yet."""
        ref = self.bindings.get(name)
        if ref is None or ref.kind == "deleted" or name in self.deleted or name in self.loaded:
            return None
        return ref

    def __missing__(self, name: str) -> Any:
        ref = self.available(name)
        if ref is not None:
            return self.load(name)
        if name in builtins.__dict__:
            value = builtins.__dict__[name]
            hits = self._hits[name] = self._hits.get(name, 0) + 1
            if hits == _HOT:
                self.hoisted[name] = value
                dict.__setitem__(self, name, value)
            return value
        self._note_absent(name)
        raise KeyError(name)

    def _note_absent(self, name: str) -> None:
        if isinstance(name, str) and name.isidentifier() and not is_internal(name):
            self.reads.setdefault(name, "")

    def load(self, name: str) -> Any:
        """Load a bound name, bind it here, and return its value. Raises `HoleError` for what could not be stored."""
        with self._lock:
            if name in self.loaded and name in dict.keys(self):
                return dict.__getitem__(self, name)
            ref = self.bindings[name]
            self.reads[name] = ref.version
            if ref.kind == "hole":
                raise HoleError(name, ref.reason)
            value = self.loader.value(ref)
            self.loaded[name] = value
            if ":" not in name:
                dict.__setitem__(self, name, value)
            return value

    def definition(self, key: str) -> object:
        """Return the one object of a definition; it is made from the binding on first use."""
        if key not in self.definitions:
            ref = self.bindings.get(key)
            if ref is None or ref.kind == "deleted":
                raise StateError(f"The definition {key} is not among the bindings.")
            self.load(key)
        return self.definitions[key]

    def adopt(self, key: str, value: object) -> None:
        """Take a freshly made function or class as the one object of a definition."""
        self.definitions.adopt(key, value)

    def _key_taken(self, key: str) -> bool:
        ref = self.bindings.get(key)
        taken = ref is not None and ref.kind != "deleted"
        if key not in self.loaded:
            self.reads.setdefault(key, ref.version if ref is not None and taken else "")
        return taken

    def _stream_loaded(self, stream: LoadedStream) -> None:
        stream.baseline = take_baseline(stream, self.definitions, self)

    # -- what the process starts with, and later units in one process

    def settle(self) -> None:
        """Take what is bound now (by the shell and by replay) as given, not as this unit's work; once per process.

        A replayed name that a unit has since bound to something else is dropped, so that it is loaded when used. One
        that still means what the import binds counts as read in a way that holds whether its maker has finished or not.
        """
        if self._settled:
            return
        self._settled = True
        for name, value in list(dict.items(self)):
            if is_internal(name):
                continue
            ref = self.available(name)
            version = import_version(value)
            if version is not None and (ref is None or ref.version == version):
                self.reads[name] = AGAIN + version
                if ref is not None:
                    self.loaded[name] = value
            elif ref is not None:
                self.reads[name] = ref.version
                dict.__delitem__(self, name)
        self.ambient = {name: value for name, value in dict.items(self) if name not in self.loaded}

    def rebind(self, bindings: Mapping[str, OutputRef]) -> None:
        """Go on with a later unit in this process: names it has not touched are looked up in the new bindings."""
        for name, value in list(self.loaded.items()):
            new = bindings.get(name)
            old = self.bindings.get(name)
            if new is None or old is None or new.version == old.version or dict.get(self, name) is not value:
                continue
            del self.loaded[name]
            dict.pop(self, name, None)
        kept = {name: ref for name, ref in self.bindings.items() if name in self.loaded or name in self.deleted}
        self.bindings = {**bindings, **kept}

    # -- a dict that also knows the names it has not loaded yet

    def __contains__(self, name: object) -> bool:
        if dict.__contains__(self, name):
            return True
        if not isinstance(name, str):
            return False
        ref = self.available(name)
        if ref is None or ":" in name:
            self._note_absent(name)
            return False
        self.reads[name] = ref.version
        return True

    def __delitem__(self, name: str) -> None:
        if not dict.__contains__(self, name):
            ref = self.available(name)
            if ref is None:
                raise KeyError(name)
            self.reads[name] = ref.version
        else:
            dict.__delitem__(self, name)
        if name in self.bindings:
            self.deleted.add(name)

    def get(self, name: str, default: Any = None) -> Any:
        """Return a name's value, loading it if need be."""
        if dict.__contains__(self, name) or (name not in builtins.__dict__ and name in self):
            return self[name]
        return default

    def pop(self, name: str, *default: Any) -> Any:
        """Unbind a name and return its value."""
        if name in self and name not in self.hoisted:
            value = self[name]
            del self[name]
            return value
        if default:
            return default[0]
        raise KeyError(name)

    def setdefault(self, name: str, default: Any = None) -> Any:
        """Return a name's value, binding it to the default where there is none."""
        if name not in self:
            self[name] = default
        return self[name]

    def _names(self) -> list[str]:
        own = [name for name in dict.keys(self) if name not in self.hoisted]
        more = [name for name in self.bindings if ":" not in name and name not in own and self.available(name)]
        return own + more

    def __iter__(self) -> Iterator[str]:
        return iter(self._names())

    def __len__(self) -> int:
        return len(self._names())

    def keys(self) -> KeysView[str]:  # type: ignore[override]
        """All names, also those not loaded yet."""
        return KeysView(self)

    def values(self) -> ValuesView[Any]:  # type: ignore[override]
        """All values; names not loaded yet are loaded on the way."""
        return ValuesView(self)

    def items(self) -> ItemsView[str, Any]:  # type: ignore[override]
        """All names and values; names not loaded yet are loaded on the way."""
        return ItemsView(self)

    def copy(self) -> dict[str, Any]:
        """Return a plain dict of all names, loading those not loaded yet."""
        return {name: self[name] for name in self}

    def own_items(self) -> list[tuple[str, Any]]:
        """Return the names this process holds, without loading or recording anything."""
        return [(name, value) for name, value in dict.items(self) if self.hoisted.get(name, self) is not value]


class MainModule:
    """The module `__main__` of a step process: its attributes are the names of the namespace."""

    def __init__(self, namespace: Namespace) -> None:
        self.__dict__ = namespace

    def __getattr__(self, name: str) -> Any:
        own: Any = self.__dict__
        if (name.startswith("__") and name.endswith("__")) or (name in vars(builtins) and name not in own.bindings):
            raise AttributeError(f"module '__main__' has no attribute {name!r}")
        try:
            return self.__dict__[name]
        except KeyError:
            raise AttributeError(f"module '__main__' has no attribute {name!r}") from None

    def __dir__(self) -> list[str]:
        return sorted(self.__dict__)


def install_main(namespace: Namespace) -> MainModule:
    """Make the namespace the process's `__main__`, so that pickles and libraries find the notebook's names there."""
    module = MainModule(namespace)
    sys.modules["__main__"] = module  # type: ignore[assignment]
    return module


def load_values(
    bindings: Mapping[str, OutputRef], store: ObjectStore, names: Iterable[str] | None = None, *, root: str = ""
) -> dict[str, object]:
    """Load values into a namespace of their own (all storable names, or those asked for) and return them as a dict.

    Functions among them see that namespace, never the caller's.
    """
    namespace = Namespace(bindings, store, root=root)
    wanted = names
    if wanted is None:
        wanted = [name for name, ref in bindings.items() if ":" not in name and ref.kind == "blob"]
    return {name: namespace.load(name) for name in wanted}
