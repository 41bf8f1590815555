"""The table itself: every known cause and finding has its cases, and few of them are refusals."""

from __future__ import annotations

from collections import Counter

from tests.notebooks.table import CAUSES, ELSEWHERE, FINDINGS, load_cases

CASES = load_cases()
COUNTS = Counter(cause for case in CASES for cause in case.causes)


def test_size_and_unique_names() -> None:
    names = Counter(case.name for case in CASES)
    assert len(CASES) >= 150
    assert [name for name, count in names.items() if count > 1] == []


def test_every_cause_has_three_cases() -> None:
    assert {cause: COUNTS[cause] for cause in CAUSES if COUNTS[cause] < 3} == {}


def test_every_finding_has_a_case_or_a_test_elsewhere() -> None:
    assert [finding for finding in FINDINGS if not COUNTS[finding] and finding not in ELSEWHERE] == []


def test_causes_are_known() -> None:
    assert set(COUNTS) <= set(CAUSES) | set(FINDINGS)


def test_at_most_a_tenth_is_refused() -> None:
    assert sum(1 for case in CASES if case.refusal() or case.warned) <= len(CASES) / 10


def test_no_case_states_an_order_by_tag() -> None:
    tags = {tag for case in CASES for cell in case.cells for tag in cell.tags}
    assert [tag for tag in tags if tag.startswith("prev:")] == []


def test_every_runnable_case_says_what_it_expects() -> None:
    silent = [case.name for case in CASES if not (case.expect or case.metrics or case.fails or case.refusal())]
    assert silent == []
