"""Of a traceback people see their own code and what was raised."""

from __future__ import annotations

import sys

from IPython.core.ultratb import VerboseTB

from nbkube.cli.tracebacks import shortened

SHELL = """\
---------------------------------------------------------------------------
KeyError                                  Traceback (most recent call last)
File /usr/lib/python3.11/site-packages/pandas/core/indexes/base.py:3805, in Index.get_loc(self, key)
   3804 try:
-> 3805     return self._engine.get_loc(casted_key)
   3806 except KeyError as err:

KeyError: 'nope'

The above exception was the direct cause of the following exception:

KeyError                                  Traceback (most recent call last)
Cell cell 4, line 3
      1 def column(df):
      2     # a comment
----> 3     return df["nope"]
      5 column(df)

File ~/project/tools.py:12, in pick(df)
     11 def pick(df):
---> 12     return df["nope"]

File /usr/lib/python3.11/site-packages/pandas/core/frame.py:4102, in DataFrame.__getitem__(self, key)
-> 4102 indexer = self.columns.get_loc(key)

File /usr/lib/python3.11/site-packages/pandas/core/indexes/base.py:3812, in Index.get_loc(self, key)
-> 3812     raise KeyError(key) from err

KeyError: 'nope'"""


def test_library_frames_are_counted_only() -> None:
    assert shortened(SHELL) == [
        "  … 1 frame in libraries",
        "KeyError: 'nope'",
        "The above exception was the direct cause of the following exception:",
        "  Cell cell 4, line 3",
        '    return df["nope"]',
        "  File ~/project/tools.py:12, in pick(df)",
        '    return df["nope"]',
        "  … 2 frames in libraries",
        "KeyError: 'nope'",
    ]


def test_what_the_shell_prints_today_is_understood() -> None:
    def boom() -> None:
        raise ValueError("first\nsecond")

    try:
        boom()
    except ValueError:
        text = VerboseTB(theme_name="nocolor").text(*sys.exc_info())
    lines = shortened(text)
    assert [line for line in lines if line.endswith('raise ValueError("first\\nsecond")')]
    assert lines[-2:] == ["ValueError: first", "second"]
    assert len(lines) < len(text.splitlines()) / 2


def test_long_messages_are_cut() -> None:
    lines = shortened("ValueError: " + "\n".join(f"line {number}" for number in range(100)))
    assert len(lines) == 13
    assert lines[-1] == "…"


def test_nothing_gives_nothing() -> None:
    assert shortened("") == []
