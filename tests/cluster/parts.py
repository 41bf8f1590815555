"""What is built once and kept: each part is a folder in the cache, named by what it is made from.

A part's key is the hash of its sources and recipe; its stamp `built.json` is written last, so a build that was killed
starts again from nothing (the Go compiler's own cache makes that cheap).
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from tests.cluster import layout
from tests.cluster.layout import BenchError


class Part(msgspec.Struct, frozen=True):
    """A thing to build: `make(folder, log)` fills an empty folder and appends the tools' output to the file `log`."""

    name: str
    minutes: float
    """How long it takes on two cores from nothing; a figure for people who wait."""
    sources: tuple[Path, ...]
    recipe: str
    make: Callable[[Path, Path], None]

    @property
    def key(self) -> str:
        """Return the hash of everything the part is made from."""
        digest = hashlib.sha256(self.recipe.encode())
        for path in self.sources:
            digest.update(f"\0{path.name}\0".encode() + path.read_bytes())
        return digest.hexdigest()[:16]

    @property
    def folder(self) -> Path:
        """Return where the part lies once it is built."""
        return layout.cache_folder() / "parts" / f"{self.name}-{self.key}"

    @property
    def is_built(self) -> bool:
        """Tell whether the part is there, whole."""
        return (self.folder / "built.json").is_file()

    def use(self) -> Path:
        """Return the part's folder, and remember that it is in use."""
        (self.folder / "built.json").touch()
        return self.folder


def build(part: Part, say: Callable[[str], None]) -> float:
    """Build `part` unless it is there, drop old versions of it, and return the seconds it took."""
    if part.is_built:
        say(f"{part.name}: there")
        return 0.0
    with lock(layout.cache_folder() / "build.lock", say):
        return _build(part, say)


def _build(part: Part, say: Callable[[str], None]) -> float:
    if part.is_built:  # by another process, meanwhile
        return 0.0
    started = time.monotonic()
    log = layout.cache_folder() / "logs" / f"{part.name}.log"
    log.parent.mkdir(exist_ok=True)
    log.unlink(missing_ok=True)
    say(f"{part.name}: building (about {part.minutes:g} minutes from nothing; log: {log})")
    _clear(part.folder)
    part.folder.mkdir(parents=True)
    part.make(part.folder, log)
    seconds = time.monotonic() - started
    (part.folder / "built.json").write_bytes(msgspec.json.encode({"recipe": part.recipe, "seconds": seconds}))
    _clear_unused(part)
    say(f"{part.name}: built in {seconds / 60:.1f} minutes")
    return seconds


def run(log: Path, *argv: str | Path, cwd: Path | None = None, env: dict[str, str] | None = None) -> None:
    """Run a tool with its output appended to `log`; raises BenchError with the last lines when it fails."""
    with log.open("ab") as output:
        output.write(f"$ {' '.join(map(str, argv))}\n".encode())
        output.flush()
        done = subprocess.run(
            [str(word) for word in argv],
            cwd=cwd,
            env={**os.environ, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
        )
    if done.returncode:
        last = "\n".join(log.read_text(errors="replace").splitlines()[-10:])
        raise BenchError(f"`{argv[0]}` ended with {done.returncode}; the last lines of {log}:\n{last}")


@contextmanager
def lock(path: Path, say: Callable[[str], None]) -> Iterator[None]:
    """Hold a lock on the file `path`, saying so when another process has it first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"waiting for another process that holds {path}")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _clear_unused(part: Part) -> None:
    """Remove versions of a part that nobody used for a month: other checkouts share the cache and may differ."""
    for stamp in part.folder.parent.glob(f"{part.name}-{'[0-9a-f]' * 16}/built.json"):
        if stamp.stat().st_mtime < time.time() - 30 * 86400:
            _clear(stamp.parent)


def _clear(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)
