"""What is found of runs without reading them all: one SQLite file per store in the user's cache folder.

It is rebuilt from the store whenever it is missing, damaged or of another version. Only runs that have ended are kept
in it. In a folder a row counts as long as the times of the run's folders are those it was made with; in a bucket,
where looking costs a request per run, a row counts until this machine changes the run or shows it.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import msgspec

from nbkube.decoding import msgpack_decoder
from nbkube.runs.model import RunQuery, RunRow
from nbkube.storage.cache import cache_folder
from nbkube.storage.folder import LocalStore
from nbkube.storage.model import ObjectStore

_VERSION = 1
_PIECE = 500
_TABLE = """
CREATE TABLE IF NOT EXISTS runs (
  id TEXT PRIMARY KEY, stamp TEXT NOT NULL, notebook TEXT NOT NULL, experiment TEXT NOT NULL, phase TEXT NOT NULL,
  words TEXT NOT NULL, row BLOB NOT NULL
) WITHOUT ROWID
"""
_ROW = msgpack_decoder(RunRow)

_TICK = 50_000_000
"""Nanoseconds; the times of files are no finer than the ticks of the kernel's clock, a few milliseconds."""

_listed: dict[str, tuple[int, Sequence[str]]] = {}
"""By folder: its time when it was listed, and what was in it."""

Load = Callable[[str], RunRow | None]
"""Reads a run from the store; None where its record cannot be read."""


class RunIndex:
    """The index of one store. Safe to use from many threads and processes: each call opens the file for itself."""

    def __init__(self, store: ObjectStore, folder: Path | None = None) -> None:
        self._store = store
        self._folder = store.path / "runs" if isinstance(store, LocalStore) else None
        name = hashlib.sha256(store.url.encode()).hexdigest()[:24]
        self._file = (folder or cache_folder() / "runs") / f"{name}-{_VERSION}.sqlite"

    def ids(self) -> Sequence[str]:
        """Return the ids of all runs, the oldest first; of a folder that has not changed without listing it again."""
        if self._folder is None:
            return list(self._store.folders("runs/"))
        place = str(self._folder)
        with contextlib.suppress(OSError):
            changed = os.stat(place).st_mtime_ns
            known = _listed.get(place)
            if known is not None and known[0] == changed:
                return known[1]
            began = time.time_ns()
            found = tuple(self._store.folders("runs/"))
            if began - changed > _TICK:  # else it may change once more without that its time does
                _listed[place] = changed, found
            return found
        return ()

    def rows(self, ids: Sequence[str], wanted: RunQuery, load: Load) -> list[RunRow]:
        """Return the newest rows that fit.

        Args:
            ids: all runs of the store, the oldest first.
            wanted: what they must be, and how many.
            load: called for runs that are not in the index, or have changed.
        """
        with self._opened() as index:
            if wanted.is_open:
                return self._newest(index, ids, wanted, load)
            return self._search(index, ids, wanted, load)

    def _newest(self, index: sqlite3.Connection, ids: Sequence[str], wanted: RunQuery, load: Load) -> list[RunRow]:
        left = [one for one in reversed(ids) if not wanted.before or one < wanted.before]
        found: list[RunRow] = []
        while left and len(found) < wanted.limit:  # some may not be readable
            piece, left = left[: wanted.limit - len(found)], left[wanted.limit - len(found) :]
            found += self._current(index, piece, load)
        return found

    def forget(self, run_id: str) -> None:
        """Have a run read anew the next time: it has been changed here."""
        with contextlib.suppress(sqlite3.Error, OSError):
            if self._file.exists():
                with self._opened() as index:
                    index.execute("DELETE FROM runs WHERE id = ?", (run_id,))

    def _search(self, index: sqlite3.Connection, ids: Sequence[str], wanted: RunQuery, load: Load) -> list[RunRow]:
        stale = self._bring_up_to_date(index, ids, load)
        clauses, values = ["id < ?" if wanted.before else "1"], [wanted.before] if wanted.before else []
        for column in ("notebook", "experiment", "phase"):
            if text := getattr(wanted, column):
                clauses.append(f"{column} = ?")
                values.append(text)
        if needle := wanted.text.strip().casefold():
            clauses.append("instr(words, ?) > 0")
            values.append(needle)
        found = index.execute(
            f"SELECT row FROM runs WHERE {' AND '.join(clauses)} ORDER BY id DESC LIMIT ?",
            (*values, wanted.limit),
        )
        rows = [_ROW.decode(row) for (row,) in found] + [row for row in stale if fits(row, wanted)]
        return sorted(rows, key=lambda row: row.id, reverse=True)[: wanted.limit]

    def _bring_up_to_date(self, index: sqlite3.Connection, ids: Sequence[str], load: Load) -> list[RunRow]:
        """Have the index hold all runs that have ended; return the others."""
        known = dict(index.execute("SELECT id, stamp FROM runs"))
        present = set(ids)
        gone = [(one,) for one in known if one not in present]
        index.executemany("DELETE FROM runs WHERE id = ?", gone)
        changed = [one for one in ids if known.get(one) != self._stamp(one)]
        return [row for row in self._loaded(index, changed, load) if not row.phase.ended]

    def _current(self, index: sqlite3.Connection, ids: Sequence[str], load: Load) -> Iterator[RunRow]:
        known: dict[str, tuple[str, bytes]] = {}
        for start in range(0, len(ids), _PIECE):
            piece = ids[start : start + _PIECE]
            marks = ",".join("?" * len(piece))
            found = index.execute(f"SELECT id, stamp, row FROM runs WHERE id IN ({marks})", piece)
            known.update((one, (stamp, row)) for one, stamp, row in found)
        changed = [one for one in ids if one not in known or known[one][0] != self._stamp(one)]
        fresh = {row.id: row for row in self._loaded(index, changed, load)}
        for one in ids:
            if one in fresh:
                yield fresh[one]
            elif one not in changed:
                yield _ROW.decode(known[one][1])

    def _loaded(self, index: sqlite3.Connection, ids: Iterable[str], load: Load) -> list[RunRow]:
        """Read runs from the store; those that have ended are kept in the index."""
        found: list[RunRow] = []
        kept: list[tuple[str, str, str, str, str, str, bytes]] = []
        for one in ids:
            stamp = self._stamp(one)  # before the reading: what changes meanwhile is read again
            row = load(one)
            if row is None:
                continue
            found.append(row)
            if row.phase.ended:
                words = "\n".join(words_of(row)).casefold()
                data = msgspec.msgpack.encode(row)
                kept.append((one, stamp, row.notebook, row.experiment, row.phase.value, words, data))
        with contextlib.suppress(sqlite3.OperationalError):  # a full disk, or somebody else who is long at it
            index.executemany("INSERT OR REPLACE INTO runs VALUES (?, ?, ?, ?, ?, ?, ?)", kept)
        return found

    def _stamp(self, run_id: str) -> str:
        """Return a text that changes when another process begins to tell of a run, or somebody writes a note."""
        if self._folder is None:
            return "-"
        times: list[int] = []
        for place in (self._folder / run_id, self._folder / run_id / "events"):
            try:
                times.append(os.stat(place).st_mtime_ns)
            except OSError:
                times.append(0)
        return " ".join(map(str, times))

    @contextlib.contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        connection = self._connect()
        try:
            yield connection
            with contextlib.suppress(sqlite3.OperationalError):
                connection.commit()
        finally:
            connection.close()

    def _connect(self) -> sqlite3.Connection:
        """Open the file; where it is damaged or cannot be written, begin with an empty index."""
        for _ in range(2):
            try:
                self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                connection = sqlite3.connect(self._file, timeout=20)
                try:
                    connection.execute("PRAGMA synchronous = OFF")
                    connection.execute(_TABLE)
                    connection.execute("SELECT count(*) FROM runs").fetchone()
                    os.chmod(self._file, 0o600)
                    return connection
                except sqlite3.DatabaseError:
                    connection.close()
                    raise
            except sqlite3.OperationalError:
                break
            except sqlite3.DatabaseError:
                with contextlib.suppress(OSError):
                    self._file.unlink()
            except OSError:
                break
        connection = sqlite3.connect(":memory:")
        connection.execute(_TABLE)
        return connection


def fits(row: RunRow, wanted: RunQuery) -> bool:
    """Tell whether a row is what was asked for."""
    if wanted.before and row.id >= wanted.before:
        return False
    if any(text not in ("", getattr(row, name)) for name, text in _exactly(wanted)):
        return False
    needle = wanted.text.strip().casefold()
    return not needle or needle in "\n".join(words_of(row)).casefold()


def _exactly(wanted: RunQuery) -> tuple[tuple[str, str], ...]:
    return ("notebook", wanted.notebook), ("experiment", wanted.experiment), ("phase", wanted.phase)


def words_of(row: RunRow) -> list[str]:
    """Return the texts by which a run is found."""
    pairs = [f"{name}={value}" for name, value in {**row.parameters, **row.metrics}.items()]
    return [row.id, row.name, row.notebook, row.experiment, row.note, row.phase.value, *row.labels, *pairs]
