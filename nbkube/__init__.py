"""Turn a tagged notebook into a pipeline that computes what the notebook computes."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nbkube.datasets import data, tfrecords

__version__ = "0.1.0"
__all__ = ["__version__", "data", "storage", "tfrecords"]

# Public names live in the modules that own them, and are imported when first used: `import nbkube` stays instant.
_HOMES = {
    "data": "nbkube.datasets",
    "load_ipython_extension": "nbkube.magics",
    "tfrecords": "nbkube.datasets",
    "unload_ipython_extension": "nbkube.magics",
}


def __getattr__(name: str) -> object:
    """Import a public name on its first use."""
    if name in ("data", "storage", "tfrecords"):
        import_module("nbkube.kernel_profile").follow_profile()
    if name == "storage":  # the package itself, which can be called
        return import_module("nbkube.storage")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
