"""Sets iterate in the order they had, whatever came and went before."""

from __future__ import annotations

import pickle
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nbkube.state.sets import restore_orders, set_orders


def travelled(one: Any) -> Any:
    """The set as another process gets it."""
    value, orders = pickle.loads(pickle.dumps((one, set_orders([one]))))
    restore_orders(orders)
    return value


def lived(seed: int) -> set[Any]:
    """A set whose members have come and gone."""
    random = Random(seed)
    size = random.choice([3, 8, 20, 60, 300, 900])
    found: set[Any] = set()
    for _ in range(random.randint(1, 3)):
        for number in range(random.randint(1, size)):
            found.add(random.choice([f"t{number}", random.randint(-size, size) * 1000, (number, "a"), number / 3]))
        for member in random.sample(sorted(found, key=repr), random.randint(0, len(found) - 1)):
            found.discard(member)
        found |= {f"k{number}" for number in range(random.choice([0, 0, 5, size]))}
    return found


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2**32).map(lived))
def test_order_is_kept(one: set[Any]) -> None:
    again = travelled(one)
    assert again == one
    assert list(again) == list(one)
    assert all(member in again for member in one)
    assert list(travelled(frozenset(one))) == list(frozenset(one))


def test_later_changes_find_the_same_table() -> None:
    one = {f"t{number}" for number in range(300)}
    for number in range(0, 300, 3):
        one.discard(f"t{number}")
    again = travelled(one)
    for found in (one, again):
        found.update(f"m{number}" for number in range(20))
        found.difference_update(f"t{number}" for number in range(0, 300, 2))
    assert list(again) == list(one)


@pytest.mark.parametrize("one", [{1, 2, 3}, {"a"}, set(), frozenset((1, 2))])
def test_sets_filled_again_alike_need_nothing(one: Any) -> None:
    assert set_orders([one]) == []
