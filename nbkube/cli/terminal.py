"""What may be written to a person's terminal, and how: results to stdout, everything else to stderr."""

from __future__ import annotations

import os
import re
import sys
from typing import TextIO

_ESCAPES = re.compile(
    r"\x1b\[[0-9;:]*m"  # colours and weights: the only sequence let through
    r"|\x1b\][^\x07\x1b\n]*(?:\x07|\x1b\\)"  # window titles, links, clipboard
    r"|\x1b[P_^X][^\x1b\n]*\x1b\\"  # device control, application and private strings
    r"|\x1b\[[0-?]*[ -/]*[@-~]"  # cursor movement, erasing, modes
    r"|\x1b[ -/]*[0-~]"  # two-character sequences
)
_COLOUR = re.compile(r"\x1b\[[0-9;:]*m")
# Controls (C0 without tab and newline, DEL, C1), line separators, and the characters that reorder text.
_UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\u200e\u200f\u061c]")
RESET = "\x1b[0m"


def safe(text: str, *, colour: bool = False) -> str:
    """Make text of unknown origin harmless for a terminal.

    Only colour sequences stay (and only with `colour`); what moves the cursor, sets titles or the clipboard is
    dropped, other control characters are shown as escapes. Of a line that was overwritten by carriage returns
    (progress bars) the last state is kept.
    """
    return "\n".join(_safe_line(line, colour) for line in text.split("\n"))


def _safe_line(line: str, colour: bool) -> str:
    if "\r" in line:
        line = next((part for part in reversed(line.split("\r")) if part.strip()), "")
    if line.isprintable():
        return line
    pieces: list[str] = []
    coloured = False
    position = 0
    for match in _ESCAPES.finditer(line):
        pieces.append(_UNSAFE.sub(_shown, line[position : match.start()]))
        if colour and _COLOUR.fullmatch(match.group()):
            pieces.append(match.group())
            coloured = True
        position = match.end()
    pieces.append(_UNSAFE.sub(_shown, line[position:]))
    return "".join(pieces) + (RESET if coloured else "")


def _shown(match: re.Match[str]) -> str:
    code = ord(match.group())
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def one_line(text: str, limit: int = 200) -> str:
    """Return text of unknown origin on one line of at most `limit` characters, harmless for a terminal."""
    flat = safe(" ".join(text.split()))
    return flat if len(flat) <= limit else flat[: limit - 1] + "…"


def is_terminal(stream: TextIO) -> bool:
    """Tell whether a person is likely to see what is written there, on a terminal that can redraw."""
    try:
        return stream.isatty() and os.environ.get("TERM", "") != "dumb"
    except ValueError:  # the stream is closed
        return False


def wants_colour(stream: TextIO) -> bool:
    """Tell whether colours may be used on a stream (NO_COLOR is honoured, https://no-color.org)."""
    return is_terminal(stream) and not os.environ.get("NO_COLOR")


def write(text: str = "", *, end: str = "\n") -> bool:
    """Write a result to stdout; False once nobody reads any more (a pipe closed early, as by `head`).

    Raises:
        OSError: what stdout was sent to does not take it (a full disk); nothing more is written then.
    """
    return _write(sys.stdout, text + end)


def tell(text: str = "", *, end: str = "\n") -> bool:
    """Write progress or a message to stderr; False where nobody reads it or nothing takes it."""
    return _write(sys.stderr, text + end)


def _write(stream: TextIO, text: str) -> bool:
    encoding = getattr(stream, "encoding", None) or "utf-8"
    # A lone surrogate (an undecodable file name) or a poor locale must not end the command.
    printable = text.encode(encoding, "backslashreplace").decode(encoding)
    try:
        stream.write(printable)
        stream.flush()
    except OSError as error:
        _silence(stream)
        if isinstance(error, BrokenPipeError) or stream is sys.stderr:
            return False
        raise OSError(error.errno, error.strerror, "standard output") from None
    return True


def _silence(stream: TextIO) -> None:
    """Point a stream that takes nothing more at nothing, so that neither later writes nor the exit complain."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
