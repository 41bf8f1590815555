"""Running a script as a normal user where the tests run as root: the way a person without any rights runs nbkube."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

from nbkube.runtime.kernel import bind_mount, private_mounts

NOBODY = 65534
_CHECKOUT = Path(__file__).parents[1]


def run_as_user(script: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a script as a user who is not root, and who owns `folder` and nothing else.

    Where the interpreter lies in a folder that only root may enter, it is shown to the user all the same.
    """
    root = os.geteuid() == 0
    temporary = folder / "temporary"
    temporary.mkdir()
    environment = {**os.environ, "HOME": str(folder), "TMPDIR": str(temporary), "PYTHONPATH": str(_CHECKOUT)}
    for one in [folder, *folder.rglob("*")] if root else ():
        os.chown(one, NOBODY, NOBODY)

    def become_user() -> None:
        _show([Path(sys.base_prefix), Path(sys.prefix), _CHECKOUT, folder])
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)

    return subprocess.run(
        [sys.executable, "-c", script],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=become_user if root else None,
    )


def _show(wanted: list[Path]) -> None:
    """Let others reach folders: closed ones above them become empty open ones in this process's own mount table."""
    if not private_mounts():
        raise OSError("root may not mount here")
    held = {path: os.open(path, os.O_PATH | os.O_DIRECTORY) for path in wanted}
    for path in wanted:
        closed = next((one for one in reversed(path.parents) if not _is_open(one)), None)
        if closed is not None:
            subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", closed], check=True)
            for other in (one for one in wanted if one.is_relative_to(closed)):
                other.mkdir(parents=True, exist_ok=True)
                bind_mount(f"/proc/self/fd/{held[other]}", str(other))


def _is_open(folder: Path) -> bool:
    return bool(os.stat(folder).st_mode & stat.S_IXOTH)
