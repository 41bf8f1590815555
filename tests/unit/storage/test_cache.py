"""The folder that holds blobs of far stores."""

from __future__ import annotations

import os
import time
from pathlib import Path

from nbkube.storage.cache import BlobCache


def age(cache: BlobCache, digest: str, seconds: float) -> None:
    then = time.time() - seconds
    os.utime(cache.folder / "used" / digest, (then, then))


def test_what_was_used_longest_ago_goes_first(tmp_path: Path) -> None:
    cache = BlobCache(tmp_path, 10_000)
    found = [cache.add([bytes([number]) * 4000])[0] for number in range(2)]
    for number, digest in enumerate(found):
        age(cache, digest, 5000 - number)
    assert cache.find(found[0]) is not None  # used now
    third, path = BlobCache(tmp_path, 10_000).add([b"x" * 4000])
    assert cache.find(found[1]) is None
    assert cache.find(found[0]) is not None
    assert cache.find(third) == path


def test_what_is_in_use_stays_even_above_the_limit(tmp_path: Path) -> None:
    found = [BlobCache(tmp_path, 5000).add([bytes([number]) * 4000])[0] for number in range(4)]
    assert all(BlobCache(tmp_path, 5000).find(digest) is not None for digest in found)


def test_a_damaged_copy_is_not_used(tmp_path: Path) -> None:
    cache = BlobCache(tmp_path, 1 << 20)
    digest, path = cache.add([b"good bytes"])
    path.chmod(0o600)
    path.write_bytes(b"evil bytes")
    assert BlobCache(tmp_path, 1 << 20).find(digest) is None
    assert cache.add([b"good bytes"])[0] == digest
    assert cache.find(digest) is not None
