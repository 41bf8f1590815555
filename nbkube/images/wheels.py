"""Wheels as the files of a layer: installed by uv, made independent of how and where, compiled for the pods' Python."""

from __future__ import annotations

import csv
import io
import os
import re
import subprocess
import sys
from pathlib import Path

from nbkube.images.lock import target_options
from nbkube.images.model import SITE, Base, Wheel
from nbkube.images.uv import Uv

PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
VERSION = f"{PYTHON}.{sys.version_info.micro} {sys.implementation.cache_tag}"
_MUCH = 1 << 20
"""Bytes of Python sources beyond which a distribution's modules are compiled."""

_LEFT_OUT = frozenset({"REQUESTED", "INSTALLER", "direct_url.json", "uv_cache.json", "uv_build.json"})
_COMPILE = """
import compileall, re, sys, py_compile
tree, place = sys.argv[1:]
compileall.compile_dir(tree, ddir=place, quiet=2, force=True, legacy=False, rx=re.compile(r"/tests/"),
                       invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
"""


def install(wheel: Wheel, tree: Path, base: Base, uv: Uv) -> None:
    """Put a wheel's files into an empty folder; from uv's cache if it is there, else from the index.

    Raises:
        BuildError: the index cannot give it.
    """
    pin = f"{wheel.name}=={wheel.version} --hash=sha256:{wheel.sha256}\n"
    options = ["--target", str(tree), "--no-deps", "--require-hashes", "--no-compile-bytecode", *target_options(base)]
    uv.install(options, pin)


def files(tree: Path, *, compiled: bool = False) -> tuple[dict[str, bytes | Path], set[str]]:
    """Return path in the image -> content for everything in an installed tree, and which of it is executable.

    What tells how it was installed is left out, programs are started by the image's own Python. Modules are compiled
    where there is much to compile, or if asked for: those of a small distribution are compiled by each step that
    imports it, in less time than it takes to send them (lightgbm: 0.07 s, 190 kB).
    """
    if compiled or sum(path.stat().st_size for path in tree.rglob("*.py")) > _MUCH:
        compile_modules(tree, SITE)
    found: dict[str, bytes | Path] = {}
    programs: set[str] = set()
    root = str(tree)
    for folder, names, leaves in os.walk(root):
        names.sort()
        inside = folder[len(root) + 1 :].replace(os.sep, "/")
        information = inside.endswith(".dist-info")
        for leaf in leaves:
            if (information and leaf in _LEFT_OUT) or (not inside and leaf == ".lock"):
                continue
            path = Path(folder, leaf)
            name = f"{inside}/{leaf}" if inside else leaf
            target = f"{SITE[1:]}/{name}"
            if information and leaf == "RECORD":
                found[target] = record(path.read_text("utf-8", "replace"))
            elif inside == "bin":
                found[target] = _script(path.read_bytes())
                programs.add(target)
            else:
                found[target] = path
                if path.stat().st_mode & 0o100:
                    programs.add(target)
    return found, programs


def record(text: str) -> bytes:
    """Return a RECORD that does not depend on how the wheel was installed: sorted, without what is left out."""
    rows = []
    for row in csv.reader(io.StringIO(text)):
        if not row:
            continue
        folder, _, leaf = row[0].rpartition("/")
        if (folder.endswith(".dist-info") and leaf in _LEFT_OUT) or leaf.endswith(".pyc"):
            continue
        # Programs have been given another first line.
        rows.append([row[0], "", ""] if folder in ("bin", "../bin", "../../bin") else row[:3])
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(sorted(rows))
    return out.getvalue().encode()


def compile_modules(tree: Path, place: str) -> None:
    """Compile modules for this Python's minor version: a step's user cannot keep what its Python compiles.

    The same sources give the same bytes: no times, no names of this machine, hashes seeded, nothing imported besides.
    Test folders stay as they are, and so does what this version cannot read.
    """
    environment = {"PYTHONHASHSEED": "0", "PATH": os.environ.get("PATH", ""), "LANG": "C.UTF-8"}
    argv = [sys.executable, "-s", "-S", "-W", "ignore", "-c", _COMPILE, str(tree), place]
    subprocess.run(argv, env=environment, cwd=os.sep, capture_output=True, check=False)


def _script(content: bytes) -> bytes:
    first, newline, rest = content.partition(b"\n")
    if first.startswith(b"#!") and re.search(rb"python[\d.]*\s*$", first):
        return b"#!/usr/bin/env python3" + newline + rest
    if content.startswith(b"#!/bin/sh\n'''exec'"):  # where the path of the interpreter was too long
        return b"#!/usr/bin/env python3\n" + content.split(b"\n", 3)[3]
    return content
