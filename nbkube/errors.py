"""Every exception nbkube raises, and the diagnostics it prints.

    NbkubeError                 exit code 2 unless said
      NotebookError             the file is no notebook, or its tags, options, parameters are wrong
      DataflowError             the notebook cannot become a pipeline as it stands
      StateError                a value cannot be stored or restored
      StorageError              exit code 3: the store cannot be reached or is damaged
        DamagedObjectError      stored bytes do not match their digest
        LocationError           exit code 2: a name, URL or request that no store takes, or settings that lead to none
      ClusterError              exit code 3: the cluster cannot be reached, or does not let us in
        ForbiddenError          the cluster knows us, but we may not do this
      RefusedError              the cluster does not take an object: a wrong field, a policy, a quota
        ConflictError           someone else made or changed it
      ProfileError              a profile is missing or wrong
      BuildError                an image cannot be built as it was asked for
      RegistryError             exit code 3: a registry or package index cannot be reached, or does not let us in
      RunError                  exit code 1: a run or check failed
      NotFoundError             a run, step or artifact that does not exist

A message says the place, what is wrong and what to type next. One exception may carry many
diagnostics: all faults of one notebook are reported together.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, Literal

import msgspec

Severity = Literal["error", "warning", "info"]


class Place(msgspec.Struct, frozen=True):
    """A place in a notebook: `cell` counts all cells from 1, `line` the cell's lines from 1."""

    file: str
    cell: int | None = None
    cell_id: str = ""
    line: int | None = None

    def __str__(self) -> str:
        text = self.file
        if self.cell is not None:
            text += f":cell {self.cell}"
            if self.cell_id:
                text += f" ({self.cell_id})"
        if self.line is not None:
            text += f":line {self.line}" if self.cell is not None else f":{self.line}"
        return text


class Diagnostic(msgspec.Struct, frozen=True):
    """One finding: where, what is wrong, and what to do next (`hint`)."""

    severity: Severity
    code: str
    place: Place
    message: str
    hint: str = ""

    def __str__(self) -> str:
        text = f"{self.place}: {self.message}"
        if self.hint:
            text = f"{text.removesuffix('.')}. Fix: {self.hint}"
        return text


class NbkubeError(Exception):
    """Root of all errors; `diagnostics` holds every fault found, `exit_code` what the command line returns."""

    exit_code: ClassVar[int] = 2

    def __init__(self, message: str = "", diagnostics: Iterable[Diagnostic] = ()) -> None:
        self.diagnostics = tuple(diagnostics)
        super().__init__(message or "\n".join(str(one) for one in self.diagnostics))


class NotebookError(NbkubeError):
    """The file is no notebook, or its tags, options or parameters are wrong."""


class DataflowError(NbkubeError):
    """The notebook cannot become a pipeline as it stands."""


class StateError(NbkubeError):
    """A value cannot be stored or restored."""


class StorageError(NbkubeError):
    """The store cannot be reached, is full, or is damaged."""

    exit_code = 3


class DamagedObjectError(StorageError):
    """Stored bytes do not match their digest; the object has been set aside."""


class LocationError(StorageError):
    """A name, URL or request that no store takes, or settings that lead to no store."""

    exit_code = 2


class ClusterError(NbkubeError):
    """The cluster cannot be reached, or does not let us in."""

    exit_code = 3


class ForbiddenError(ClusterError):
    """The cluster knows us, but we may not do this; the message has the command that would allow it."""


class RefusedError(NbkubeError):
    """The cluster does not take an object: a wrong field, a policy, a quota."""


class ConflictError(RefusedError):
    """An object exists already, or someone else has changed it."""


class ProfileError(NbkubeError):
    """A profile is missing, or its file is wrong."""


class BuildError(NbkubeError):
    """An image cannot be built as it was asked for: its requirements, its base, what is in it."""


class RegistryError(NbkubeError):
    """A registry or package index cannot be reached, is full, or does not let us in."""

    exit_code = 3


class RunError(NbkubeError):
    """A run, step or check failed."""

    exit_code = 1


class NotFoundError(NbkubeError):
    """A run, step or artifact that does not exist."""
