"""Bits that flip in stored blobs and records are found, never returned as if they were right, and made good again."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import pytest

from nbkube.engines.detached import load_submission
from nbkube.errors import DamagedObjectError, NotFoundError, StorageError
from nbkube.runs import Phase, RunStore
from nbkube.runs.garbage import scrub
from nbkube.runtime.cache import read_manifest
from nbkube.storage import LocalStore
from tests.faults.project import Project, answer, sized

pytestmark = [pytest.mark.faults, pytest.mark.timeout(sized(300, 600, 7200))]

FLIPS = sized(200, 1000, 10_000)


def is_detected(project: Project, run: str, name: str) -> bool:
    """Tell whether a reader, opening the store anew, sees that a file of it has changed."""
    store = LocalStore(project.store.path)
    if name.startswith("objects/"):
        with pytest.raises(DamagedObjectError):
            store.get(name.rpartition("/")[2])
        return not store.has(name.rpartition("/")[2])
    if name.startswith("steps/"):
        return read_manifest(store, name) is None
    if name.endswith("/run.json"):
        with pytest.raises(StorageError):
            RunStore(store).run(run)
        return True
    if name.endswith("/submission.json"):
        with pytest.raises(NotFoundError, match="damaged"):
            load_submission(store, run)
        return True
    return len(RunStore(store).events(run)) < len(RunStore(project.store).events(run)) or bool(list(scrub(store)))


def flipped(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8 % len(data)] ^= 1 << bit % 8
    return bytes(changed)


def put_back(project: Project, name: str, data: bytes) -> None:
    path = project.store.path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.write_bytes(data)
    if name.startswith("objects/"):
        path.chmod(0o444)


def damaged(project: Project, name: str, data: bytes) -> None:
    path = project.store.path / name
    path.chmod(0o600)
    path.write_bytes(data)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, str]:
    """A project in which a run has succeeded."""
    project = Project(tmp_path_factory.mktemp("flips"))
    run = project.submit(1)
    assert project.end(run).phase is Phase.SUCCEEDED
    return project, run


def stored(project: Project, run: str) -> list[str]:
    kinds = ("objects/sha256/*/*", "steps/*/*", f"runs/{run}/*.json", f"runs/{run}/events/*")
    found = [path for kind in kinds for path in sorted(project.store.path.glob(kind))]
    return [path.relative_to(project.store.path).as_posix() for path in found if path.stat().st_size]


def test_every_flipped_bit_is_found(finished: tuple[Project, str]) -> None:
    project, run = finished
    chance = random.Random(1)
    names = stored(project, run)
    tried: Counter[str] = Counter()
    for number in range(FLIPS):
        name = names[number % len(names)]
        data = (project.store.path / name).read_bytes()
        bit = chance.randrange(len(data) * 8)
        damaged(project, name, flipped(data, bit))
        assert is_detected(project, run, name), f"bit {bit} of {name} was flipped, and nobody saw it"
        put_back(project, name, data)
        tried[name.partition("/")[0]] += 1
    assert set(tried) == {"objects", "steps", "runs"}
    project.check(run, 1)


def test_every_truncation_is_found(finished: tuple[Project, str]) -> None:
    project, run = finished
    chance = random.Random(2)
    names = [name for name in stored(project, run) if "/events/" not in name]  # their last line may always be torn
    for number in range(FLIPS // 5):
        name = names[number % len(names)]
        data = (project.store.path / name).read_bytes()
        damaged(project, name, data[: chance.randrange(len(data))])
        assert is_detected(project, run, name)
        put_back(project, name, data)


def test_without_the_digest_the_bytes_would_be_wrong(finished: tuple[Project, str]) -> None:
    """The damage is really there: whoever reads the file itself gets the wrong bytes without a word."""
    project, run = finished
    for name in stored(project, run):
        path = project.store.path / name
        data = path.read_bytes()
        damaged(project, name, flipped(data, 80))
        assert path.read_bytes() != data
        put_back(project, name, data)


@pytest.mark.parametrize("kind", ["objects", "steps"])
def test_damage_is_made_good_by_running_again(tmp_path: Path, kind: str) -> None:
    project = Project(tmp_path)
    run = project.submit(1)
    assert project.end(run).phase is Phase.SUCCEEDED
    for path in sorted((project.store.path / kind).rglob("*")):
        if path.is_file() and path.stat().st_size:
            damaged(project, path.relative_to(project.store.path).as_posix(), flipped(path.read_bytes(), 333))
    found = list(scrub(LocalStore(project.store.path)))
    assert found
    again = project.client.run(project.notebook, parameters={"salt": 1})
    assert (again.phase, again.metrics) == (Phase.SUCCEEDED, {"answer": answer(1)})
    assert project.traced().count("last") == 2
    assert all(step.cached for step in project.client.run(project.notebook, parameters={"salt": 1}).steps)


def test_a_damaged_input_of_a_step_is_named_and_made_again(tmp_path: Path) -> None:
    project = Project(tmp_path)
    run = project.submit(1)
    state = project.end(run)
    made = state.step("first")
    assert made is not None
    manifest = read_manifest(project.store, made.manifest)
    assert manifest is not None
    blob = manifest.outputs["numbers"].blob
    name = f"objects/sha256/{blob[:2]}/{blob}"
    damaged(project, name, flipped((project.store.path / name).read_bytes(), 4000))
    second = state.step("second")
    assert second is not None
    project.store.remove(second.manifest)  # so that somebody reads it
    failed = project.client.run(project.notebook, parameters={"salt": 1})
    assert failed.phase is Phase.FAILED
    step = failed.step("second")
    assert step is not None
    assert step.failure is not None
    assert blob in step.failure.message
    healed = project.client.run(project.notebook, parameters={"salt": 1})
    assert (healed.phase, healed.metrics) == (Phase.SUCCEEDED, {"answer": answer(1)})
