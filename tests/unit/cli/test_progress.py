"""The board of a run is kept from its events."""

from __future__ import annotations

import io
from typing import Any

import pytest

from nbkube.cli import tables
from nbkube.cli.progress import Board, PlainView, board_table

EVENTS: list[dict[str, Any]] = [
    {"event": "started", "step": "load"},
    {"event": "cell", "step": "load", "cell": 2, "state": "started"},
    {"event": "memory", "step": "load", "bytes": 5 << 20},
    {"event": "memory", "step": "load", "bytes": 3 << 20},
    {"event": "step-ended", "step": "load", "phase": "Succeeded", "seconds": 1.25, "peak_memory": 5 << 20},
    {"event": "step-ended", "step": "svc", "phase": "Cached", "seconds": 0.0, "peak_memory": 0, "cached": True},
    {"event": "started", "step": "tree"},
    {"event": "again", "step": "tree", "reason": "it had used an older cfg"},
    {"event": "started", "step": "tree"},
    {"event": "fused", "step": "tree", "with": ["save"], "reason": "it is a generator"},
    {"event": "step-ended", "step": "tree", "phase": "Failed", "seconds": 61.0, "peak_memory": 0, "cached": False,
     "failure": {"kind": "error", "type": "ValueError", "message": "bad\x1b[2J\nvalue"}},
    {"event": "run-ended", "phase": "Failed", "metrics": {}},
]  # fmt: skip


def board() -> Board:
    return Board.of([("load", (1, 2, 3)), ("svc", (4,)), ("tree", (5, 6)), ("save", (7,))])


def test_plain_lines_say_what_happened(capsys: pytest.CaptureFixture[str]) -> None:
    view = PlainView(board())
    for event in EVENTS:
        view.take(event)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.splitlines() == [
        "load: running",
        "load: succeeded in 1.2 s, peak memory 5 MiB",
        "svc: cached",
        "tree: running",
        "tree: pending, runs again: it had used an older cfg",
        "tree: running",
        "tree: running, one process with save",
        "tree: failed in 1 min 01 s, ValueError: bad value",
    ]


def test_quiet_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    view = PlainView(board(), quiet=True)
    for event in EVENTS:
        view.take(event)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("width", [30, 60, 120])
def test_the_table_fits_its_terminal(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    kept = board()
    for event in EVENTS[:3]:
        kept.take(event)
    stream = io.StringIO()
    tables.console(stream).print(board_table(kept))
    lines = stream.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    if width == 120:
        assert "cell 2 (2 of 3)" in stream.getvalue()
        assert "Pending" in stream.getvalue()


@pytest.mark.parametrize(
    ("value", "text"), [(0.04, "0.0 s"), (9.94, "9.9 s"), (59.4, "59 s"), (61, "1 min 01 s"), (7800, "2 h 10 min")]
)
def test_durations(value: float, text: str) -> None:
    assert tables.seconds(value) == text


def test_sizes_and_numbers() -> None:
    assert [tables.memory(size) for size in (0, 10, 2048, 5 << 20, 3 << 30)] == [
        "",
        "10 B",
        "2 KiB",
        "5 MiB",
        "3.0 GiB",
    ]
    assert [tables.number(one) for one in (0.98765432, 3, True, "a\nb", 1e-9)] == [
        "0.987654",
        "3",
        "True",
        "a b",
        "1e-09",
    ]


def test_signs_fall_back_where_the_encoding_is_poor() -> None:
    poor = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    assert tables.state("Succeeded", poor) == "+ Succeeded"
    assert tables.drawable("├─ x ─▸ y", poor) == "|- x -> y"


def test_warnings_are_shown_and_are_no_step(capsys: pytest.CaptureFixture[str]) -> None:
    shown = board()
    with PlainView(shown) as view:
        view.take({"event": "warning", "message": "data\x1b[2J cannot be read"})
    assert "warning: data" in capsys.readouterr().err
    assert "\x1b" not in capsys.readouterr().err
    assert set(shown.lines) == set(board().lines)


def test_what_a_pod_waits_for_is_said_until_the_step_runs(capsys: pytest.CaptureFixture[str]) -> None:
    view = PlainView(board())
    for event in (
        {"event": "pod", "step": "load", "phase": "Pending", "reason": ""},
        {"event": "pod", "step": "load", "phase": "Pending", "reason": "none of 1 node takes the pod"},
        {"event": "pod", "step": "load", "phase": "Pending", "reason": "none of 1 node takes the pod"},
        {"event": "contact", "lost": True, "reason": "the API server does not answer"},
        {"event": "contact", "lost": False, "reason": ""},
        {"event": "started", "step": "load"},
        {"event": "pod", "step": "load", "phase": "Running", "reason": ""},
        {"event": "uploading", "done": 10, "total": 100},
    ):
        view.take(event)
    assert capsys.readouterr().err.splitlines() == [
        "load: pending, none of 1 node takes the pod",
        "no contact: the API server does not answer",
        "contact again",
        "load: running",
        "project files in the store: 10 of 100",
    ]
