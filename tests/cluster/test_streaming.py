"""Data that is four times as large as the memory a step may use, read by the same cell in a pod and here."""

from __future__ import annotations

from pathlib import Path

import pytest

from nbkube.runs import Phase
from tests.cluster.api import Api
from tests.cluster.bench import Bench
from tests.cluster.projects import project

pytestmark = [pytest.mark.timeout(1200), pytest.mark.slow]

MEMORY = 640
"""Mebibytes of the step: TensorFlow itself takes most of it."""

FILES = 40
RECORD = 1 << 20

READ = """
import nbkube
count = length = ends = 0
for record in nbkube.tfrecords(nbkube.data('records/')):
    data = record.numpy()
    count, length, ends = count + 1, length + len(data), ends + data[0] + data[-1]
"""


def write_records(file: Path, number: int) -> None:
    import tensorflow as tf

    with tf.io.TFRecordWriter(str(file)) as writer:
        for at in range(number):
            writer.write(bytes([at]) + bytes(RECORD - 2) + bytes([255 - at]))


def test_records_that_are_larger_than_memory(bench: Bench, api: Api, namespace: str, tmp_path: Path) -> None:
    records = 4 * MEMORY // FILES
    write_records(tmp_path / "first.tfrecord", records)
    with project(tmp_path / "project", bench, api, namespace, image=bench.images.tensorflow) as mine:
        more = f'[profiles.bench.resources]\nmemory = "{MEMORY}Mi"\n'
        mine.configure(bench.images.tensorflow, more)
        toml = mine.folder / "nbkube.toml"
        place = f"s3://{mine.bucket}/data"
        toml.write_text(toml.read_text().replace("[profiles.bench.allow]", f'data = "{place}"\n[profiles.bench.allow]'))
        files = mine.client().storage()
        files.put(tmp_path / "first.tfrecord", f"{place}/records/part-00.tfrecord")
        for number in range(1, FILES):
            files.copy(f"{place}/records/part-00.tfrecord", f"{place}/records/part-{number:02}.tfrecord")
        notebook = mine.notebook([("step:read", READ), ("pipeline-metrics", "print(count, length, ends)")])
        there = mine.client().run(notebook)
        assert there.phase is Phase.SUCCEEDED, [(step.name, step.failure) for step in there.steps]
        total = FILES * records
        assert there.metrics == {"count": total, "length": total * RECORD, "ends": total * 255}
        assert total * RECORD >= 4 * MEMORY << 20
        here = mine.client().run(notebook, engine="local", use_cache=False)
        assert here.metrics == there.metrics
