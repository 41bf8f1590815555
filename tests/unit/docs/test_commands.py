"""Every command line in the documents is run in a copy of the examples."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.unit.docs.documents import DOCUMENTS, ROOT, Command, commands

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

WITH_COMMANDS = [path for path in DOCUMENTS if commands(path)]
MAIN = "import sys; from nbkube.cli import main; sys.argv[0] = 'nbkube'; main()"


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what the documents speak about; shared, so that what one document has run is known in the next."""
    tmp_path = tmp_path_factory.mktemp("checkout")
    for name in ("examples", "labextension", "Makefile", "pyproject.toml", "README.md", "docs"):
        source = ROOT / name
        ignored = shutil.ignore_patterns(".nbkube", ".ipynb_checkpoints", "node_modules", ".yarn", "lib")
        if source.is_dir():
            shutil.copytree(source, tmp_path / name, ignore=ignored)
        else:
            shutil.copy(source, tmp_path)
    sources = ["import math", "radius = 2.0", "area = math.pi * radius**2", "print(f'{area:.2f}')"]
    cells: list[dict[str, Any]] = [
        {"cell_type": "code", "id": f"c{n}", "metadata": {}, "source": source, "execution_count": None, "outputs": []}
        for n, source in enumerate(sources)
    ]
    mine = {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    (tmp_path / "examples" / "mine.ipynb").write_text(json.dumps(mine))
    return tmp_path


def run(command: Command, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a command of a document; of make only what it would do."""
    words = shlex.split(command.line, comments=True)
    if words[0] == "make":
        words = ["make", "--dry-run", *words[1:]]
    elif words[0] == "nbkube":
        words = [sys.executable, "-c", MAIN, *words[1:]]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "100", "NO_COLOR": "1"}
    return subprocess.run(words, cwd=folder, env=env, capture_output=True, text=True, timeout=890, check=False)


def assert_shown(command: Command, output: str) -> None:
    """Each line that the document shows must be there, in order; `…` stands for anything, blanks count as one."""
    lines = [" ".join(line.split()) for line in output.splitlines()]
    for shown in command.shown:
        if shown.strip() == "…":
            continue
        pattern = ".*".join(re.escape(part) for part in " ".join(shown.split()).split("…"))
        while lines and not re.fullmatch(pattern, lines[0]):
            lines.pop(0)
        assert lines, f"{command.line!r} does not print {shown!r}:\n{output}"
        lines.pop(0)


@pytest.mark.parametrize("path", WITH_COMMANDS, ids=lambda path: path.name)
def test_the_commands_of_a_document_work(path: Path, copy: Path) -> None:
    folder = copy / "examples" if path.parent.name == "docs" else copy
    for command in commands(path):
        done = run(command, copy if command.line.startswith("make ") else folder)
        assert done.returncode == 0, f"{command.line}\n{done.stdout}\n{done.stderr}"
        assert_shown(command, done.stdout + "\n" + done.stderr)


def test_the_documents_with_commands_are_found() -> None:
    assert {path.name for path in WITH_COMMANDS} >= {"README.md", "CONTRIBUTING.md", "tutorial.md"}
