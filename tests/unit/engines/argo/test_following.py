from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import msgspec

from nbkube.engines.argo.engine import ArgoRun
from nbkube.engines.argo.news import Contact, Death, News, PodNews, WorkflowNews
from nbkube.engines.argo.prepare import plain_run
from nbkube.engines.argo.watch import finish
from nbkube.errors import StorageError
from nbkube.runs import Phase, RunEvent, RunStore
from nbkube.state.snapshot import FileView
from nbkube.storage import ObjectStore, open_store
from tests.unit.engines.argo.submissions import submission


class Flaky:
    """A store that cannot be reached now and then."""

    def __init__(self, store: ObjectStore, failing: set[int]) -> None:
        self._store = store
        self._failing = failing
        self._asked = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def list(self, prefix: str) -> Iterator[str]:
        self._asked += 1
        if self._asked in self._failing:
            raise StorageError("the store does not answer")
        return self._store.list(prefix)


class Telling:
    """A cluster that tells what it is told to."""

    def __init__(self, news: list[News]) -> None:
        self.news = news

    def send(self, manifest: dict[str, Any]) -> None:
        raise AssertionError

    stop = suspend = send

    def watch(self, name: str) -> Iterator[News | None]:
        yield from self.news


def test_a_store_that_comes_back_is_followed_on_and_nothing_is_told_twice(tmp_path: Path) -> None:
    given = submission((), (0,))
    store = open_store(tmp_path / "store")
    runs = RunStore(store)
    runs.create(msgspec.structs.replace(plain_run(given), workflow=given.run))
    for at, name in enumerate(("u0", "u1")):
        runs.append(given.run, RunEvent("started", time=100.0 + at, step=name, attempt=1))
    told: list[Mapping[str, Any]] = []
    cluster: Any = Telling([PodNews("u1", "pod", "Pending", "no node"), Contact(True, "gone"), Contact(False)])
    flaky = cast("ObjectStore", Flaky(store, {3, 4}))
    followed = ArgoRun(flaky, given, FileView(tmp_path, {}), cluster, told.append)
    followed.follow()
    until = time.monotonic() + 20
    while not any(one.get("reason") == "the store does not answer" for one in told) and time.monotonic() < until:
        time.sleep(0.05)
    runs.append(given.run, RunEvent("run-ended", time=200.0, phase=Phase.SUCCEEDED))
    assert followed.wait(20)
    assert [(one["event"], one.get("step")) for one in told if one["event"] in ("started", "run-ended")] == [
        ("started", "u0"),
        ("started", "u1"),
        ("run-ended", None),
    ]
    assert {"event": "pod", "step": "u1", "pod": "pod", "phase": "Pending", "reason": "no node"} in told
    assert [one["lost"] for one in told if one["event"] == "contact" and one["reason"] in ("gone", "")] == [True, False]


def test_how_a_pod_died_is_recorded_for_those_who_see_only_the_store(tmp_path: Path) -> None:
    given = submission((), (0,))
    store = open_store(tmp_path / "store")
    runs = RunStore(store)
    runs.create(plain_run(given))
    runs.append(given.run, RunEvent("started", time=100.0, step="u0", attempt=1))
    death = Death("OOMKilled", "container main used more memory than its limit of 64Mi and was killed (OOMKilled)", 137)
    for _ in range(2):  # several who watch say it once
        finish(store, given, WorkflowNews("Failed"), {"u0": death})
    state = runs.load(given.run)
    assert (state.phase, state.reason) == (Phase.FAILED, f"step u0: {death.message}")
    failure = state.steps[0].failure
    assert failure is not None
    assert (failure.kind, failure.type, failure.exit_code) == ("killed", "OOMKilled", 137)
    assert state.steps[1].phase is Phase.SKIPPED
    assert sum(event.event == "run-ended" for event in runs.events(given.run)) == 1


def test_what_argo_says_of_a_pod_that_was_never_made(tmp_path: Path) -> None:
    given = submission(())
    store = open_store(tmp_path / "store")
    RunStore(store).create(plain_run(given))
    finish(store, given, WorkflowNews("Error", failed={"u0": 'pods "x" is forbidden: violates PodSecurity'}), {})
    state = RunStore(store).load(given.run)
    assert state.reason == 'step u0: its pod failed: pods "x" is forbidden: violates PodSecurity'
