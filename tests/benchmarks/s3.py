"""A bucket beside a plain copy: `python -m tests.benchmarks.s3`.

The peer sends the same requests (signed, the same parts, as many at a time) through bare urllib3 and does nothing else:
no digest of the whole, no verification, no metadata. Cells copy files by `nbkube.storage()`, which makes just these
requests. The store names what it holds by its digest, so it hashes a file before it can send the first byte, and again
what it fetches: these are measured, too, the latter also beside a peer that hashes the file it has fetched.
"""

from __future__ import annotations

import hashlib
import os
import statistics
import sys
import tempfile
import time
import tracemalloc
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit
from xml.etree import ElementTree

from nbkube.storage import ObjectStore, open_store
from nbkube.storage.files import Storage
from tests import s3_servers
from tests.benchmarks.measure import Line, environment, run_once, show

MIB = 1 << 20
SIZE = 256 * MIB
REPEAT = 5
KEYS = 100_000
PART = 8 * MIB
PARALLEL = 4
RECORDS_MIB = 512

STREAM = """
import os, sys
import nbkube, tensorflow as tf

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

next(iter(tf.data.Dataset.from_generator(lambda: iter([b"x"]), output_signature=tf.TensorSpec([], tf.string))))
before = resident()
grown = count = size = 0
for record in nbkube.tfrecords(sys.argv[1]):
    count, size = count + 1, size + len(record.numpy())
    if count % 20 == 0:
        grown = max(grown, resident() - before)
print(count, size, grown)
"""


class Peer:
    """Signed requests and nothing else."""

    def __init__(self, bucket: str) -> None:
        import urllib3
        from minio.credentials.credentials import Credentials

        self._root = f"{os.environ['AWS_ENDPOINT_URL']}/{bucket}/"
        self._keys = Credentials(os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"])
        self._pool = urllib3.PoolManager(maxsize=PARALLEL, retries=False)

    def send(self, method: str, target: str, body: bytes = b"", **headers: str) -> Any:
        from minio.signer import sign_v4_s3

        url = urlsplit(self._root + target)
        date = datetime.now(UTC)
        sha256 = hashlib.sha256(body).hexdigest()
        unsigned: dict[str, Any] = {
            "Host": url.netloc,
            "x-amz-date": date.strftime("%Y%m%dT%H%M%SZ"),
            "x-amz-content-sha256": sha256,
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        signed: dict[str, Any] = sign_v4_s3(
            method=method,
            url=url,
            region="us-east-1",
            headers=unsigned,
            credentials=self._keys,
            content_sha256=sha256,
            date=date,
        )
        answer = self._pool.request(method, url.geturl(), body=body, headers=signed, redirect=False)
        if answer.status not in (200, 204, 206):
            raise RuntimeError(f"{method} {target}: {answer.status} {answer.data[:300]!r}")
        return answer

    def upload(self, key: str, path: Path) -> None:
        found = ElementTree.fromstring(self.send("POST", f"{key}?uploads=").data)
        upload_id = found.findtext("{*}UploadId")
        handle = os.open(path, os.O_RDONLY)

        def part(number: int) -> str:
            data = os.pread(handle, PART, (number - 1) * PART)
            answer = self.send("PUT", f"{key}?partNumber={number}&uploadId={upload_id}", data)
            return f"<Part><PartNumber>{number}</PartNumber><ETag>{answer.headers['etag']}</ETag></Part>"

        with ThreadPoolExecutor(PARALLEL) as pool:
            parts = "".join(pool.map(part, range(1, -(-SIZE // PART) + 1)))
        os.close(handle)
        self.send(
            "POST",
            f"{key}?uploadId={upload_id}",
            f"<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>".encode(),
        )

    def download(self, key: str, path: Path, *, durable: bool) -> None:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT)

        def part(start: int) -> None:
            answer = self.send("GET", key, Range=f"bytes={start}-{start + PART - 1}")
            os.pwrite(handle, answer.data, start)

        with ThreadPoolExecutor(PARALLEL) as pool:
            list(pool.map(part, range(0, SIZE, PART)))
        if durable:
            os.fsync(handle)
        os.close(handle)

    def verified(self, key: str, path: Path) -> str:
        """Download a file and read it again for its sha256."""
        self.download(key, path, durable=True)
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def fetch(self, key: str) -> bytes:
        def part(start: int) -> bytes:
            return bytes(self.send("GET", key, Range=f"bytes={start}-{start + PART - 1}").data)

        with ThreadPoolExecutor(PARALLEL) as pool:
            return b"".join(pool.map(part, range(0, SIZE, PART)))

    def list_all(self, prefix: str) -> int:
        after, count = "", 0
        while True:
            query = f"?encoding-type=url&list-type=2&max-keys=1000&prefix={quote(prefix, safe='')}&start-after={after}"
            keys = self.send("GET", query).data.split(b"<Key>")[1:]
            count += len(keys)
            if len(keys) < 1000:
                return count
            after = quote(unquote(keys[-1].split(b"</Key>")[0].decode()), safe="")


def _timed(act: Callable[[], object]) -> float:
    started = time.perf_counter()
    act()
    return time.perf_counter() - started


def throughput(kind: str, folder: Path) -> list[Line]:
    """Measure up and down in turn with the peer."""
    s3_servers.set_environment(s3_servers.running(kind).environment())
    os.environ["NBKUBE_CACHE"] = str(folder / f"cache-{kind}")
    bucket = f"bench-{os.urandom(4).hex()}"
    Storage("").mb(f"s3://{bucket}")
    peer = Peer(bucket)
    store = open_store(f"s3://{bucket}/store")
    path = folder / "data"
    times: dict[str, list[float]] = defaultdict(list)
    for turn in range(REPEAT + 1):
        path.write_bytes(os.urandom(SIZE))
        for name, seconds in _round(peer, store, f"s3://{bucket}", path).items():
            if turn:
                times[name].append(seconds)
        Storage("").rm(f"s3://{bucket}/")
    lines = []
    for name, peers, what, bar in _COMPARED:
        ratio = statistics.median(one / own for one, own in zip(times[peers], times[name], strict=True))
        speed = SIZE / MIB / statistics.median(times[name])
        lines.append(Line(f"{kind}: {what}", speed, "MiB/s"))
        lines.append(Line(f"{kind}: {what}, of {peers}", ratio, "", bar, at_least=True))
    return lines


_COMPARED: tuple[tuple[str, str, str, float], ...] = (
    ("put", "plain upload", "nbkube.storage().put", 0.8),
    ("fetched", "plain download", "nbkube.storage().get", 0.8),
    ("up", "plain upload", "store: put_file", 0.8),
    ("get", "plain fetch", "store: get", 0.8),
    ("file", "verified download", "store: local_path", 0.8),
    ("file", "plain download", "store: local_path", 0.8),
)
"""What is compared with what."""


def _round(peer: Peer, store: ObjectStore, bucket: str, path: Path) -> dict[str, float]:
    landed, files = path.with_name("landed"), Storage(bucket)
    digests: list[str] = []
    taken = {
        "plain upload": _timed(lambda: peer.upload("plain", path)),
        "put": _timed(lambda: files.put(path, "own")),
        "up": _timed(lambda: digests.append(store.put_file(path))),
        "plain fetch": _timed(lambda: peer.fetch("plain")),
        "get": _timed(lambda: store.get(digests[0])),
        "plain download": _timed(lambda: peer.download("plain", landed, durable=True)),
    }
    landed.unlink()
    taken["fetched"] = _timed(lambda: files.get("own", landed))
    landed.unlink()
    taken["verified download"] = _timed(lambda: peer.verified("plain", landed))
    landed.unlink()
    taken["file"] = _timed(lambda: store.local_path(digests[0]))
    return taken


def listing() -> list[Line]:
    """List 100,000 records (of MinIO: versitygw reads its whole folder for each page of a listing)."""
    s3_servers.set_environment(s3_servers.running("minio").environment())
    Storage("").mb("s3://listing")
    store, peer = open_store("s3://listing"), Peer("listing")
    with ThreadPoolExecutor(8) as pool:
        names = (f"steps/{number // 100:04}/{number:06}.json" for number in range(KEYS))
        list(pool.map(lambda name: peer.send("PUT", name, b"{}"), names))
    counts: list[int] = []
    plain, ours = [], []
    for _ in range(3):
        plain.append(_timed(lambda: counts.append(peer.list_all("steps/"))))
        ours.append(_timed(lambda: counts.append(sum(1 for _ in store.list("steps/")))))
    assert set(counts) == {KEYS}, counts
    tracemalloc.start()
    sum(1 for _ in store.list("steps/"))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return [
        Line("list 100,000 keys", statistics.median(ours), "s"),
        Line("the bare requests", statistics.median(plain), "s"),
        Line("ratio", statistics.median(ours) / statistics.median(plain), "", 2.0),
        Line("memory", peak / MIB, "MiB", 16),
    ]


def records(folder: Path) -> list[Line]:
    """Stream four times as many bytes as memory may grow by."""
    import tensorflow as tf

    s3_servers.set_environment(s3_servers.running("minio").environment())
    Storage("").mb("s3://records")
    path = folder / "data.tfrecord"
    with tf.io.TFRecordWriter(str(path)) as file:
        for _ in range(RECORDS_MIB * 4):
            file.write(os.urandom(MIB // 4))
    Storage("").put(path, "s3://records/")
    sample = run_once([sys.executable, "-c", STREAM, "s3://records/data.tfrecord"], folder, env=environment())
    count, size, grown = (int(word) for word in sample.output.split()[-3:])
    assert (count, size) == (RECORDS_MIB * 4, RECORDS_MIB * MIB), sample.output
    return [
        Line("records streamed", size / MIB, "MiB"),
        Line("memory grown by", grown / MIB, "MiB", RECORDS_MIB / 4),
        Line("the whole process", sample.wall, "s"),
    ]


def main() -> bool:
    """Measure and print; tell whether the bars are kept."""
    before = dict(os.environ)
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    try:
        with tempfile.TemporaryDirectory(dir=memory) as name:
            folder = Path(name)
            kept = [
                show(f"{kind}, {SIZE // MIB} MiB (median of {REPEAT})", throughput(kind, folder))
                for kind in ("minio", "versitygw")
            ]
            kept.append(show("Listing (median of 3)", listing()))
            kept.append(show("TFRecords from a bucket", records(folder)))
    finally:
        s3_servers.close_all()
        os.environ.clear()
        os.environ.update(before)
    return all(kept)


if __name__ == "__main__":
    sys.exit(not main())
