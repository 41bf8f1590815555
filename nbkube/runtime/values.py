"""The worker's seam to stored state: a namespace that loads on first use, the state of the process, what is put out."""

from __future__ import annotations

import contextlib
from typing import Any

from nbkube.errors import StorageError
from nbkube.runtime.program import StepProgram
from nbkube.runtime.seeding import Seeding
from nbkube.state.model import OutputRef
from nbkube.state.namespace import Namespace, load_values
from nbkube.state.process import (
    ENVIRON,
    PATH,
    Start,
    capture_process,
    differs,
    note_replayed,
    random_digests,
    restore_process,
    restore_random,
)
from nbkube.state.publish import Published, publish
from nbkube.storage import ObjectStore, open_store

_HISTORY = ("_", "__", "___", "_i", "_ii", "_iii")


class Values:
    """The namespace of one step process and what becomes of it.

    In the order of calls: `watch`, then the statements of earlier cells that a template process may run for many
    steps, `move` in a process forked from that, `bind`, `prepare`, the statements that are left, `begin`, the cells,
    `publish`.

    Args:
        store: where values lie.
        root: the workspace as the cells see it.
    """

    def __init__(self, store: str, root: str) -> None:
        self.namespace = Namespace({}, reached(store), root=root)
        self._root = root
        self._start = Start.now(root)
        self._seeding = Seeding()
        self._published = Published({})
        self._draws: set[str] = set()

    def watch(self) -> None:
        """Take the state of the process as that from which changes are told."""
        self._start = Start.now(self._root)
        self._seeding.watch()

    def practise(self, folder: str) -> None:
        """Store a value and load it, in a store that nobody else sees."""
        store = open_store(folder)
        space = Namespace({}, store)
        space["practice"] = [0]
        load_values(publish(space).outputs, store)

    def move(self, store: str) -> None:
        """Use the store as this process reaches it."""
        self.namespace.attach({}, reached(store))

    def bind(self, bindings: dict[str, OutputRef]) -> None:
        """Take over what earlier units have put out."""
        self.namespace.attach(bindings, self.namespace.store)

    def objection(self, bindings: dict[str, OutputRef], store: str) -> str:
        """Tell why statements that ran without these bindings would have done something else with them; "" if not."""
        for name in self.namespace.reads:
            if name in bindings:
                return f"statements run beforehand look up `{name}`, which an earlier step has bound"
        settled = {name: bindings[name] for name in (ENVIRON, PATH) if name in bindings}
        stored = {name: ref for name, ref in settled.items() if ref.kind == "blob"}
        state = load_values(stored, open_store(store), stored) if stored else {}
        return differs(state, self._start)

    def before_fork(self) -> Any:
        """Return what `after_fork` is to be given."""
        return self._seeding.before_fork()

    def after_fork(self, state: Any) -> None:
        """Make random numbers independent of those in other processes forked from this one's parent."""
        self._seeding.after_fork(state)

    def prepare(self) -> None:
        """Bring environment and search path to where earlier units left them, before their imports are replayed."""
        restore_process(self.namespace, self._start, replayed=False)

    def begin(self, shell: Any, program: StepProgram) -> None:
        """Take what is there now as given: the cells come next."""
        restore_process(self.namespace, self._start, replayed=True)
        note_replayed(self.namespace, self._start)
        restore_random(self.namespace, self._start, seeded=self._is_seeded(program))
        # What replayed statements did has been done before.
        self._seeding.by.clear()
        self.namespace.settle()
        if program.history:
            recall(self.namespace, shell)

    def rebind(self, bindings: dict[str, OutputRef]) -> None:
        """Let names that this process has neither loaded nor bound come from newer results."""
        self.namespace.rebind(bindings)

    def publish(self, program: StepProgram) -> dict[str, str]:
        """Store what has been bound or changed; return what could not be stored: name -> reason."""
        self._note_draws()
        extra = capture_process(self.namespace, self._start, seeded=self._is_seeded(program))
        self._published = publish(self.namespace, history=program.history, extra=extra)
        return self._published.holes

    def into(self, result: dict[str, Any]) -> None:
        """Add what was read and put out to the fields of a `StepResult`."""
        if self._start.random and not self._published.outputs:
            # Cells that failed have drawn, too.
            self._note_draws()
        result.update(
            outputs=self._published.outputs,
            touched=self._published.touched,
            reads=dict(self.namespace.reads),
            draws=tuple(sorted(self._draws)),
            seeded=self._seeding.seeded,
        )

    def _note_draws(self) -> None:
        before = self._start.random
        drawn = {name for name, digest in random_digests().items() if digest != before.get(name)}
        self._draws |= drawn
        for name in drawn:
            # An earlier unit may turn out to have set the seed.
            self.namespace.reads.setdefault(name, "")

    def _is_seeded(self, program: StepProgram) -> bool:
        return self._seeding.seeded or is_seeded(program, self.namespace)


def is_seeded(program: StepProgram, namespace: Namespace) -> bool:
    """Tell whether random state is part of what a step begins with: a cell up to it has set a seed."""
    known = any(f"process:{name}" in namespace.bindings for name in ("random", "numpy", "tensorflow", "torch"))
    return program.seeded or known


def recall(space: Namespace, shell: Any) -> None:
    """Give the shell the inputs and results of earlier units' cells."""
    history = shell.history_manager
    for name, own in (("Out", history.output_hist), ("In", history.input_hist_parsed)):
        # The cells change these in place.
        space.ambient.pop(name, None)
        if space.available(name) is not None:
            earlier = space.load(name)
            if isinstance(own, dict):
                own.update(earlier)
            else:
                own[: len(earlier)] = earlier
            space[name] = own
    for name in _HISTORY:
        if space.available(name) is not None:
            value = space.load(name)
            if not name.startswith("_i"):
                setattr(shell.displayhook, name, value)


def reached(url: str) -> ObjectStore:
    """Return a store with all that it needs loaded.

    What a client of a bucket imports and reads when it is first used would else count as what the step looks at.
    """
    store = open_store(url)
    if url.startswith("s3://"):
        with contextlib.suppress(StorageError):
            store.has("0" * 64)
    return store
