"""The sentiment example as a notebook: on the real archive where `NBKUBE_TEST_DATA` tells its folder, else on a
small archive of made-up reviews in the same layout, with entries that must do no harm."""

from __future__ import annotations

import functools
import json
import threading
import zipfile
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.unit.examples.archives import data_folder, made_up_archive
from tests.unit.examples.notebooks import copy_of, run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

# Stands in for the package where it is not installed: 16 numbers that tell which words a text holds.
HUB = """
import numpy as np, tensorflow as tf, zlib

def load(address):
    assert address.startswith("https://tfhub.dev/google/universal-sentence-encoder/")
    def encode(texts):
        table = np.zeros((len(texts), 16), np.float32)
        for row, text in zip(table, texts):
            for word in text.split():
                row[zlib.crc32(word.encode()) % 16] += 0.1
        return tf.constant(table)
    return encode
"""


@pytest.fixture
def served(tmp_path: Path) -> Iterator[str]:
    """The address of a web server with a small archive."""
    folder = tmp_path / "served"
    folder.mkdir()
    made_up_archive(folder / "aclImdb_v1.tar.gz", each=100)
    handler = functools.partial(SimpleHTTPRequestHandler, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder with the archive."""
    return data_folder(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def finished(data: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """A folder where the notebook has run once without interruption, and what it printed."""
    folder = tmp_path_factory.mktemp("finished")
    return folder, run(copy_of("sentiment", folder), data=data, reviews=2200, epochs=4, encoder="tfidf")


def weights(model: Path) -> bytes:
    with zipfile.ZipFile(model) as archive:
        return archive.read("model.weights.h5")


def test_the_whole_way(finished: tuple[Path, dict[str, str]]) -> None:
    folder, printed = finished
    assert "1100 reviews, 550 favourable" in printed["fetch"]
    assert sorted(path.name for path in (folder / "records").iterdir()) == [
        *(f"test-00{number}.tfrecord" for number in range(3)),
        *(f"train-00{number}.tfrecord" for number in range(2)),
        "valid-000.tfrecord",
    ]
    assert [path.name for path in sorted((folder / "checkpoints/tfidf-2200-0").iterdir())] == [
        f"epoch-00{number}.keras" for number in range(1, 5)
    ]
    about = json.loads((folder / "model/about.json").read_text())
    accuracy, loss = map(float, printed["metrics"].split())
    assert about["accuracy"] == accuracy > 0.6
    assert loss < 0.69
    assert len(printed["show"].splitlines()) == 6
    assert len(printed["own-words"].splitlines()) == 2


def test_nothing_is_unpacked(finished: tuple[Path, dict[str, str]]) -> None:
    folder, _ = finished
    assert {path.name for path in folder.iterdir()} == {"sentiment.ipynb", "records", "checkpoints", "model"}
    assert not (folder.parent / "outside.txt").exists()


def test_interrupted_training_goes_on_to_the_same_result(
    data: str, finished: tuple[Path, dict[str, str]], tmp_path: Path
) -> None:
    path = copy_of("sentiment", tmp_path)
    run(path, data=data, reviews=2200, epochs=2, encoder="tfidf")
    (tmp_path / "checkpoints/tfidf-2200-0/unfinished.keras").write_bytes(b"half a checkpoint")
    printed = run(path, data=data, reviews=2200, epochs=4, encoder="tfidf")
    assert [line.split()[:2] for line in printed["train"].splitlines() if line.startswith("epoch")] == [
        ["epoch", "3"],
        ["epoch", "4"],
    ]
    folder, uninterrupted = finished
    assert printed["metrics"] == uninterrupted["metrics"]
    last = "checkpoints/tfidf-2200-0/epoch-004.keras"
    assert weights(tmp_path / last) == weights(folder / last)


def test_from_the_web_with_the_sentence_encoder(served: str, tmp_path: Path) -> None:
    path = copy_of("sentiment", tmp_path / "project")
    (path.parent / "tensorflow_hub.py").write_text(HUB)
    printed = run(path, data=served, reviews=400, epochs=2)
    assert "200 + 200 vectors of 16 numbers" in printed["encode"]
    about = json.loads((path.parent / "model/about.json").read_text())
    assert (about["encoder"], about["reviews"]) == ("universal", 400)
    assert not (path.parent / "model/words.joblib").exists()
    assert len(printed["own-words"].splitlines()) == 2


def test_too_few_reviews_are_an_error_before_anything_is_trained(served: str, tmp_path: Path) -> None:
    path = copy_of("sentiment", tmp_path / "project")
    with pytest.raises(Exception, match="the archive holds too few reviews"):
        run(path, data=served, reviews=4000)
    assert [file.name for file in path.parent.iterdir()] == ["sentiment.ipynb"]
