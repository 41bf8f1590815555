"""`nbkube.tfrecords`: what it finds, in which order, and how much memory it takes."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

import nbkube
from nbkube.datasets import record_files
from nbkube.errors import LocationError, NotFoundError, StorageError
from nbkube.storage.files import Storage
from tests import s3_servers

STREAM_A_LOT = """
import os, sys
import nbkube, tensorflow as tf

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

with tf.io.TFRecordWriter(sys.argv[1]) as file:
    for number in range(200):
        file.write(bytes([number]) * 1_000_000)
before = resident()
grown, count = 0, 0
for record in nbkube.tfrecords(sys.argv[1]):
    assert record.numpy()[:1] == bytes([count])
    grown, count = max(grown, resident() - before), count + 1
print(count, grown)
"""


def write(path: Path, records: Sequence[bytes]) -> Path:
    import tensorflow as tf

    options = "GZIP" if path.suffix == ".gz" else ""
    with tf.io.TFRecordWriter(str(path), options) as file:
        for record in records:
            file.write(record)
    return path


def read(location: Any) -> list[bytes]:
    return [record.numpy() for record in nbkube.tfrecords(location)]


@pytest.mark.parametrize("suffix", ["tfrecord", "tfrecords", "tfrec", "tfrecord.gz"])
def test_a_folder_gives_its_record_files_in_order_of_their_names(tmp_path: Path, suffix: str) -> None:
    for number in (2, 0, 1):
        write(tmp_path / f"part-{number}.{suffix}", [f"{number} {record}".encode() for record in range(2)])
    (tmp_path / "notes.txt").write_text("no records here")
    (tmp_path / f"folder.{suffix}").mkdir()
    assert read(tmp_path) == [b"0 0", b"0 1", b"1 0", b"1 1", b"2 0", b"2 1"]


def test_a_file_a_pattern_and_several_of_them(tmp_path: Path) -> None:
    first = write(tmp_path / "train-0.tfrecord", [b"a"])
    second = write(tmp_path / "valid-0.tfrecord", [b"b"])
    odd = write(tmp_path / "odd-name", [b"c"])
    assert read(first) == read(str(first)) == [b"a"]
    assert read(tmp_path / "*-0.tfrecord") == [b"a", b"b"]
    assert read([second, str(odd), tmp_path / "train-*"]) == [b"b", b"c", b"a"]


def test_nothing_there_says_what_is_expected(tmp_path: Path) -> None:
    places: list[Any] = [tmp_path, tmp_path / "*.tfrecord", tmp_path / "absent.tfrecord", [tmp_path, "absent-*"]]
    for location in places:
        with pytest.raises(NotFoundError, match=r"no TFRecord files here\. Give a file, a glob pattern, or a folder"):
            nbkube.tfrecords(location)


def test_other_places_and_mixed_packing_are_refused(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="gs://bucket/train: gs:// cannot be streamed"):
        record_files("gs://bucket/train")
    (tmp_path / "a.tfrecord").write_bytes(b"")
    (tmp_path / "b.tfrecord.gz").write_bytes(gzip.compress(b""))
    with pytest.raises(StorageError, match=r"some record files end in \.gz and some do not"):
        nbkube.tfrecords(tmp_path)


def test_large_files_are_streamed_within_bounded_memory(tmp_path: Path) -> None:
    command = [sys.executable, "-c", STREAM_A_LOT, str(tmp_path / "large.tfrecord")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    count, grown = map(int, done.stdout.split())
    assert count == 200
    assert grown < 60_000_000, f"{grown / 1e6:.0f} MB held while streaming 200 MB"


def test_public_names_are_found_on_first_use() -> None:
    assert "tfrecords" in dir(nbkube)
    with pytest.raises(AttributeError, match="'nbkube' has no attribute 'tfrecord'"):
        nbkube.tfrecord  # noqa: B018


# buckets


@pytest.fixture
def bucket(tmp_path: Path) -> Iterator[str]:
    before = dict(os.environ)
    s3_servers.set_environment(s3_servers.running("minio").environment(NBKUBE_CACHE=str(tmp_path / "cache")))
    url = f"s3://data-{os.urandom(6).hex()}"
    nbkube.storage().mb(url)  # type: ignore[operator]
    yield url
    os.environ.clear()
    os.environ.update(before)


def test_a_bucket_gives_the_same_records_as_a_folder(tmp_path: Path, bucket: str) -> None:
    folder = tmp_path / "records"
    folder.mkdir()
    for number in range(3):
        write(folder / f"part-{number}.tfrecord", [b"%d-%d" % (number, one) * (one * 4000) for one in range(60)])
    write(folder / "packed.tfrecord.gz", [b"x" * one for one in range(100)])
    (folder / "notes.txt").write_text("no records here")
    Storage("").put(f"{folder}/", f"{bucket}/in/")
    for pattern in ("part-*.tfrecord", "part-[02].tfrecord", "part-1.tfrecord", "packed.tfrecord.gz"):
        assert read(f"{bucket}/in/{pattern}") == read(folder / pattern)
    (folder / "packed.tfrecord.gz").unlink()
    Storage("").rm(f"{bucket}/in/packed.tfrecord.gz")
    assert read(f"{bucket}/in/") == read(f"{bucket}/in") == read(folder)
    assert read([folder / "part-1.tfrecord", f"{bucket}/in/part-0.tfrecord"]) == [
        *read(folder / "part-1.tfrecord"),
        *read(folder / "part-0.tfrecord"),
    ]
    with pytest.raises(NotFoundError, match="no TFRecord files"):
        nbkube.tfrecords(f"{bucket}/none/")


def test_a_file_that_ends_within_a_record_is_told(tmp_path: Path, bucket: str) -> None:
    path = write(tmp_path / "a.tfrecord", [b"x" * 1000] * 3)
    Storage("").write(f"{bucket}/cut.tfrecord", path.read_bytes()[:-7])
    with pytest.raises(Exception, match="ends within a record"):
        read(f"{bucket}/cut.tfrecord")


def test_the_same_cell_reads_a_folder_and_a_bucket(
    tmp_path: Path, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cell() -> tuple[str, list[str], bytes | str]:
        table = Path(nbkube.data("in/table.csv"))
        with nbkube.data("in/b").open() as file:
            return table.read_text(), sorted(os.listdir(nbkube.data("in/"))), file.read()

    (tmp_path / "data" / "in").mkdir(parents=True)
    (tmp_path / "data" / "in" / "table.csv").write_text("x\n1\n")
    (tmp_path / "data" / "in" / "b").write_bytes(b"bytes")
    monkeypatch.chdir(tmp_path)
    here = cell()
    nbkube.storage().put("data/", f"{bucket}/team/")  # type: ignore[operator]
    monkeypatch.chdir("/")
    monkeypatch.setenv("NBKUBE_DATA", f"{bucket}/team")
    assert cell() == here
    Storage("").write(f"{bucket}/team/in/table.csv", "x\n2\n")
    assert Path(nbkube.data("in/table.csv")).read_text() == "x\n2\n"
    monkeypatch.delenv("NBKUBE_DATA")
    monkeypatch.setenv("NBKUBE_STORAGE", f"{bucket}/team")
    assert str(nbkube.data("x")) == f"{bucket}/team/data/x"


@pytest.mark.parametrize("name", ["../up", "a/../b", "/etc/passwd", "", "a//b", "a\x00"])
def test_data_has_no_way_out_of_its_place(name: str) -> None:
    with pytest.raises(LocationError):
        nbkube.data(name)
