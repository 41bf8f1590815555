"""Following a run from the store: what has happened so far, then what happens, until it has ended or is lost.

Everybody who shows a run does it this way, the command that started it as well. Nothing is asked of the process that
carries the run out, so following costs it nothing and cannot disturb it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TypeVar

import msgspec

from nbkube.runs.lines import events_folder, live_name, whole_lines
from nbkube.runs.model import Live, Phase, Run, RunEvent
from nbkube.runs.process import is_alive
from nbkube.runs.replay import Story
from nbkube.storage.model import ObjectStore

Seen = RunEvent | Live
_Line = TypeVar("_Line")
_Timed = TypeVar("_Timed", RunEvent, Live)

_NEAR = 0.02
"""Seconds between two looks at a store on this machine."""

_FAR = 1.0
_CHECK = 0.5
"""Seconds between two looks at whether the run's process still lives."""

LEAVES = frozenset({"step-ended", "again", "retry"})
"""The events after which an attempt shows nothing more."""


def watch(store: ObjectStore, run: Run, *, live: bool = True, pause: float | None = None) -> Iterator[Seen]:
    """Yield a run's events, and what its steps show, in the order in which they were written.

    Args:
        store: where the run is recorded.
        run: its submission.
        live: also yield what the steps show, as `Live` with `step` set.
        pause: seconds between two looks; by default 0.02 for a store on this machine, else 1.
    """
    follower = _Follower(store, run, live)
    wait = pause or (_NEAR if store.url.startswith("file:") else _FAR)
    check_at = 0.0
    while True:
        yield from follower.news()
        if follower.story.ended:
            return
        # Pods may wait for long without a word: a cluster's run is followed until somebody tells its end.
        if run.engine == "local" and time.monotonic() >= check_at:
            check_at = time.monotonic() + _CHECK
            if follower.lost():
                yield from follower.news()  # its last words
                if follower.lost():
                    return
        time.sleep(wait)


class _Follower:
    """One reader's place in a run's records."""

    def __init__(self, store: ObjectStore, run: Run, live: bool) -> None:
        self.story = Story(run)
        self._store = store
        self._run = run
        self._live = live
        self._read: dict[str, int] = {}
        self._showing: dict[str, int] = {}  # step -> attempt whose output may grow

    def lost(self) -> bool:
        return self.story.state(is_alive, time.time()).phase is Phase.UNKNOWN

    def news(self) -> list[Seen]:
        """Return what has been written since the last call, by time; what one writer wrote stays in its order."""
        told: list[tuple[float, int, RunEvent]] = []
        for number, name in enumerate(self._store.list(events_folder(self._run.id))):
            told += [(when, number, event) for when, event in _in_order(self._new_lines(name, RunEvent))]
        told.sort(key=lambda one: one[:2])
        outputs: list[tuple[str, int]] = []
        for _, _, event in told:
            self.story.take(event)
            outputs += self._outputs(event)
        if not self._live:
            return [event for _, _, event in told]
        shown: list[tuple[float, int, Live]] = []
        for step, attempt in dict.fromkeys([*outputs, *self._showing.items()]):
            pieces = self._new_lines(live_name(self._run.id, step, attempt), Live)
            shown += [(when, -1, msgspec.structs.replace(piece, step=step)) for when, piece in _in_order(pieces)]
        both: list[tuple[float, int, Seen]] = [*told, *shown]
        both.sort(key=lambda one: one[:2])
        return [one for _, _, one in both]

    def _outputs(self, event: RunEvent) -> list[tuple[str, int]]:
        """Return the attempt whose output is to be read for the last time after an event."""
        left = self._showing.get(event.step)
        if event.event == "started":
            self._showing[event.step] = max(1, event.attempt)
        elif event.event in LEAVES:
            self._showing.pop(event.step, None)
        else:
            return []
        return [] if left is None else [(event.step, left)]

    def _new_lines(self, name: str, kind: type[_Line]) -> list[_Line]:
        start = self._read.get(name, 0)
        lines, size = whole_lines(self._store.read(name, start) or b"", kind)
        self._read[name] = start + size
        return lines


def _in_order(lines: list[_Timed]) -> Iterator[tuple[float, _Timed]]:
    """Yield each line with its time, or that of the newest before it: a clock set back does not reorder a writer."""
    latest = 0.0
    for line in lines:
        latest = max(latest, line.time)
        yield latest, line
