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
        return name if name != "__main__" and sys.modules.get(name) is value else None
    if isinstance(value, (type, types.FunctionType, types.BuiltinFunctionType)) and importable(value):
        return f"{value.__module__}:{qualified_name(value)}"
    return None


def import_version(value: object) -> str | None:
    """Return the version of an imported thing, or None."""
    name = import_name(value)
    return None if name is None else hashlib.sha256(f"import {name}".encode()).hexdigest()[:40]
