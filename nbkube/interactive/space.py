"""Stored values in a kernel that has names of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nbkube.state.load import LoadedStream
from nbkube.state.model import OutputRef
from nbkube.state.namespace import Namespace
from nbkube.storage.model import ObjectStore


class KernelSpace(Namespace):
    """Loads values for a kernel; every object once, so that what was one stays one.

    Args:
        bindings: what a run has put out.
        store: where it lies.
        root: the folder that stands for the project.
        scope: the names that loaded functions see; None for those of this space itself.
        own: definitions of the kernel that stand for equal ones of the run, by their key.
    """

    def __init__(
        self,
        bindings: Mapping[str, OutputRef],
        store: ObjectStore,
        *,
        root: str,
        scope: dict[str, Any] | None,
        own: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(bindings, store, root=root)
        self._scope = scope
        for key, value in (own or {}).items():
            self.adopt(key, value)

    @property
    def globals(self) -> dict[str, Any]:
        """The names that loaded functions see."""
        return self if self._scope is None else self._scope

    def named(self, name: str) -> object:
        """Return the value of a name as a pickle asks for it: the run's, else the kernel's."""
        return self.globals[name] if self.available(name) is None and name not in self.loaded else self[name]

    def _stream_loaded(self, stream: LoadedStream) -> None:
        """Take no note of the state after loading: nothing is published from here."""
