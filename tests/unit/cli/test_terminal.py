"""What user code prints reaches a terminal without being able to do anything there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from nbkube.cli.terminal import one_line, safe

PLAIN = [
    ("hello\tworld\n", "hello\tworld\n"),
    ("\x1b[31mred\x1b[0m", "red"),
    ("\x1b]0;title\x07text", "text"),
    ("\x1b]8;;https://evil.example\x1b\\link\x1b]8;;\x1b\\", "link"),
    ("\x1b]52;c;cm0gLXJm\x07", ""),
    ("\x1b[2J\x1b[1;1Hx", "x"),
    ("\x1b[?1049h\x1b[6nx", "x"),
    ("\x1bPq#0\x1b\\x", "x"),
    ("\x1bc\x1b(0x", "x"),
    ("\x9b31mx", "\\x9b31mx"),
    ("a\x08b\x07", "a\\x08b\\x07"),
    ("user\u202etxt.exe", "user\\u202etxt.exe"),
    ("10%\r50%\r100%\nnext", "100%\nnext"),
    ("done\r\nnext\r\n", "done\nnext\n"),
    ("\x1b", "\\x1b"),
    ("\x1b]0;never closed", "0;never closed"),
    ("naïve → 日本語 🙂", "naïve → 日本語 🙂"),
]


@pytest.mark.parametrize(("text", "shown"), PLAIN)
def test_text_is_harmless(text: str, shown: str) -> None:
    assert safe(text) == shown


def test_colours_stay_where_wanted_and_end_with_their_line() -> None:
    assert safe("\x1b[1;31mred\nnext", colour=True) == "\x1b[1;31mred\x1b[0m\nnext"
    assert safe("\x1b[38;5;241mgrey\x1b[2K", colour=True) == "\x1b[38;5;241mgrey\x1b[0m"


def test_no_control_character_survives() -> None:
    every = "".join(map(chr, range(0x300))) + "\u2028\u2029\u202e\u2066\u200f"
    kept = safe(every.replace("\r", ""))
    assert all(sign.isprintable() or sign in "\t\n\xa0\xad" for sign in kept)


def test_one_line_is_one_line_of_bounded_length() -> None:
    assert one_line("a\n  b\r\n\x1b[31mc") == "a b c"
    assert len(one_line("x" * 1000)) == 200


def test_a_pipe_closed_early_is_no_error() -> None:
    code = "from nbkube.cli.terminal import write\nwhile write('line'): pass\nwrite('more')"
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=dict(os.environ)
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait(timeout=20) == 0


def test_a_poor_locale_is_no_error() -> None:
    code = "from nbkube.cli.terminal import write\nwrite('naïve → \\udc80')"
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=20, env=environment, check=True)
    assert done.stdout == b"na\\xefve \\u2192 \\udc80\n"


def test_a_full_disk_below_the_output_is_an_error_in_one_line(tmp_path: Path) -> None:
    with open("/dev/full", "wb") as full:
        command = [sys.executable, "-m", "nbkube", "runs", "--json"]
        told = subprocess.run(command, cwd=tmp_path, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
        assert (told.stderr, told.returncode) == ("Error: standard output: No space left on device.\n", 2)
        silent = "import sys\nfrom nbkube.cli.terminal import tell, write\nsys.exit(not (not tell('x') and write('y')))"
        assert subprocess.run([sys.executable, "-c", silent], stderr=full, check=False).returncode == 0
