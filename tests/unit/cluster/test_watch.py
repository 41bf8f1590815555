"""Lists and events become changes: none lost, none twice."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbkube.cluster.failures import ExpiredError
from nbkube.cluster.model import POD, Change, Manifest
from nbkube.cluster.watch import Tracker


def pod(name: str, version: int, uid: str = "") -> Manifest:
    metadata = {"namespace": "n", "name": name, "uid": uid or name, "resourceVersion": str(version)}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata}


def told(changes: Any) -> list[tuple[str, str, str]]:
    return [(one.what, one.object["metadata"]["uid"], one.object["metadata"]["resourceVersion"]) for one in changes]


def test_a_second_list_reports_only_what_differs() -> None:
    tracker = Tracker(POD)
    assert told(tracker.listed([pod("a", 1), pod("b", 2), pod("c", 3)], "3")) == [
        ("added", "a", "1"),
        ("added", "b", "2"),
        ("added", "c", "3"),
    ]
    assert told(tracker.listed([pod("a", 1), pod("b", 9), pod("d", 8)], "9")) == [
        ("deleted", "c", "3"),
        ("modified", "b", "9"),
        ("added", "d", "8"),
    ]
    assert tracker.version == "9"


def test_an_object_made_anew_under_the_same_name_is_another() -> None:
    tracker = Tracker(POD)
    list(tracker.listed([pod("a", 1)], "1"))
    assert told(tracker.listed([pod("a", 5, "second")], "5")) == [("deleted", "a", "1"), ("added", "second", "5")]


def test_events_move_the_version_and_bookmarks_are_not_reported() -> None:
    tracker = Tracker(POD)
    list(tracker.listed([pod("a", 1)], "1"))
    assert told(tracker.event({"type": "MODIFIED", "object": pod("a", 2)})) == [("modified", "a", "2")]
    assert told(tracker.event({"type": "MODIFIED", "object": pod("a", 2)})) == []
    bookmark = {"kind": "Pod", "metadata": {"resourceVersion": "50"}}
    assert told(tracker.event({"type": "BOOKMARK", "object": bookmark})) == []
    assert tracker.version == "50"
    assert told(tracker.event({"type": "DELETED", "object": pod("a", 51)})) == [("deleted", "a", "51")]
    assert told(tracker.event({"type": "DELETED", "object": pod("a", 51)})) == []


@pytest.mark.parametrize("code", [410, 500])
def test_an_error_starts_the_watch_anew(code: int) -> None:
    with pytest.raises(ExpiredError, match="too old"):
        list(Tracker(POD).event({"type": "ERROR", "object": {"kind": "Status", "code": code, "message": "too old"}}))


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["put", "delete", "list", "repeat"])), max_size=40))
def test_whatever_is_missed_the_last_state_is_reported_once(history: list[tuple[str, str]]) -> None:
    """A model of the API server; `list` is a watch that was cut and lost its version, `repeat` sends an event twice."""
    tracker = Tracker(POD)
    there: dict[str, Manifest] = {}
    seen: dict[str, Manifest] = {}
    versions: list[tuple[str, str]] = []
    version = 0

    def take(changes: list[Change]) -> None:
        for one in changes:
            name, at = one.object["metadata"]["name"], one.object["metadata"]["resourceVersion"]
            if one.what == "deleted":
                del seen[name]
            else:
                assert (one.what == "added") == (name not in seen)
                seen[name] = one.object
                versions.append((name, at))

    delivered = True
    for name, action in history:
        version += 1
        event: dict[str, Any] | None = None
        if action == "put" or (action == "repeat" and name in there):
            event = {"type": "MODIFIED" if name in there else "ADDED", "object": pod(name, version)}
            there[name] = event["object"]
        elif action == "delete" and name in there:
            event = {"type": "DELETED", "object": there.pop(name)}
        elif action == "list":
            take(list(tracker.listed(list(there.values()), str(version))))
            delivered = not delivered
        if event and delivered:
            for _ in range(2 if action == "repeat" else 1):
                take(list(tracker.event(event)))
    take(list(tracker.listed(list(there.values()), str(version))))
    assert seen == there
    assert len(versions) == len(set(versions))
