"""Runs in a store.

    runs/<id>/run.json                      the frozen submission, create-only
    runs/<id>/events/<writer>.jsonl         what happened, appended by one process
    runs/<id>/live/<step>/<attempt>.jsonl   what a step showed while it ran

A line cut short by a crash is left out; the lines before it count.
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from nbkube.decoding import from_json, from_plain
from nbkube.errors import NotFoundError, RunError, StorageError
from nbkube.runs.lines import events_folder, events_name, live_folder, live_name, run_name, whole_lines
from nbkube.runs.model import Live, Phase, Run, RunEvent, RunNotes, RunQuery, RunRow, RunState, row_of
from nbkube.runs.process import is_alive, this_process
from nbkube.runs.replay import replay
from nbkube.runs.shown import StepLog
from nbkube.runs.watch import LEAVES, Seen, watch
from nbkube.storage.model import ObjectStore
from nbkube.storage.seal import check_line, seal, unsealed

if TYPE_CHECKING:
    from nbkube.runs.index import RunIndex

_Line = TypeVar("_Line")
_ID = re.compile(r"\d{8}-\d{6}-[a-z0-9]+")
_LETTERS = "0123456789bcdfghjklmnpqrstvwxz"
_LIVE = frozenset({"log", "output", "update", "clear"})
_CASUAL = frozenset({"started", "cell", "memory", "alive"})
"""Events that need not survive a power cut; all others are synced to the disk."""

_GROWTH = 1.05
_last_tick = [0]
_id_lock = threading.Lock()


def new_run_id(now: float | None = None) -> str:
    """Return a new id. Ids sort by time and are lower-case DNS labels: `20261122-141530-0k3f7q2`."""
    seconds = time.time() if now is None else now
    with _id_lock:
        tick = max(int(seconds * 900), _last_tick[0] + 1)  # 900 = two letters of 30 per second
        _last_tick[0] = tick
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime(tick // 900))
    part = _LETTERS[tick % 900 // 30] + _LETTERS[tick % 30]
    return f"{stamp}-{part}{''.join(_LETTERS[byte % 30] for byte in os.urandom(4))}"


class RunStore:
    """All runs of a store: make, record, list, load and remove them."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    @functools.cached_property
    def _index(self) -> RunIndex:
        from nbkube.runs.index import RunIndex

        return RunIndex(self._store)

    def create(self, run: Run) -> Recorder:
        """Write a new run's submission; return the recorder that takes its events.

        Raises:
            RunError: there is a run with this id.
        """
        if not self._store.create(run_name(run.id), seal(msgspec.json.encode(run))):
            raise RunError(f"there is a run {run.id} already. Start another one.")
        return Recorder(self._store, run)

    def begin(self, run: Run) -> bool:
        """Write the submission of a run that a cluster carries out, and that it has started; False if it was there."""
        if not self._store.create(run_name(run.id), seal(msgspec.json.encode(run))):
            return False
        self.append(run.id, RunEvent("run-started", workflow=run.workflow))
        return True

    def recorder(self, run_id: str) -> Recorder:
        """Return a recorder that goes on with a run, for instance one that was interrupted."""
        run = self.run(run_id)
        return Recorder(self._store, run, {step.name: step.attempts for step in self.load(run_id).steps})

    def append(self, run_id: str, event: RunEvent) -> None:
        """Add one event durably, from whatever process."""
        stamped = event if event.time else msgspec.structs.replace(event, time=time.time())
        self._store.append(events_name(run_id, _writer()), _line(stamped), durable=True)
        self._index.forget(run_id)

    def run(self, run_id: str) -> Run:
        """Return a run's submission."""
        data = self._store.read(run_name(run_id))
        if data is None:
            raise NotFoundError(f"there is no run {run_id}. `nbkube runs` lists them.")
        return _decoded(data, run_id)

    def events(self, run_id: str) -> list[RunEvent]:
        """Return a run's events: each writer's in its order, writers merged by time."""
        found: list[tuple[float, int, RunEvent]] = []
        for number, name in enumerate(self._store.list(events_folder(run_id))):
            latest = 0.0
            for event in _lines(self._store.read(name), RunEvent):
                latest = max(latest, event.time)  # a clock set back does not reorder what one process wrote
                found.append((latest, number, event))
        found.sort(key=lambda one: one[:2])
        return [event for _, _, event in found]

    def load(self, run_id: str) -> RunState:
        """Return what is known of a run now."""
        return replay(self.run(run_id), self.events(run_id), is_alive)

    def resolve(self, text: str) -> str:
        """Return the id meant by an id, the unique beginning or end of one, or `last`."""
        if _ID.fullmatch(text) and self._store.read(run_name(text)) is not None:
            return text
        ids = list(self._store.folders("runs/"))
        if text == "last" and ids:
            return ids[-1]
        if text in ids:
            return text
        found = [one for one in ids if text and (one.startswith(text) or one.endswith(text))]
        if len(found) == 1:
            return found[0]
        if found:
            raise NotFoundError(f"{text!r} fits {len(found)} runs: {', '.join(found[-5:])}. Give more of the id.")
        raise NotFoundError(f"there is no run {text!r}. `nbkube runs` lists them.")

    def live(self, run_id: str, step: str, *, attempt: int | None = None) -> list[Live]:
        """Return what a step has shown so far, by default in its newest attempt."""
        names = list(self._store.list(live_folder(run_id, step)))
        if attempt is not None:
            names = [name for name in names if name == live_name(run_id, step, attempt)]
        return _lines(self._store.read(names[-1]), Live) if names else []

    def step_log(self, run_id: str, step: str) -> StepLog:
        """Return what reads on in what a step shows.

        Raises:
            NotFoundError: there is no such run or step.
        """
        return StepLog(self._store, lambda: self.load(run_id), step)

    def watch(self, run_id: str, *, live: bool = True, pause: float | None = None) -> Iterator[Seen]:
        """Yield a run's events and what its steps show (`Live`), from its beginning until it has ended or is lost.

        Waits for what is still to come; `pause` is the time in seconds between two looks at the store.

        Raises:
            NotFoundError: there is no such run.
        """
        return watch(self._store, self.run(run_id), live=live, pause=pause)

    def remove(self, run_id: str) -> None:
        """Remove a run's records; results it made stay in the cache.

        Raises:
            RunError: the run is going on.
        """
        if self.load(run_id).phase in (Phase.RUNNING, Phase.PAUSED):
            raise RunError(f"run {run_id} is going on. Stop it first: nbkube stop {run_id}")
        names = list(self._store.list(f"runs/{run_id}/"))
        for name in sorted(names, key=lambda one: one.endswith("/run.json")):  # last: until then it can be removed
            self._store.remove(name)
        self._index.forget(run_id)

    def rows(self, wanted: RunQuery) -> tuple[list[RunRow], int]:
        """Return the runs that were asked for, the newest first, and the number of all runs."""
        ids = self._index.ids()
        return self._index.rows(ids, wanted, self._row), len(ids)

    def _row(self, run_id: str) -> RunRow | None:
        with contextlib.suppress(NotFoundError, StorageError):  # half removed, or written by another version
            return row_of(self.load(run_id), self.notes(run_id))
        return None

    def notes(self, run_id: str) -> RunNotes:
        """Return what people have written on a run."""
        with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError):
            return from_json(self._store.read(f"runs/{run_id}/notes.json") or b"{}", RunNotes)
        return RunNotes()

    def annotate(self, run_id: str, labels: Sequence[str] | None, note: str | None) -> RunNotes:
        """Write labels or note of a run; None leaves them as they are."""
        self.run(run_id)
        old = self.notes(run_id)
        unique = old.labels if labels is None else tuple(dict.fromkeys(one for one in labels if one))
        new = RunNotes(unique, old.note if note is None else note)
        self._store.write(f"runs/{run_id}/notes.json", msgspec.json.encode(new))
        self._index.forget(run_id)
        return new

    def list(
        self,
        *,
        experiment: str | None = None,
        notebook: str | None = None,
        phase: Phase | None = None,
        limit: int | None = None,
    ) -> list[RunState]:
        """Return runs, the newest first; each filter that is given must hold."""
        found: list[RunState] = []
        for run_id in reversed(list(self._store.folders("runs/"))):
            if limit is not None and len(found) >= limit:
                break
            try:
                run = self.run(run_id)
                if experiment not in (None, run.experiment) or notebook not in (None, run.notebook):
                    continue
                state = self.load(run_id)
            except (NotFoundError, StorageError):  # half removed, or written by another version
                continue
            if phase in (None, state.phase):
                found.append(state)
        return found


class Recorder:
    """Writes down what an engine tells; call it with the engine's events (plain dicts), from any thread.

    It never raises: a run goes on when its diary cannot be written. `fault` holds the first error.
    """

    def __init__(self, store: ObjectStore, run: Run, attempts: Mapping[str, int] | None = None) -> None:
        self.run = run
        self.fault: StorageError | None = None
        self._store = store
        self._attempts = dict(attempts or {})
        self._memory: dict[str, float] = {}
        self._name = events_name(run.id, _writer())
        self._torn: set[str] = set()
        self._lock = threading.Lock()

    def start(self) -> float:
        """Say that this process carries out the run; return when it said so."""
        now = time.time()
        self._write(RunEvent("run-started", time=now, process=this_process()))
        return now

    def __call__(self, event: Mapping[str, Any]) -> None:
        """Take an event of the engine; see `RunEvent` for those that are kept, `Live` for what steps show."""
        kind = event.get("event", "")
        if kind in _LIVE:
            self._show(event)
            return
        step = str(event.get("step", ""))
        if kind == "memory" and not self._grown(step, float(event.get("bytes", 0))):
            return
        with self._lock:
            if kind == "started":
                self._attempts[step] = self._attempts.get(step, 0) + 1
                self._memory.pop(step, None)
            attempt = self._attempts.get(step, 0)
        try:
            known = from_plain({**event, "attempt": attempt}, RunEvent)
        except msgspec.ValidationError as error:
            self._fail(StorageError(f"an event of the engine cannot be kept: {error}"))
            return
        if kind in LEAVES:
            # Who follows the run reads a step's output for the last time when this has been written.
            self._flush(live_name(self.run.id, step, max(1, attempt)))
        self._write(known)

    def _flush(self, name: str) -> None:
        try:
            self._store.flush(name)
        except StorageError as error:
            self._fail(error)

    def _grown(self, step: str, size: float) -> bool:
        with self._lock:
            if size < self._memory.get(step, 0.0) * _GROWTH:
                return False
            self._memory[step] = size
            return True

    def _write(self, event: RunEvent) -> None:
        stamped = event if event.time else msgspec.structs.replace(event, time=time.time())
        self._append(self._name, _line(stamped), durable=event.event not in _CASUAL)

    def _show(self, event: Mapping[str, Any]) -> None:
        step = str(event.get("step", ""))
        name = live_name(self.run.id, step, max(1, self._attempts.get(step, 0)))
        kept = {key: value for key, value in event.items() if key != "step" and value is not None}
        self._append(name, check_line(msgspec.json.encode({"time": time.time(), **kept})), durable=False)

    def _append(self, name: str, line: bytes, *, durable: bool) -> None:
        with self._lock:
            try:
                # After a failure the last line may be torn: end it.
                self._store.append(name, b"\n" + line if name in self._torn else line, durable=durable)
                self._torn.discard(name)
            except StorageError as error:
                self._torn.add(name)
                self._fail(error)

    def _fail(self, error: StorageError) -> None:
        self.fault = self.fault or error


def _writer() -> str:
    return f"{os.getpid()}-{_TOKEN}"


_TOKEN = os.urandom(4).hex()
"""Tells this process from others with its number on other machines."""


def _line(event: RunEvent) -> bytes:
    return check_line(msgspec.json.encode(event))


def _lines(data: bytes | None, kind: type[_Line]) -> list[_Line]:
    """Decode a whole record; its last line counts even where its end is missing."""
    return whole_lines((data or b"") + b"\n", kind)[0]


def _decoded(data: bytes, run_id: str) -> Run:
    plain = unsealed(data)
    if plain is None:
        raise StorageError(f"the record of run {run_id} cannot be read: it is damaged. Remove runs/{run_id} by hand.")
    try:
        return from_json(plain, Run)
    except msgspec.DecodeError as error:
        raise StorageError(f"the record of run {run_id} cannot be read: another version made it ({error}).") from error
