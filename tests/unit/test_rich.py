"""What `%nbkube` shows in a notebook."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import pytest

from nbkube import rich


def test_what_is_done_before_a_run_begins_is_told_as_it_is_done(capsys: pytest.CaptureFixture[str]) -> None:
    seen: list[str] = []

    def run(words: Sequence[str]) -> None:
        assert words == ["run", "x.ipynb", "--detach"]
        sys.stderr.write("image: made numpy, ")
        sys.stderr.write("18 MB\n")
        seen.append(capsys.readouterr().err)
        sys.stderr.write("The run goes on by itself. See it with: nbkube status --watch x\n")
        raise SystemExit(3)

    with pytest.raises(SystemExit):
        rich.show(["run", "x.ipynb"], run)
    assert seen == ["image: made numpy, 18 MB\n"]
    assert capsys.readouterr().err == ""
