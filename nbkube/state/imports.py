"""Values that are imported things: they are stored by name and have a version of their own."""

from __future__ import annotations

import hashlib
import sys
import types

from nbkube.state.definitions import importable, qualified_name


def import_name(value: object) -> str | None:
    """Return `module` or `module:name` for modules and for functions and classes found in a module; else None."""
    if isinstance(value, types.ModuleType):
        name = value.__name__
        # Libraries also bind stand-ins that load a module on first use; they are told by their class.
        known = sys.modules.get(name) is value or (type(value) is not types.ModuleType and name in sys.modules)
        return name if name != "__main__" and known else None
    if isinstance(value, (type, types.FunctionType, types.BuiltinFunctionType)) and importable(value):
        return f"{value.__module__}:{qualified_name(value)}"
    return None


def import_version(value: object) -> str | None:
    """Return the version of an imported thing, or None."""
    name = import_name(value)
    return None if name is None else hashlib.sha256(f"import {name}".encode()).hexdigest()[:40]
