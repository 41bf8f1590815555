"""How the command's process begins and ends: with the one command that is called, and at once."""

from __future__ import annotations

import subprocess
import sys

import pytest
import typer
from click import Context, Group
from typer.main import get_command

from nbkube.cli.app import app, app_for

WHOLE = get_command(app)
assert isinstance(WHOLE, Group)
NAMES = sorted(WHOLE.commands)


def help_of(application: typer.Typer, name: str) -> str:
    group = get_command(application)
    assert isinstance(group, Group)
    return group.commands[name].get_help(Context(group.commands[name], info_name=name))


@pytest.mark.parametrize("name", NAMES)
def test_a_command_alone_is_what_it_is_among_all(name: str) -> None:
    alone = app_for([name, "--help"])
    assert help_of(alone, name) == help_of(app, name)
    assert len(alone.registered_commands) + len(alone.registered_groups) == 1


@pytest.mark.parametrize("words", [[], ["--help"], ["nothing"], ["--version", "run"]])
def test_without_the_name_of_a_command_all_are_there(words: list[str]) -> None:
    assert app_for(words) is app


def ended(code: str) -> subprocess.CompletedProcess[str]:
    before = "import sys; sys.argv = ['nbkube', '--version']\n"
    program = f"{before}{code}\nfrom nbkube.cli import main\nmain()"
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)


def test_exit_functions_and_buffered_output_are_not_lost() -> None:
    code = "import atexit; atexit.register(print, 'x' * 200_000, 'bye'); print('first')"
    done = ended(code)
    assert done.returncode == 0
    assert done.stdout.startswith("first\nnbkube ")
    assert done.stdout.endswith("bye\n")


def test_objects_are_not_taken_apart() -> None:
    kept = "import os\nclass Kept:\n    def __del__(self, say=os.write): say(1, b'taken apart')\nkept = Kept()"
    assert "taken apart" not in ended(kept).stdout
    assert "taken apart" in ended(f"{kept}\nsys.setprofile(lambda *_: None)").stdout


def test_threads_that_are_at_work_are_waited_for() -> None:
    late = "import threading, time; threading.Thread(target=lambda: (time.sleep(0.5), print('late'))).start()"
    assert ended(late).stdout.endswith("late\n")


def test_the_exit_code_is_kept() -> None:
    done = subprocess.run([sys.executable, "-m", "nbkube", "nothing"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert "No such command 'nothing'" in done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="NOT RUN: /dev/full is of Linux")
def test_output_that_nobody_can_take_is_told() -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run([sys.executable, "-m", "nbkube", "--version"], stdout=full, stderr=-1, check=False)
    assert done.returncode
    assert done.stderr
