"""uv, which resolves, knows the indexes and their keys, and installs; its refusals in one sentence each."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from nbkube.errors import BuildError, RegistryError

_USER = re.compile(r"(://)[^/\s@]+@")
_SECONDS = 1800
_QUOTED = r"[`']?([A-Za-z0-9][A-Za-z0-9._-]*)[`']?"


class Uv:
    """The program uv of this environment.

    Raises:
        BuildError: it is not installed.
    """

    def __init__(self) -> None:
        beside = Path(sys.executable).parent / "uv"
        found = str(beside) if beside.is_file() else shutil.which("uv")
        if not found:
            raise BuildError("images are built with uv, which is not installed. Fix: pip install 'nbkube[images]'.")
        self._program = found

    def compile(self, options: list[str], requirements: str, folder: Path, *, near: bool = False) -> str:
        """Resolve requirements and return the lock as the text of a pylock.toml.

        Args:
            options: of `uv pip compile`.
            requirements: PEP 508, one a line.
            folder: where the options' files lie, and the lock is written.
            near: the index is asked only for what uv's cache does not have.

        Raises:
            BuildError: they cannot be met.
            RegistryError: the package index cannot be reached.
        """
        argv = ["pip", "compile", "-", "--quiet", "--no-header", "--format", "pylock.toml", *options]
        argv += ["-o", "pylock.toml"]
        if near:
            self._run_near(argv, requirements, folder)
        else:
            self._run(argv, requirements, folder)
        return (folder / "pylock.toml").read_text("utf-8")

    def export(self, project: Path) -> str:
        """Return the pins of a project's uv.lock as the lines of a requirements file. Raises what `compile` does."""
        argv = ["export", "--quiet", "--frozen", "--no-dev", "--no-emit-project", "--no-header", "--no-annotate"]
        return self._run([*argv, "--no-hashes", "--project", str(project)], "", project)

    def install(self, options: list[str], pins: str) -> None:
        """Install pinned wheels, from the cache where they are there. Raises what `compile` does."""
        argv = ["pip", "install", "--quiet", "--only-binary", ":all:", *options, "-r", "-"]
        self._run_near(argv, pins, Path(os.sep))

    def _run_near(self, argv: list[str], given: str, folder: Path) -> None:
        """Run uv on its cache alone, and with the index only where that does not do."""
        if self._start([*argv, "--offline"], given, folder).returncode:
            self._run(argv, given, folder)

    def _start(self, argv: list[str], given: str, folder: Path) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "UV_NO_PROGRESS": "1", "NO_COLOR": "1", "UV_PYTHON_DOWNLOADS": "never"}
        try:
            return subprocess.run(
                [self._program, *argv, "--python", sys.executable] if argv[0] == "pip" else [self._program, *argv],
                input=given, env=environment, cwd=folder, capture_output=True, text=True, timeout=_SECONDS, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise RegistryError(
                f"the package index has not given the wheels within {_SECONDS // 60} minutes. Fix: try again."
            ) from None

    def _run(self, argv: list[str], given: str, folder: Path) -> str:
        done = self._start(argv, given, folder)
        if done.returncode:
            raise refusal(done.stderr)
        return done.stdout


def refusal(said: str) -> BuildError | RegistryError:
    """Return what uv said as one sentence with a way out; no user names or passwords of an index are in it."""
    text = _USER.sub(r"\1", said)
    flat = " ".join(text.split())
    wanted = _first(text, rf"you require {_QUOTED}") or _first(text, rf"[Bb]ecause {_QUOTED}") or "a package"
    if status := re.search(r"\b(401|403)\b|[Uu]nauthorized|[Ff]orbidden", flat):
        return RegistryError(
            f"the package index does not let us in ({status[0]}). "
            "Fix: give its user and password by UV_INDEX_… variables, keyring or ~/.netrc."
        )
    if "No space left" in flat:
        return RegistryError("the disk with uv's cache is full. Fix: uv cache prune, or set UV_CACHE_DIR elsewhere.")
    if re.search(r"hash mismatch|Hash mismatch", flat):
        return BuildError(
            f"{_first(text, rf'for {_QUOTED}') or 'a wheel'} on the index is not the one that was locked. "
            "Fix: lock again: nbkube build --refresh."
        )
    if re.search(r"error sending request|dns error|[Cc]onnection refused|timed out|network connectivity", flat):
        host = _first(text, r"https?://([^/\s`)]+)") or "the package index"
        return RegistryError(f"{host} cannot be reached. Fix: check the network, or name a mirror by UV_DEFAULT_INDEX.")
    if gone := _first(text, rf"{_QUOTED} was not found in the (?:package registry|provided)"):
        return BuildError(
            f"{gone} is not on the package index. Fix: correct its name, or put its wheel into a folder named by "
            "UV_FIND_LINKS; what only conda has belongs into the base image (profile: base)."
        )
    if "building from source is disabled" in flat or "no usable wheels" in flat:
        name = _first(text, r"Wheels are required for `([^`]+)`") or wanted
        return BuildError(
            f"{name} has no wheel for the pods' Python and platform, only sources or nothing. Fix: build one "
            f"(pip wheel --no-deps {name} -w wheels) and set UV_FIND_LINKS=wheels, or choose another version."
        )
    if re.search(r"platform tag|Python (?:ABI|implementation) tag", flat):
        name = _first(text, r"wheels (?:are available )?for `([^`]+)`") or wanted
        there = _first(flat, r"following (?:platforms?|Python \w+ tags?): ((?:`[^`]+`(?:, )?)+)") or "others"
        return BuildError(
            f"{name} has wheels for {there.replace('`', '').rstrip(', ')} only, none for the pods. "
            "Fix: choose another version, another base image, or the right architecture in the profile."
        )
    if missing := _first(text, r"no version of (\S+)"):
        return BuildError(
            f"the package index has no {missing}. Fix: choose another version; one that only you have goes as a wheel "
            "into a folder named by UV_FIND_LINKS."
        )
    cause = flat.partition("cause: ")[2] or flat
    return BuildError(
        f"the requirements cannot be met together: {cause[:400].rstrip('.')}. Fix: change one of the versions."
    )


def _first(text: str, pattern: str) -> str:
    found = re.search(pattern, text)
    return found[1] if found else ""
