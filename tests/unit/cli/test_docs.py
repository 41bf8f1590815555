"""The reference of the command line names every command and every option, and nothing that is not there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import typer.main

from nbkube.cli.app import app

PAGE = Path(__file__).parents[3] / "docs" / "cli.md"
GROUP: Any = typer.main.get_command(app)


def section(command: str) -> str:
    found = re.search(rf"^## {command}\n(.*?)(?=^## |\Z)", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    assert found is not None, f"docs/cli.md has no section on {command}"
    return found.group(1)


def options(command: Any) -> set[str]:
    """The options of a command, and of all commands below it."""
    own = {name for one in command.params for name in one.opts if name.startswith("-")}
    return own.union(*map(options, getattr(command, "commands", {}).values()))


def test_every_command_has_its_section() -> None:
    sections = set(re.findall(r"^## (\w+)$", PAGE.read_text(encoding="utf-8"), re.MULTILINE))
    assert sections == set(GROUP.commands)


@pytest.mark.parametrize("name", sorted(GROUP.commands))
def test_every_option_is_described(name: str) -> None:
    described = set(re.findall(r"(?<![\w-])(--?[a-z][a-z-]*)", section(name)))
    known = options(GROUP.commands[name])
    assert known <= described
    shown = set(re.findall(r"`(--?[a-z][a-z-]*)[ `]", "\n".join(re.findall(r"^- .*", section(name), re.MULTILINE))))
    assert shown <= known


def test_common_options_are_described() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert all(f"`nbkube {name}`" in text for one in GROUP.params for name in one.opts if name != "--help")
