r"""Records made piece by piece: a first object with the record's own key, and numbered parts beside it.

    <name>                       the beginning of the record; its metadata holds `growing:<epoch>`
    <name>\<epoch>.<number>      what was added, one object per flush, create-only

A backslash is in no record's name, so parts are never taken for records and are no folder of others. Only parts of the
epoch that the first object names count, in order and without gaps; all others are left-overs. Every replacement of the
first object begins a new epoch, so that readers see one state or the other, whatever is deleted in which order.

Parts are merged into the first object when there are many (at most about twice the record is written in all), and when
the process ends, so that a finished record is read in one request.
"""

from __future__ import annotations

import atexit
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator

from nbkube.errors import StorageError
from nbkube.storage.s3 import records
from nbkube.storage.s3.connection import Connection
from nbkube.storage.s3.listing import list_keys

FLUSH_SECONDS = 1.0
FLUSH_BYTES = 64 << 10
SEPARATOR = "\\"
_MERGE_PARTS = 64
_MANY_PARTS = 512
_MERGE_BYTES = 64 << 20
_KEPT_BYTES = 16 << 20
_IDLE_SECONDS = 5.0
_HELD_BYTES = 4 << 20
_EXIT_SECONDS = 20.0
_ROUNDS = 100


class _Record:
    """What a writer knows of its record."""

    def __init__(self, key: str) -> None:
        self.key = key
        self.lock = threading.RLock()
        self.pending = bytearray()
        self.waiting = False
        self.since = 0.0
        self.epoch = ""
        self.etag = ""
        self.next = 1
        self.first_bytes = 0
        self.part_bytes = 0
        self.used = 0.0


class _Seen:
    """The pieces of growing records that this process has read or written; parts never change."""

    def __init__(self) -> None:
        self._pieces: OrderedDict[str, bytes] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def get(self, key: str) -> bytes | None:
        with self._lock:
            if key in self._pieces:
                self._pieces.move_to_end(key)
            return self._pieces.get(key)

    def add(self, key: str, data: bytes) -> None:
        with self._lock:
            self._bytes += len(data) - len(self._pieces.pop(key, b""))
            self._pieces[key] = data
            while self._bytes > _KEPT_BYTES:
                self._bytes -= len(self._pieces.popitem(last=False)[1])


class Growing:
    """The growing records of one store in one process; all `S3Store`s of a place share it."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self._records: dict[str, _Record] = {}
        self._lock = threading.Lock()
        self._epochs: dict[tuple[str, str], str] = {}
        self._seen = _Seen()
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None

    # writing

    def append(self, key: str, data: bytes, *, durable: bool) -> None:
        """Add to a record: at once if `durable`, else within about a second."""
        if len(key.rsplit("/", 1)[-1].encode()) > 225:
            raise StorageError(f"{key[-80:]!r} is too long for the name of a record that grows (225 bytes a segment).")
        record = self._record(key)
        with record.lock:
            if not record.waiting:
                record.waiting, record.since = True, time.monotonic()
            record.pending += data
            if durable or len(record.pending) >= FLUSH_BYTES:
                self._send(record)
                return
        self._start_flusher()

    def flush(self, prefix: str = "") -> None:
        """Send what has been held back of all records whose keys begin with `prefix`."""
        for key in [key for key in list(self._records) if key.startswith(prefix)]:
            record = self._records[key]
            with record.lock:
                if record.waiting:
                    self._send(record)

    def forget(self, key: str) -> None:
        """Know nothing of a record any more: it has been written or removed as a whole."""
        record = self._records.get(key)
        if record is not None:
            with record.lock:
                record.pending.clear()
                record.waiting, record.epoch = False, ""

    def remove_parts(self, key: str) -> None:
        """Delete all parts beside a key, of whatever epoch."""
        self._delete([name for name, _, _ in self._listed(key + SEPARATOR)])

    def finish(self) -> None:
        """Send everything and merge the parts of records; what cannot be reached stays as it is."""
        end = time.monotonic() + _EXIT_SECONDS
        for record in list(self._records.values()):
            with record.lock:
                try:
                    if record.waiting:
                        self._send(record)
                    if record.epoch and record.next > 1 and time.monotonic() < end:
                        self._merge(record, last=True)
                except StorageError:
                    continue

    def _record(self, key: str) -> _Record:
        with self._lock:
            return self._records.setdefault(key, _Record(key))

    def _send(self, record: _Record) -> None:
        """Write what is pending; on failure it stays pending (up to a limit) and the error is raised."""
        data = bytes(record.pending)
        try:
            for _ in range(_ROUNDS):
                if self._sent(record, data):
                    break
            else:
                raise StorageError(f"{record.key}: another process adds to this record, too; only one may at a time.")
        except StorageError:
            if len(record.pending) > _HELD_BYTES:
                record.pending.clear()
            record.since = time.monotonic()
            raise
        record.pending.clear()
        record.waiting = False
        record.used = time.monotonic()
        parts = record.next - 1
        big = record.part_bytes >= record.first_bytes or parts >= _MANY_PARTS
        if parts >= _MERGE_PARTS and big and record.first_bytes + record.part_bytes <= _MERGE_BYTES:
            self._merge(record)

    def _sent(self, record: _Record, data: bytes) -> bool:
        """Try to write one piece: as a part if the record is known, else as its beginning; False: look again."""
        if record.epoch and time.monotonic() - record.used > _IDLE_SECONDS:
            now = records.look(self.connection, record.key)
            if now is None or now.etag != record.etag or now.kind != _kind(record.epoch):
                record.epoch = ""
        if not record.epoch:
            return self._begin(record, data)
        part = _part_key(record.key, record.epoch, record.next)
        if records.put(self.connection, part, data, records.ABSENT) is None:
            record.epoch = ""
            return False
        self._seen.add(part, data)
        record.next += 1
        record.part_bytes += len(data)
        return True

    def _begin(self, record: _Record, data: bytes) -> bool:
        """Create the record with a first piece; or take over what is there: then tell whether the piece is in it."""
        epoch = os.urandom(8).hex()
        etag = records.create(self.connection, record.key, data, kind=_kind(epoch))
        if etag is not None:
            self._know(record, epoch, etag, data)
            return True
        found = records.look(self.connection, record.key)
        if found is None or found.kind == records.GONE:
            return False
        if not found.kind:  # a plain record begins to grow
            whole = records.get(self.connection, record.key)
            if whole is None or whole.kind:
                return False
            content = whole.data + data
            etag = records.put(self.connection, record.key, content, records.matching(whole.etag), kind=_kind(epoch))
            if etag is None:
                return False
            self._know(record, epoch, etag, content)
            return True
        epoch = _epoch(found.kind)
        parts = self._parts(self._listed(record.key + SEPARATOR), record.key, epoch)
        record.epoch, record.etag, record.first_bytes = epoch, found.etag, found.size
        record.next = len(parts) + 1
        record.part_bytes = sum(size for _, size in parts)
        record.used = time.monotonic()
        return False

    def _know(self, record: _Record, epoch: str, etag: str, content: bytes) -> None:
        record.epoch, record.etag = epoch, etag
        record.next, record.first_bytes, record.part_bytes = 1, len(content), 0
        self._epochs[record.key, etag] = epoch
        self._seen.add(_part_key(record.key, epoch, 0), content)

    def _merge(self, record: _Record, *, last: bool = False) -> None:
        """Replace first object and parts by one object; by a plain record if nothing more is to come."""
        content = self._assembled(record.key, 0)
        if content is None:
            record.epoch = ""
            return
        old, count = record.epoch, record.next
        epoch = "" if last else os.urandom(8).hex()
        kind = _kind(epoch) if epoch else ""
        etag = records.put(self.connection, record.key, content, records.matching(record.etag), kind=kind)
        if etag is None:
            record.epoch = ""
            return
        self._know(record, epoch, etag, content)
        self._delete([_part_key(record.key, old, number) for number in range(1, count)])

    def _delete(self, keys: list[str]) -> None:
        from minio.deleteobjects import DeleteObject

        if keys:
            bucket = self.connection.bucket
            self.connection.client_call(
                lambda client: list(client.remove_objects(bucket, [DeleteObject(key) for key in keys]))
            )

    # reading

    def read(self, key: str, start: int) -> bytes | None:
        """Return a record, growing or not, from a byte on; None where there is none."""
        record = self._records.get(key)
        if record is not None:
            with record.lock:
                if record.waiting:
                    self._send(record)
        if start or record is not None:
            return self._assembled(key, start)
        found = records.get(self.connection, key)
        if found is None or found.kind == records.GONE:
            return None
        if not found.kind:
            return found.data
        epoch = _epoch(found.kind)
        self._epochs[key, found.etag] = epoch
        self._seen.add(_part_key(key, epoch, 0), found.data)
        return self._assembled(key, start)

    def _assembled(self, key: str, start: int) -> bytes | None:
        """Return a record from a byte on: list it, then fetch the pieces that are not known yet.

        The listing tells the state: first object and parts at one moment. Where a piece has been replaced by the time
        it is fetched, the listing is repeated.
        """
        for _ in range(_ROUNDS):
            listed = self._listed(key)
            if not listed or listed[0][0] != key:
                return None
            _, size, etag = listed[0]
            epoch = self._epoch_of(key, etag, listed[1:])
            if epoch is None:
                continue
            if epoch == records.GONE:
                return None
            pieces = self._pieces(key, epoch, etag, size, self._parts(listed[1:], key, epoch), start)
            if pieces is not None:
                return b"".join(pieces)
        raise StorageError(f"{key} changes faster than it can be read. Try again.")

    def _pieces(
        self, key: str, epoch: str, etag: str, size: int, parts: list[tuple[str, int]], start: int
    ) -> list[bytes] | None:
        found: list[bytes] = []
        fetch: list[tuple[int, str, int]] = []
        offset = 0
        first = _part_key(key, epoch, 0) if epoch else ""
        for name, length in [(first, size), *parts]:
            skip = max(0, start - offset)
            offset += length
            if skip >= length:
                continue
            known = self._seen.get(name) if name else None
            if known is not None and len(known) == length:
                found.append(known[skip:])
            else:
                fetch.append((len(found), name, skip))
                found.append(b"")

        def take(one: tuple[int, str, int]) -> bool:
            place, name, skip = one
            if name == first:
                data = records.get_from(self.connection, key, skip, etag)
            else:
                part = records.get(self.connection, name)
                data = None if part is None else part.data
                if data is not None:
                    self._seen.add(name, data)
                    data = data[skip:]
            found[place] = data or b""
            return data is not None

        return found if all(_in_parallel(take, fetch)) else None

    def _epoch_of(self, key: str, etag: str, listed: list[tuple[str, int, str]]) -> str | None:
        """Return the epoch of a first object ("" for a plain record), or None where it has been replaced.

        What is known is trusted only while all parts beside it are of that epoch: a record that was removed and begun
        again with the same bytes has the same ETag.
        """
        known = self._epochs.get((key, etag))
        if known is not None and all(name.startswith(f"{key}{SEPARATOR}{known}.") for name, _, _ in listed):
            return known
        found = records.look(self.connection, key)
        if found is None or found.etag != etag:
            return None
        epoch = found.kind if found.kind == records.GONE else _epoch(found.kind)
        if epoch and epoch != records.GONE:
            if len(self._epochs) > 10_000:
                self._epochs.clear()
            self._epochs[key, etag] = epoch
        return epoch

    def _listed(self, prefix: str) -> list[tuple[str, int, str]]:
        """List key, size and ETag of a record and its parts (`prefix` a key), or of its parts alone."""
        last = prefix.removesuffix(SEPARATOR) + SEPARATOR + "~"
        found: list[tuple[str, int, str]] = []
        for one in list_keys(self.connection, prefix):
            if one.key > last:
                break
            if one.key == prefix or one.key.startswith(last[:-1]):
                found.append((one.key, one.size, one.etag))
        return found

    def _parts(self, listed: list[tuple[str, int, str]], key: str, epoch: str) -> list[tuple[str, int]]:
        """Return keys and sizes of the parts of an epoch that count: from 1 on without a gap."""
        found: list[tuple[str, int]] = []
        if epoch:
            for name, size, _ in listed:
                if name == _part_key(key, epoch, len(found) + 1):
                    found.append((name, size))
        return found

    # the thread that sends what has waited long enough

    def _start_flusher(self) -> None:
        with self._lock:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._keep_flushing, name="nbkube-s3-append", daemon=True)
                self._thread.start()
        self._wake.set()

    def _keep_flushing(self) -> None:
        while True:
            waiting = [record.since for record in list(self._records.values()) if record.waiting]
            if not waiting:
                self._wake.clear()
                if not any(record.waiting for record in list(self._records.values())):
                    self._wake.wait()
                continue
            pause = min(waiting) + FLUSH_SECONDS - time.monotonic()
            if pause > 0:
                time.sleep(pause)
            for record in list(self._records.values()):
                with record.lock:
                    if record.waiting and time.monotonic() - record.since >= FLUSH_SECONDS:
                        try:
                            self._send(record)
                        except StorageError:
                            continue  # it is tried again; the next durable append of the record tells


def _in_parallel(act: Callable[[tuple[int, str, int]], bool], todo: list[tuple[int, str, int]]) -> Iterator[bool]:
    if len(todo) < 2:
        return map(act, todo)
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(min(16, len(todo)), thread_name_prefix="nbkube-s3") as pool:
        return iter(list(pool.map(act, todo)))


def _kind(epoch: str) -> str:
    return f"growing:{epoch}"


def _epoch(kind: str) -> str:
    return kind.removeprefix("growing:") if kind.startswith("growing:") else ""


def _part_key(key: str, epoch: str, number: int) -> str:
    return f"{key}{SEPARATOR}{epoch}.{number:06}"


_places: dict[tuple[str, str, str], Growing] = {}
_places_lock = threading.Lock()


def growing_at(connection: Connection, prefix: str) -> Growing:
    """Return the growing records of a place, one object for the whole process; it goes on over this connection."""
    with _places_lock:
        place = (connection.server.endpoint, connection.bucket, prefix)
        found = _places.setdefault(place, Growing(connection))
        found.connection = connection
        return found


def finish() -> None:
    """Send what appends hold back, and merge the parts of records, in all stores of this process."""
    for one in list(_places.values()):
        one.finish()


def _after_fork() -> None:
    """A child has nothing pending: what the parent had, the parent sends."""
    global _places_lock
    _places.clear()
    _places_lock = threading.Lock()


atexit.register(finish)
os.register_at_fork(after_in_child=_after_fork)
