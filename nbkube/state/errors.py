"""Why a value cannot be stored."""

from __future__ import annotations

from nbkube.errors import StateError


class UnstorableError(StateError):
    """An object that lives only in its process; the message fits after the name of the value that holds it."""


class CannotLoadError(UnstorableError):
    """A value that can be pickled but not loaded again."""
