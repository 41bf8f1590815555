"""Which files beyond the project are part of the system, and so no input worth noting."""

from __future__ import annotations

import os
import site
import sys
import sysconfig
from functools import lru_cache

_SYSTEM = (
    "/proc", "/dev", "/sys", "/run", "/etc", "/usr", "/lib", "/lib32", "/lib64", "/bin", "/sbin", "/opt/conda",
    "/var/cache", "/var/lib", "/snap", "/nix", "/System", "/Library", "/Applications",
)  # fmt: skip
_DEVICES = ("/dev/shm",)
_DATA_IN_USR = ("/usr/local/share", "/usr/local/data", "/usr/share/data")


@lru_cache(maxsize=1)
def _installed() -> tuple[str, ...]:
    """Return the folders of the running Python: its library and what is installed, whose versions are noted anyway."""
    found = {sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix, *sysconfig.get_paths().values()}
    found.update(site.getsitepackages())
    found.add(site.getusersitepackages())
    found.discard("/")
    return tuple(sorted({*found, *(os.path.realpath(path) for path in found)} - {"/usr/local", "/"}))


def is_system_path(path: str, *, absent: bool = False) -> bool:
    """Tell whether a file belongs to the system, to Python or to installed distributions.

    Args:
        path: an absolute path.
        absent: the path was looked up and not there; look-ups of settings in the home folder do not count either.
    """
    if _below(path, _DATA_IN_USR) or _below(path, _DEVICES):
        return False
    if _below(path, _SYSTEM) or _below(path, _installed()):
        return True
    if "/site-packages/" in path or "/dist-packages/" in path:
        return True
    return absent and path.startswith(os.path.expanduser("~") + "/.")


def _below(path: str, folders: tuple[str, ...]) -> bool:
    return any(path == folder or path.startswith(folder + "/") for folder in folders)
