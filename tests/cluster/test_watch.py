"""A watch through faults of a real API server: nothing is missed, nothing comes twice, loss of contact is told.

The API server is the test's own, so that killing it disturbs nobody.
"""

from __future__ import annotations

import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from nbkube.cluster import Change, Cluster, Question, connect
from nbkube.cluster.model import CONFIG_MAP, Manifest
from nbkube.errors import ForbiddenError, NbkubeError, NotFoundError
from tests.cluster.private_api import PrivateApi

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateApi]:
    if lacks := PrivateApi.lacks():
        pytest.skip(lacks)
    with PrivateApi(tmp_path_factory.mktemp("api")) as private:
        yield private


@pytest.fixture
def cluster(server: PrivateApi, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Cluster:
    monkeypatch.setenv("KUBECONFIG", str(server.kubeconfig))
    namespace = f"test-{random.randrange(10**9)}"
    found = connect(namespace=namespace)
    found.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
    return found


def settings(name: str, text: str) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "labels": {"by": "test"}},
        "data": {"n": text},
    }


class Follower(threading.Thread):
    """Follows a watch and checks each change against those before it."""

    def __init__(self, cluster: Cluster) -> None:
        super().__init__()
        self.watch = cluster.watch(CONFIG_MAP, labels={"by": "test"}, idle=1.0)
        self.there: dict[str, str] = {}
        self.versions: list[str] = []
        self.told: list[Change] = []
        self.gaps: list[tuple[int, float]] = []
        """Of each loss of contact: the newest version seen before it, and when contact was found again."""
        self.fault: BaseException | None = None
        self._newest = 0

    def may_have_missed(self, version: str, answered: float) -> bool:
        """Tell whether a write fell into a loss of contact, after which only the newest state of each object is told.

        A server that has started anew knows no versions from before: its list takes the place of what was between.
        """
        return any(newest < int(version) and answered < found for newest, found in self.gaps)

    def run(self) -> None:
        try:
            for change in self.watch:
                self._take(change)
        except BaseException as error:  # noqa: BLE001  (shown by the test)
            self.fault = error

    def _take(self, change: Change) -> None:
        if change.what not in ("added", "modified", "deleted"):
            self.told.append(change)
            if change.what == "found":
                self.gaps.append((self._newest, time.monotonic()))
            elif change.what == "lost":
                self._newest = max(map(int, self.versions), default=0)
            return
        name, version = change.object["metadata"]["name"], change.object["metadata"]["resourceVersion"]
        if change.what == "deleted":
            del self.there[name]
            return
        assert (change.what == "added") == (name not in self.there)
        self.versions.append(version)
        self.there[name] = version

    def whats(self) -> list[str]:
        return [one.what for one in self.told if one.what != "idle"]


class Writer(threading.Thread):
    """Makes, changes and deletes objects without a pause, also while the server is away."""

    def __init__(self, cluster: Cluster) -> None:
        super().__init__()
        self._cluster = cluster
        self.ended = threading.Event()
        self.written: dict[str, float] = {}
        """By version: when the write was answered."""

    def run(self) -> None:
        number = 0
        while not self.ended.is_set():
            number += 1
            name = f"object-{random.randrange(6)}"
            try:
                if random.random() < 0.2:
                    self._cluster.delete(CONFIG_MAP, name)
                else:
                    stored = self._cluster.apply(settings(name, str(number)), force=True)
                    self.written[stored["metadata"]["resourceVersion"]] = time.monotonic()
            except NbkubeError:
                continue
            time.sleep(0.01)


def wait_until(condition: Callable[[], bool], seconds: float = 30) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.05)


def state(cluster: Cluster) -> dict[str, str]:
    found = cluster.list(CONFIG_MAP, labels={"by": "test"})
    return {one["metadata"]["name"]: one["metadata"]["resourceVersion"] for one in found}


@pytest.fixture
def follower(cluster: Cluster) -> Iterator[Follower]:
    one = Follower(cluster)
    one.start()
    wait_until(lambda: "synced" in one.whats() or one.fault is not None)
    yield one
    one.watch.close()
    one.join(10)
    assert not one.is_alive()
    assert one.fault is None


@pytest.fixture
def writer(cluster: Cluster) -> Iterator[Writer]:
    one = Writer(cluster)
    one.start()
    yield one
    one.ended.set()
    one.join(40)


def test_writes_are_reported_once_through_a_killed_server(
    server: PrivateApi, cluster: Cluster, follower: Follower, writer: Writer
) -> None:
    for number in (signal.SIGKILL, signal.SIGTERM):
        time.sleep(1)
        server.signal(number)
        time.sleep(1.5)
        server.start()
        time.sleep(2)
    writer.ended.set()
    writer.join(40)
    wait_until(lambda: follower.there == state(cluster))
    assert follower.whats() == ["synced", "lost", "found", "lost", "found"]
    assert "does not answer" in next(one.reason for one in follower.told if one.what == "lost")
    assert len(follower.versions) == len(set(follower.versions))
    # An apply whose answer was lost is sent again and changes nothing then, so more was seen than was answered.
    missed = {one: when for one, when in writer.written.items() if one not in follower.versions}
    assert all(follower.may_have_missed(one, when) for one, when in missed.items()), (missed, follower.gaps)
    assert len(writer.written) > 50


def test_expired_versions_start_a_new_list(server: PrivateApi, cluster: Cluster, follower: Follower) -> None:
    for number in range(4):
        cluster.create(settings(f"object-{number}", "0"))
    wait_until(lambda: len(follower.there) == 4)
    other = connect(namespace=cluster.namespace)
    server.signal(signal.SIGSTOP)
    wait_until(lambda: "lost" in follower.whats(), 60)
    server.signal(signal.SIGCONT)
    server.signal(signal.SIGKILL)
    server.start()
    other.delete(CONFIG_MAP, "object-0")
    other.apply(settings("object-1", "1"), force=True)
    other.create(settings("object-9", "0"))
    server.forget_history()
    server.signal(signal.SIGKILL)
    server.start()
    wait_until(lambda: follower.there == state(cluster))
    assert set(follower.there) == {"object-1", "object-2", "object-3", "object-9"}
    assert len(follower.versions) == len(set(follower.versions)) == 6


def test_an_old_version_is_expired_for_real(server: PrivateApi, cluster: Cluster) -> None:
    """The server answers 410 to a version that was compacted away; the watch goes on from a new list."""
    cluster.create(settings("first", "0"))
    watch = cluster.watch(CONFIG_MAP, labels={"by": "test"}, idle=1.0)
    changes = iter(watch)
    assert [next(changes).what for _ in range(2)] == ["added", "synced"]
    # Nobody reads the watch now, so its version stays where it is.
    for number in range(5):
        cluster.apply(settings("first", str(number)), force=True)
    cluster.create(settings("second", "0"))
    server.forget_history()
    server.signal(signal.SIGKILL)
    server.start()
    found = [next(changes) for _ in range(2)]
    watch.close()
    assert [(one.what, one.object["metadata"]["name"]) for one in found] == [("modified", "first"), ("added", "second")]
    assert found[0].object["data"] == {"n": "4"}


def test_a_pause_of_the_server_is_survived(server: PrivateApi, cluster: Cluster, follower: Follower) -> None:
    server.signal(signal.SIGSTOP)
    time.sleep(3)
    server.signal(signal.SIGCONT)
    cluster.create(settings("after", "0"))
    wait_until(lambda: "after" in follower.there)


def test_closing_ends_a_wait_at_once(cluster: Cluster) -> None:
    watch = cluster.watch(CONFIG_MAP, idle=30.0)
    ended: list[float] = []

    def follow() -> None:
        for _ in watch:
            pass
        ended.append(time.monotonic())

    thread = threading.Thread(target=follow)
    thread.start()
    time.sleep(1)
    closed = time.monotonic()
    watch.close()
    thread.join(5)
    assert ended
    assert ended[0] - closed < 2


def test_a_kind_that_is_not_there(cluster: Cluster) -> None:
    from nbkube.cluster.model import WORKFLOW

    with pytest.raises(NotFoundError, match="knows no Workflow"):
        cluster.watch(WORKFLOW)


def test_who_may_list_but_not_watch_is_told_at_once(cluster: Cluster) -> None:
    group = "rbac.authorization.k8s.io"
    rule = {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["list"]}
    subject = {"apiGroup": group, "kind": "User", "name": "ada"}
    reference = {"apiGroup": group, "kind": "Role", "name": "lister"}
    for kind, rest in (("Role", {"rules": [rule]}), ("RoleBinding", {"subjects": [subject], "roleRef": reference})):
        cluster.create({"apiVersion": f"{group}/v1", "kind": kind, "metadata": {"name": "lister"}} | rest)
    ada = connect("ada", cluster.namespace)
    wait_until(lambda: ada.may(Question("list", "configmaps")))
    changes = iter(ada.watch(CONFIG_MAP, labels="by=test", idle=1.0))
    assert next(changes).what == "synced"
    with pytest.raises(ForbiddenError, match="ada may not watch configmaps in namespace .*--verb=watch"):
        next(changes)


def test_a_create_whose_server_dies_is_there_once(server: PrivateApi, cluster: Cluster) -> None:
    """Whenever the server is killed, a create ends with the object made, once."""
    server.signal(signal.SIGSTOP)
    made: list[Manifest] = []
    thread = threading.Thread(target=lambda: made.append(cluster.create(settings("once", "0"))))
    thread.start()
    time.sleep(1)
    server.signal(signal.SIGCONT)
    server.signal(signal.SIGKILL)
    server.start()
    thread.join(60)
    assert [one["metadata"]["name"] for one in made] == ["once"]
    assert list(state(cluster)) == ["once"]


def test_long_lists_come_in_pages(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nbkube.cluster.client.PAGE", 7)
    for number in range(23):
        cluster.create(settings(f"page-{number:02}", "0"))
    assert [one["metadata"]["name"] for one in cluster.list(CONFIG_MAP, labels={"by": "test"})] == [
        f"page-{number:02}" for number in range(23)
    ]
