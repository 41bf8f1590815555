"""Whether a pickle writes sets, told from its bytes."""

from __future__ import annotations

import io
import pickle
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbkube.state.opcodes import may_hold_sets

# 0x9491 and 0x2894_8f hold the bytes of the opcodes, as do these texts.
_LOOK_ALIKES = [0x9491, 0x28948F, 0x28948F9491, "\u4511\u8f14", b"\x8f\x94(\x91\x94", b"\x8f\x94(" * 100_000]
_ATOMS = st.one_of(st.sampled_from(_LOOK_ALIKES), st.integers(), st.text(max_size=5), st.none(), st.floats())
_DATA = st.recursive(
    _ATOMS,
    lambda inner: st.one_of(
        st.lists(inner),
        st.tuples(inner, inner),
        st.dictionaries(st.integers(), inner),
        st.sets(st.integers(0, 99)),
        st.frozensets(st.integers(0, 99), min_size=1),
    ),
    max_leaves=30,
)


def holds_sets(value: Any) -> bool:
    if isinstance(value, (set, frozenset)):
        return bool(value)
    if isinstance(value, dict):
        return any(map(holds_sets, value.values()))
    return isinstance(value, (list, tuple)) and any(map(holds_sets, value))


@given(_DATA)
def test_it_is_right_about_any_data(value: Any) -> None:
    assert may_hold_sets(pickle.dumps(value, 5)) is holds_sets(value)


@pytest.mark.parametrize("place", [0, 1, 29_999, 45_000, 59_999])
@pytest.mark.parametrize("one", [{1}, frozenset({1})])
def test_a_set_is_found_wherever_it_stands(place: int, one: Any) -> None:
    values: list[Any] = [random.Random(3).choice(_LOOK_ALIKES[:5]) for _ in range(60_000)]
    assert not may_hold_sets(pickle.dumps(values, 5))
    values[place] = one
    assert may_hold_sets(pickle.dumps(values, 5))


def test_pickles_one_after_another_and_without_frames() -> None:
    file = io.BytesIO()
    pickler = pickle.Pickler(file, 5)
    for value in ([0x9491], "text", {"key": (1.5, 0x28948F)}):
        pickler.dump(value)
    assert not may_hold_sets(file.getvalue())
    pickler.dump([{7}])
    assert may_hold_sets(file.getvalue())
    assert may_hold_sets(
        pickle.PROTO + b"\x05" + pickle.EMPTY_SET + pickle.MEMOIZE + b"(K\x01" + pickle.ADDITEMS + b"."
    )


def test_where_it_would_take_long_the_answer_is_yes() -> None:
    assert may_hold_sets(pickle.dumps([0x9491] * 250_000, 5))
    assert not may_hold_sets(pickle.dumps([0x9492] * 250_000, 5))
