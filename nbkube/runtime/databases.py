"""Which databases the standard library offers (`dbm`, and `shelve` on top of it): that depends on how Python was built.

A notebook's Python and an image's often differ in it, and then `shelve.open` would write other files in a pod, which
the notebook's Python may not even read. A pod's step therefore keeps to what the notebook's Python has.
"""

from __future__ import annotations

import importlib
from functools import cache

KINDS = "NBKUBE_DBM"
"""The environment variable that tells a pod which modules the notebook's Python has, with blanks between them."""


@cache
def database_kinds() -> str:
    """Return the modules behind `dbm` that this Python has, the preferred first, e.g. "dbm.gnu dbm.dumb"."""
    return " ".join(name for name in _names() if _is_there(name))


def keep_to(kinds: str) -> None:
    """Let `dbm` use only these modules, of which every Python has `dbm.dumb`; with "" nothing changes."""
    if kinds:
        # `dbm` looks at its list when the first database is opened, and offers no other way to choose.
        _names()[:] = [name for name in _names() if name in kinds.split()]


def _names() -> list[str]:
    names: list[str] = importlib.import_module("dbm")._names
    return names


def _is_there(name: str) -> bool:
    try:
        importlib.import_module(name)
    except ImportError:
        return False
    return True
