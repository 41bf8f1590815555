from __future__ import annotations

import threading
from pathlib import Path

import msgspec
import pytest

from nbkube.errors import DamagedObjectError, NotFoundError
from nbkube.models import ModelFile, ModelRegistry, ModelVersion, Signature, Tensor
from nbkube.storage import open_store

SIGNATURE = Signature((Tensor("input", "FP64", (-1, 2)),), (Tensor("predict", "FP64", (-1,)),))


def draft(identity: str, name: str = "digits") -> ModelVersion:
    return ModelVersion(name, 0, "sklearn", (ModelFile("model.skops", "a" * 64, 3),), SIGNATURE, identity)


def test_versions_count_from_one_and_are_found_again(tmp_path: Path) -> None:
    models = ModelRegistry(open_store(tmp_path))
    assert models.names() == []
    first, second = models.add(draft("one")), models.add(draft("two"))
    assert (first.version, second.version) == (1, 2)
    assert models.get("digits") == second
    assert models.get("digits", 1) == first
    assert models.names() == ["digits"]


def test_the_same_again_is_no_new_version(tmp_path: Path) -> None:
    models = ModelRegistry(open_store(tmp_path))
    assert models.add(draft("one")) == models.add(draft("one"))
    models.add(draft("two"))
    assert models.add(draft("one")).version == 3  # what came in between has ended its being the newest


def test_a_number_is_never_given_again(tmp_path: Path) -> None:
    models = ModelRegistry(open_store(tmp_path))
    models.add(draft("one"))
    models.add(draft("two"))
    models.remove("digits", 2)
    with pytest.raises(NotFoundError, match="has no version 2. It has: 1"):
        models.get("digits", 2)
    assert models.add(draft("two")).version == 3


def test_a_model_without_versions_is_gone(tmp_path: Path) -> None:
    models = ModelRegistry(open_store(tmp_path))
    models.add(draft("one"))
    models.remove("digits", 1)
    assert models.names() == []
    with pytest.raises(NotFoundError, match="there is no model digits"):
        models.get("digits")


def test_many_writers_get_numbers_of_their_own(tmp_path: Path) -> None:
    models = ModelRegistry(open_store(tmp_path))
    made: list[int] = []

    def add(number: int) -> None:
        made.append(models.add(draft(str(number))).version)

    threads = [threading.Thread(target=add, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(made) == list(range(1, 9))


def test_a_changed_record_is_named(tmp_path: Path) -> None:
    models = ModelRegistry(open_store(tmp_path))
    models.add(draft("one"))
    record = tmp_path / "refs" / "models" / "digits" / "000001.json"
    record.chmod(0o600)
    record.write_bytes(record.read_bytes().replace(b"sklearn", b"pickle!"))
    with pytest.raises(DamagedObjectError, match="refs/models/digits/000001.json was damaged"):
        models.get("digits")


@pytest.mark.parametrize("name", ["", "Digits", "a" * 41, "a/b", "../x", "-a", "a-", "9a", "a b", "ü"])
def test_bad_names_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(NotFoundError, match="cannot name a model"):
        ModelRegistry(open_store(tmp_path)).get(name)


def test_the_digest_covers_every_file() -> None:
    one = draft("one")
    other = msgspec.structs.replace(one, files=(ModelFile("model.skops", "b" * 64, 3),))
    renamed = msgspec.structs.replace(one, files=(ModelFile("model.pkl", "a" * 64, 3),))
    assert len({one.digest, other.digest, renamed.digest, msgspec.structs.replace(one, format="pickle").digest}) == 4
