from __future__ import annotations

from collections.abc import Callable

import pytest

from nbkube.engines.argo.reminding import LONGEST_SECONDS, Reminder

Act = Callable[[Reminder], None]
SITUATIONS: dict[str, tuple[list[Act], list[int]]] = {
    "nothing happens": ([], [10, 30, 70, 150, 310]),
    "a pod is under way": ([lambda one: one.pod("a", under_way=True)], []),
    "the last pod has ended": (
        [lambda one: one.pod("a", under_way=True), lambda one: one.pod("a", under_way=False)],
        [10, 30, 70, 150, 310],
    ),
    "the run is paused": ([lambda one: one.workflow(suspended=True)], []),
    "the API server was away while a pod is under way": (
        [lambda one: one.pod("a", under_way=True), Reminder.found],
        [5, 15, 35],
    ),
}


@pytest.mark.parametrize("name", SITUATIONS)
def test_when_argo_is_reminded(name: str) -> None:
    now = 0
    reminder = Reminder(lambda: float(now))
    acts, moments = SITUATIONS[name]
    for act in acts:
        act(reminder)
    found = []
    for now in range(400):
        if reminder.is_due():
            found.append(now)
    assert found == moments


def test_a_change_makes_the_next_reminder_come_soon_again() -> None:
    now = 0.0
    reminder = Reminder(lambda: now)
    last = 0.0
    for _ in range(20):
        now = last + LONGEST_SECONDS
        assert reminder.is_due()
        last = now
    reminder.workflow(suspended=False)
    now += 9.9
    assert not reminder.is_due()
    now += 0.2
    assert reminder.is_due()
