"""Lines of a log that is read again from a whole second on come once."""

from __future__ import annotations

from nbkube.cluster.logs import Seen, _parsed
from nbkube.cluster.model import LogLine


def read(seen: Seen, lines: list[LogLine]) -> list[bytes]:
    seen.resumed()
    return [one.text for one in lines if seen.is_new(one)]


def test_a_cut_between_lines_of_the_same_moment() -> None:
    lines = [
        LogLine("2026-11-27T13:00:00.1Z", b"a"),
        LogLine("2026-11-27T13:00:00.2Z", b"b"),
        LogLine("2026-11-27T13:00:00.2Z", b"c"),
        LogLine("2026-11-27T13:00:00.2Z", b"d"),
        LogLine("2026-11-27T13:00:01Z", b"e"),
    ]
    for cut in range(len(lines) + 1):
        seen = Seen()
        assert read(seen, lines[:cut]) + read(seen, lines) == [b"a", b"b", b"c", b"d", b"e"]


def test_fractions_are_compared_as_numbers() -> None:
    seen = Seen()
    assert read(seen, [LogLine("2026-11-27T13:00:00.9Z", b"a"), LogLine("2026-11-27T13:00:00.95Z", b"b")]) == [
        b"a",
        b"b",
    ]
    assert read(seen, [LogLine("2026-11-27T13:00:00.912345678Z", b"old")]) == []


def test_since_leaves_out_the_known_line() -> None:
    seen = Seen("2026-11-27T13:00:00.2Z")
    lines = [LogLine("2026-11-27T13:00:00.2Z", b"known"), LogLine("2026-11-27T13:00:00.3Z", b"new")]
    assert read(seen, lines) == [b"new"]


def test_a_line_is_bytes_after_its_time() -> None:
    assert _parsed(b"2026-11-27T13:00:00.2Z \xff  x ") == LogLine("2026-11-27T13:00:00.2Z", b"\xff  x ")
    assert _parsed(b"2026-11-27T13:00:00.2Z ") == LogLine("2026-11-27T13:00:00.2Z", b"")
