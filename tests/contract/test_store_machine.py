"""Random sequences of everything a store can do, against a dictionary."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from nbkube.errors import DamagedObjectError, NotFoundError
from tests.contract.conftest import PLACES

NAMES = st.sampled_from(["steps/a/1", "steps/a/2", "steps/b/1", "refs/x", "refs/m/y", "runs/r/run.json", "runs/r/é/z"])
DATA = st.sampled_from([b"", b"a", b"bb" * 40, bytes(range(256)) * 20])


class StoreMachine(RuleBasedStateMachine):
    """`blobs` and `records` are what must be there; blobs in `damaged` may only be refused."""

    kind = ""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.place = PLACES[self.kind](self.folder)
        self.store = self.place.open()
        self.blobs: dict[str, bytes] = {}
        self.damaged: set[str] = set()
        self.records: dict[str, bytes] = {}

    def teardown(self) -> None:
        shutil.rmtree(self.folder)

    @rule()
    def open_anew(self) -> None:
        self.store = self.place.open()

    @rule(data=DATA, streamed=st.booleans())
    def put(self, data: bytes, streamed: bool) -> None:
        digest = self.store.put(iter([data[:10], data[10:]])) if streamed else self.store.put(data)
        assert digest == hashlib.sha256(data).hexdigest()
        self.blobs[digest] = data
        self.damaged.discard(digest)

    @rule(data=DATA)
    def get(self, data: bytes) -> None:
        digest = hashlib.sha256(data).hexdigest()
        if digest in self.damaged:
            with pytest.raises(DamagedObjectError, match=digest):
                self.store.get(digest)
            self.damaged.discard(digest)
            del self.blobs[digest]
        elif digest in self.blobs:
            assert self.store.get(digest) == data
            assert self.store.local_path(digest).read_bytes() == data
            assert self.store.size(digest) == len(data)
        else:
            assert not self.store.has(digest)
            with pytest.raises(NotFoundError):
                self.store.get(digest)

    @rule(data=DATA, other=DATA)
    def damage(self, data: bytes, other: bytes) -> None:
        digest = hashlib.sha256(data).hexdigest()
        if digest in self.blobs:
            self.place.damage(digest, other)
            if other == data:
                self.damaged.discard(digest)
            else:
                self.damaged.add(digest)

    @rule(name=NAMES, data=DATA)
    def create(self, name: str, data: bytes) -> None:
        assert self.store.create(name, data) is (name not in self.records)
        self.records.setdefault(name, data)

    @rule(name=NAMES, data=DATA)
    def write(self, name: str, data: bytes) -> None:
        self.store.write(name, data)
        self.records[name] = data

    @rule(name=NAMES, data=DATA)
    def append(self, name: str, data: bytes) -> None:
        self.store.append(name, data)
        self.records[name] = self.records.get(name, b"") + data

    @rule(name=NAMES)
    def remove(self, name: str) -> None:
        self.store.remove(name)
        self.records.pop(name, None)

    @rule(name=NAMES, old=st.none() | DATA, new=st.none() | DATA, right=st.booleans())
    def swap(self, name: str, old: bytes | None, new: bytes | None, right: bool) -> None:
        if right:
            old = self.records.get(name)
        assert self.store.swap(name, old, new) is (self.records.get(name) == old)
        if self.records.get(name) == old:
            self.records.pop(name, None)
            if new is not None:
                self.records[name] = new

    @invariant()
    def records_are_as_expected(self) -> None:
        for prefix in ("steps/", "refs/", "runs/", "refs/m/"):
            found = list(self.store.list(prefix))
            assert found == sorted((name for name in self.records if name.startswith(prefix)), key=str.encode)
            assert [self.store.read(name) for name in found] == [self.records[name] for name in found]
        assert list(self.store.folders("steps/")) == sorted({n.split("/")[1] for n in self.records if n[:5] == "steps"})


@pytest.mark.parametrize("kind", sorted(PLACES))
def test_any_sequence_of_operations(kind: str) -> None:
    machine = type("Machine", (StoreMachine,), {"kind": kind})
    checks = [HealthCheck.too_slow, HealthCheck.filter_too_much]
    run_state_machine_as_test(
        machine, settings=settings(max_examples=40, stateful_step_count=25, deadline=None, suppress_health_check=checks)
    )
