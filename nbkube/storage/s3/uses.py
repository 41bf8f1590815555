"""Removing what nobody has used for a while, from a bucket that others are using at the same time.

An object counts as used when it was written, and when its *mark* was: a small object below `uses/` that whoever finds
an old object writes before relying on it. No server has a condition for DELETE that would see such a mark, so whoever
removes claims the mark first. All changes of a mark are conditional writes: of a user and a collector who come at the
same moment one wins. A claim that its maker left behind counts for nothing after three minutes by the server's clock;
a collector that was held up for longer than twenty seconds after its claim does not remove any more.
"""

from __future__ import annotations

import os
import time

from nbkube.storage.s3 import records
from nbkube.storage.s3.connection import Answer, Connection

FRESH_SECONDS = 3600.0
"""What has been used so lately is not marked as used again."""

PLACE = "uses/"
_CLAIMED = "claimed"
_STALE_SECONDS = 180.0
_REMOVE_SECONDS = 20.0
_PAUSE = 0.05


class Uses:
    """The marks of one store; keys are given whole, as in the bucket."""

    def __init__(self, connection: Connection, prefix: str) -> None:
        self._connection = connection
        self._prefix = prefix

    def renew(self, key: str, found: Answer | None = None) -> bool:
        """Count an object as used now; False if it is not there. `found` is what a HEAD has just said of it."""
        found = found or records.head(self._connection, key)
        if found is None or _is_gone(found):
            return False
        if records.age(found) < FRESH_SECONDS:
            return True
        while True:
            mark = records.head(self._connection, self._mark(key))
            if mark is None:
                condition = records.ABSENT
            elif not _is_claimed(mark):
                if records.age(mark) < FRESH_SECONDS:
                    return True
                condition = records.matching(mark.etag)
            elif records.age(mark) < _STALE_SECONDS:
                time.sleep(_PAUSE)  # it is being removed, or was just kept
                continue
            else:
                condition = records.matching(mark.etag)
            if records.put(self._connection, self._mark(key), os.urandom(16), condition) is not None:
                now = records.head(self._connection, key)  # it may have been removed before
                return now is not None and not _is_gone(now)

    def discard(self, key: str, unused: float, *, dry_run: bool) -> int | None:
        """Remove an object not used for so many seconds; return its bytes (None: kept, or not there)."""
        found = records.head(self._connection, key)
        mark = records.head(self._connection, self._mark(key)) if self._is_old(found, unused) else None
        if found is None or not self._is_old(found, unused) or (mark is not None and not _may_claim(mark, unused)):
            return None
        if not dry_run:
            condition = records.ABSENT if mark is None else records.matching(mark.etag)
            claimed = time.monotonic()
            claim = records.put(self._connection, self._mark(key), os.urandom(16), condition, kind=_CLAIMED)
            if claim is None:
                return None
            found = records.head(self._connection, key)  # what was removed and made anew meanwhile stays
            old = found is not None and self._is_old(found, unused)
            if old and time.monotonic() - claimed < _REMOVE_SECONDS:
                records.delete(self._connection, key)
            else:
                found = None
            records.delete(self._connection, self._mark(key), claim)
        return None if found is None else int(found.headers["content-length"])

    def _is_old(self, found: Answer | None, unused: float) -> bool:
        return found is not None and not _is_gone(found) and records.age(found) >= unused

    def _mark(self, key: str) -> str:
        return f"{self._prefix}{PLACE}{key[len(self._prefix) :]}"


def _is_gone(found: Answer) -> bool:
    return found.headers.get(records.KIND) == records.GONE


def _is_claimed(mark: Answer) -> bool:
    return mark.headers.get(records.KIND) == _CLAIMED


def _may_claim(mark: Answer, unused: float) -> bool:
    return records.age(mark) >= (_STALE_SECONDS if _is_claimed(mark) else unused)


__all__ = ["Uses"]
