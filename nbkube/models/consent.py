"""Whose code may run: models that run what their files say are served only after a person has agreed to their digest.

The digests agreed to are lines of a file of this user, outside project and store: whoever can write to those cannot
agree in the user's place. What this user's own runs register needs no question: its code has run as theirs already.
"""

from __future__ import annotations

import os
from pathlib import Path

from nbkube.errors import NbkubeError


class ConsentError(NbkubeError):
    """A model would run code, and nobody has agreed to that."""


def _file() -> Path:
    state = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    return Path(state, "nbkube", "trusted-models")


def is_trusted(digest: str) -> bool:
    """Tell whether this user has agreed to a model."""
    try:
        return digest in _file().read_text(encoding="ascii").split()
    except (FileNotFoundError, UnicodeDecodeError):
        return False


def trust(digest: str) -> None:
    """Write down that this user agrees to a model."""
    if is_trusted(digest):
        return
    path = _file()
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.write(handle, f"{digest}\n".encode("ascii"))
    finally:
        os.close(handle)


def require(what: str, digest: str, given: str = "", command: str = "") -> None:
    """Let a model pass that this user has agreed to, now (`given`) or before.

    Raises:
        ConsentError: nobody has; the message shows the digest and what to type.
    """
    if given:
        if given != digest:
            raise ConsentError(f"{what} has the digest {digest}, not {given[:64]}. Fix: look at what you are given.")
        trust(digest)
    elif not is_trusted(digest):
        raise ConsentError(
            f"{what} runs code when it is loaded, and nobody here has agreed to it. Its digest is {digest}. "
            f"Fix: if you trust where it comes from, add {command or '--trust'} {digest}"
        )
