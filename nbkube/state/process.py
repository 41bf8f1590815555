"""State of the process itself that later units must see: environment, working directory, search path, random state."""

from __future__ import annotations

import hashlib
import os
import pickle
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from nbkube.state.model import AGAIN

if TYPE_CHECKING:
    from nbkube.state.namespace import Namespace

ENVIRON, CWD, PATH = "process:environ", "process:cwd", "process:path"
_IGNORED = frozenset(("COLUMNS", "LINES", "OLDPWD", "PWD", "SHLVL", "_", "PYTEST_CURRENT_TEST"))


class Start(msgspec.Struct):
    """What the process was like when its unit began; later state is told against it."""

    root: str
    environ: dict[str, str]
    cwd: str
    path: list[str]
    random: dict[str, bytes] = {}
    library: set[str] = set()

    @classmethod
    def now(cls, root: str = "") -> Start:
        """Take the present as the start."""
        return cls(
            root, dict(os.environ), os.getcwd(), [one for one in sys.path if one], library=_watch_libraries(root)
        )


def restore_process(namespace: Namespace, start: Start, *, replayed: bool) -> None:
    """Bring the process to the state that earlier units left; what it was given counts as read.

    To be called before replay, so that imports find what they need, and once more when statements that were
    `replayed` may have changed the environment and the search path again. The working directory comes only then:
    the statements run in the folders in which they ran first.
    """
    environ = _load(namespace, ENVIRON)
    for name, value in (environ or {}).items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
    path = _load(namespace, PATH)
    if path is not None:
        first = [_outward(one, start.root) for one in path[0]]
        last = [_outward(one, start.root) for one in path[1]]
        gone = {_outward(one, start.root) for one in path[2]} | {*first, *last}
        sys.path[:] = [*first, *(one for one in sys.path if one not in gone), *last]
    cwd = _load(namespace, CWD)
    if cwd is not None and replayed:
        os.chdir(_outward(cwd, start.root))


def differs(state: Mapping[str, object], start: Start) -> str:
    """Tell how environment and search path of this process differ from a stored state; "" where they do not.

    Statements that ran from `start` on without that state are then those that made it.
    """
    environ: Any = state.get(ENVIRON) or {}
    for name, value in environ.items():
        if os.environ.get(name) != value:
            return f"an earlier step has set the environment variable {name}"
    if PATH in state and state[PATH] != _path_change(start):
        return "an earlier step has changed the search path of modules"
    return ""


def note_replayed(namespace: Namespace, start: Start) -> None:
    """Note of a state which no earlier unit has left, but replayed statements have made, that it may be left later.

    So a unit that ran before the one whose statements it repeats need not run again when that one has finished.
    """
    from nbkube.state.blobs import key_version
    from nbkube.state.dump import dump

    made: dict[str, Any] = {ENVIRON: _environ_change(start), PATH: _path_change(start)}
    for name, value in made.items():
        if any(made[name]) and not namespace.reads.get(name):
            stream = dump({name: value}, namespace.definitions, namespace, root=namespace.root).stream
            namespace.reads[name] = AGAIN + key_version(stream.version(), name)


def restore_random(namespace: Namespace, start: Start, *, seeded: bool) -> None:
    """Put random states back that earlier units left, for libraries that are loaded; to be called after replay.

    It counts as a read only if the unit draws from it, which `capture_process` tells.
    """
    for name, source in _RANDOM.items() if seeded else ():
        if source.module is None or source.module in sys.modules:
            state = _load(namespace, name, note=False)
            if state is not None:
                source.restore(state)
    start.random = random_digests()


def _load(namespace: Namespace, name: str, *, note: bool = True) -> Any:
    ref = namespace.bindings.get(name)
    if ref is None or ref.kind != "blob":
        if note:
            namespace.reads.setdefault(name, "")
        return None
    value = namespace.load(name)
    if not note:
        namespace.reads.pop(name, None)
    return value


def capture_process(namespace: Namespace, start: Start, *, seeded: bool = False) -> dict[str, object]:
    """Return the pseudo-names whose state has changed since the start, with their values.

    Random state is told only in `seeded` units; a state that was drawn from also counts as read.
    """
    found: dict[str, object] = {}
    environ = _environ_change(start)
    before = _value(namespace, ENVIRON) or {}
    # What earlier units had set and this one has removed stays noted: a replayed statement may set it again.
    now = {name: value if name in start.library else os.environ.get(name) for name, value in before.items()}
    changed = {**now, **environ}
    if changed != before:
        found[ENVIRON] = changed
    if os.getcwd() != (_outward(_value(namespace, CWD) or start.cwd, start.root)):
        found[CWD] = _inward(os.getcwd(), start.root)
    path = _path_change(start)
    if path != (_value(namespace, PATH) or ([], [], [])):
        found[PATH] = path
    if seeded:
        for name, digest in random_digests().items():
            if digest == start.random.get(name):
                continue
            ref = namespace.bindings.get(name)
            namespace.reads[name] = ref.version if ref is not None else ""
            found[name] = _RANDOM[name].capture()
    return found


def _watch_libraries(root: str) -> set[str]:
    """Return the variables, now and from now on, that libraries set for themselves while they are imported.

    They are no state of the notebook: a later step that imports the library gets them again, others do without.
    """
    environment = type(os.environ)
    if isinstance(known := getattr(environment, "_nbkube_library", None), set):
        return known
    library: set[str] = set()
    assign = environment.__setitem__

    def watched(self: os._Environ[str], name: str, value: str) -> None:
        assign(self, name, value)
        if self is os.environ:
            (library.add if _is_library_import(root) else library.discard)(name)

    environment.__setitem__ = watched  # type: ignore[method-assign]
    environment._nbkube_library = library  # type: ignore[attr-defined]
    return library


def _is_library_import(root: str) -> bool:
    """Tell whether the code that sets a variable belongs to a library outside the project which is being imported."""
    frame = sys._getframe(2)
    while frame.f_back is not None and frame.f_globals.get("__name__") in ("os", "collections.abc", "_collections_abc"):
        frame = frame.f_back
    file = frame.f_code.co_filename
    if frame.f_globals.get("__name__") == "__main__" or (root and file.startswith(root + "/")):
        return "/site-packages/" in file  # a virtual environment inside the project
    while frame.f_back is not None:
        if frame.f_code.co_filename == "<frozen importlib._bootstrap>":
            return True
        frame = frame.f_back
    return False


def _value(namespace: Namespace, name: str) -> Any:
    return namespace.loaded.get(name)


def _environ_change(start: Start) -> dict[str, str | None]:
    """Return the variables that differ from the start; None for one that is gone."""
    return {
        name: os.environ.get(name)
        for name in sorted({*os.environ, *start.environ} - _IGNORED - start.library)
        if os.environ.get(name) != start.environ.get(name)
    }


def _path_change(start: Start) -> tuple[list[str], list[str], list[str]]:
    """Return what was put before, put behind, and taken out of the search path."""
    present = [one for one in sys.path if one]  # "" is the interpreter's own word for the working directory
    kept = [one for one in present if one in start.path]
    first: list[str] = []
    last: list[str] = []
    seen = False
    for one in present:
        if one in start.path:
            seen = True
        else:
            (last if seen and kept else first).append(_inward(one, start.root))
    gone = [_inward(one, start.root) for one in start.path if one not in sys.path]
    return first, last, gone


def _inward(path: str, root: str) -> str:
    """Return a path below the root relative to it, marked; others as they are."""
    if root and (path == root or path.startswith(root + "/")):
        return "./" + path[len(root) + 1 :]
    return path


def _outward(path: str, root: str) -> str:
    if root and path.startswith("./"):
        return os.path.join(root, path[2:]) if path != "./" else root
    return path


class _Random(msgspec.Struct, frozen=True):
    """A global generator of random numbers: how to take its state and put it back, if its library is loaded."""

    capture: Callable[[], Any]
    restore: Callable[[Any], None]
    module: str | None = None


def _python_state() -> Any:
    module = sys.modules.get("random")
    return None if module is None else module.getstate()


def _set_python_state(state: Any) -> None:
    import random

    random.setstate(state)


def _numpy_state() -> Any:
    module = sys.modules.get("numpy.random")
    return None if module is None else module.get_state(legacy=False)


def _set_numpy_state(state: Any) -> None:
    import numpy as np

    np.random.set_state(state)


def _tensorflow_state() -> Any:
    """The global seed, how many operations drew from it, and the global generator, where one was made."""
    module = sys.modules.get("tensorflow.python.eager.context")
    if module is None:
        return None
    context = module.context()
    state = {"seed": context._seed, "counter": getattr(context, "_internal_operation_seed_counter", None)}
    rng = getattr(context, "_rng", None)
    state["rng"] = rng.getstate() if rng is not None else None
    generator = getattr(sys.modules.get("tensorflow.python.ops.stateful_random_ops"), "global_generator", None)
    state["generator"] = generator.state.numpy().tolist() if generator is not None else None
    keras = sys.modules.get("keras.src.backend.common.global_state")
    seeds = keras.get_global_attribute("global_seed_generator") if keras is not None else None
    state["keras"] = seeds.state.numpy().tolist() if seeds is not None else None
    return state


def _set_tensorflow_state(state: Any) -> None:
    from tensorflow.python.eager import context as eager

    context = eager.context()
    if state["seed"] is not None:
        context._set_global_seed(state["seed"])
    if state["rng"] is not None and getattr(context, "_rng", None) is not None:
        context._rng.setstate(state["rng"])
    if state["generator"] is not None:
        import tensorflow as tf

        tf.random.set_global_generator(tf.random.Generator.from_state(state["generator"], alg="philox"))
    if state["keras"] is not None:
        import keras

        seeds = keras.random.SeedGenerator(seed=0)
        seeds.state.assign(state["keras"])
        from keras.src.backend.common import global_state

        global_state.set_global_attribute("global_seed_generator", seeds)


def _torch_state() -> Any:
    module = sys.modules.get("torch")
    return None if module is None else module.get_rng_state().numpy()


def _set_torch_state(state: Any) -> None:
    import torch  # type: ignore[import-not-found, unused-ignore]

    torch.set_rng_state(torch.from_numpy(state.copy()))


_RANDOM = {
    "process:random": _Random(_python_state, _set_python_state),
    "process:numpy": _Random(_numpy_state, _set_numpy_state),
    "process:tensorflow": _Random(_tensorflow_state, _set_tensorflow_state, "tensorflow"),
    "process:torch": _Random(_torch_state, _set_torch_state, "torch"),
}


def random_digests() -> dict[str, bytes]:
    """Return a digest of the state of every global generator whose library is loaded."""
    found = {}
    for name, source in _RANDOM.items():
        state = source.capture()
        if state is not None:
            found[name] = hashlib.blake2b(pickle.dumps(state, 5), digest_size=20).digest()
    return found
