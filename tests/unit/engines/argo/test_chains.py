from __future__ import annotations

import pytest

from nbkube.engines.argo.chains import fused
from nbkube.engines.argo.graph import Graph, Node
from nbkube.pipeline.model import StepOptions, Volume

PLAIN = StepOptions()


def _graph(*nodes: tuple[int, tuple[int, ...]], options: dict[int, StepOptions] | None = None) -> Graph:
    given = options or {}
    return Graph(tuple(Node(at, at, f"s{at}", given.get(at, PLAIN), after) for at, after in nodes), chain=False)


def _shape(graph: Graph) -> list[tuple[int, tuple[int, ...], tuple[int, ...]]]:
    return [(one.first, one.then, one.after) for one in fused(graph).nodes]


def test_a_line_of_equal_steps_is_one_pod() -> None:
    assert _shape(_graph((0, ()), (1, (0,)), (2, (1,)))) == [(0, (1, 2), ())]


def test_branches_keep_their_own_pods() -> None:
    diamond = _graph((0, ()), (1, (0,)), (2, (0,)), (3, (1, 2)), (4, (3,)))
    assert _shape(diamond) == [(0, (), ()), (1, (), (0,)), (2, (), (0,)), (3, (4,), (1, 2))]


def test_steps_of_two_branches_are_chained_each_in_its_own() -> None:
    two = _graph((0, ()), (1, ()), (2, (0,)), (3, (1,)), (4, (2, 3)))
    assert _shape(two) == [(0, (2,), ()), (1, (3,), ()), (4, (), (0, 1))]


@pytest.mark.parametrize(
    "other",
    [
        StepOptions(cpu="2"), StepOptions(memory="1Gi"), StepOptions(image="other"),
        StepOptions(gpu={"amd.com/gpu": 1}), StepOptions(labels={"a": "b"}), StepOptions(when="x > 1"),
        StepOptions(map="xs"), StepOptions(after_failure=True), StepOptions(workers=2),
        StepOptions(volume=(Volume("/data", size="1Gi"),)),
    ],
)  # fmt: skip
def test_steps_that_ask_for_something_else_have_their_own_pod(other: StepOptions) -> None:
    assert _shape(_graph((0, ()), (1, (0,)), (2, (1,)), options={1: other})) == [
        (0, (), ()),
        (1, (), (0,)),
        (2, (), (1,)),
    ]


def test_variables_and_cache_of_a_step_do_not_need_a_pod() -> None:
    own = StepOptions(env={"A": "1"}, cache=False, model="m")
    assert _shape(_graph((0, ()), (1, (0,)), options={1: own})) == [(0, (1,), ())]


def test_a_pod_has_the_tries_and_the_time_of_all_its_steps() -> None:
    options = {0: StepOptions(retries=1, timeout=10.0), 1: StepOptions(retries=2, timeout=5.0)}
    (one,) = fused(_graph((0, ()), (1, (0,)), options=options)).nodes
    assert (one.options.retries, one.options.timeout) == (3, 15.0)
    (other,) = fused(_graph((0, ()), (1, (0,)), options={0: StepOptions(timeout=10.0)})).nodes
    assert other.options.timeout is None
