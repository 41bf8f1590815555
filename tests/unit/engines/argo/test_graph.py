from __future__ import annotations

import pytest

from nbkube.engines.argo.graph import Graph
from nbkube.errors import DataflowError
from nbkube.pipeline.model import StepOptions
from tests.unit.engines.argo.submissions import submission


def waits(graph: Graph) -> dict[int, tuple[int, ...]]:
    return {node.first: node.after for node in graph.nodes}


def test_units_wait_for_what_other_waits_do_not_imply() -> None:
    graph = Graph.of(submission((), (0,), (0, 1), (0, 1, 2)))
    assert waits(graph) == {0: (), 1: (0,), 2: (1,), 3: (2,)}
    assert graph.chain


def test_units_beside_each_other_are_no_chain() -> None:
    graph = Graph.of(submission((), (0,), (0,), (1, 2)))
    assert not graph.chain
    assert [node.first for node in graph.leaves()] == [3]
    assert [node.first for node in Graph.of(submission((), (), ())).leaves()] == [0, 1, 2]


def test_what_is_known_needs_no_pod_and_the_rest_may_be_a_chain_then() -> None:
    graph = Graph.of(submission((), (), (0, 1), (2,)), known=2)
    assert waits(graph) == {2: (), 3: (2,)}
    assert graph.chain


def test_units_that_share_a_process_are_one_node() -> None:
    graph = Graph.of(submission((), (0,), (), (1, 2), (3,)), [(1, 3)])
    assert [(node.first, node.last) for node in graph.nodes] == [(0, 0), (1, 3), (4, 4)]
    assert waits(graph) == {0: (), 1: (0,), 4: (1,)}
    assert graph.chain


def test_a_shared_pod_gives_the_most_that_its_units_ask_for() -> None:
    options = {
        0: StepOptions(cpu="500m", memory="2Gi", gpu={"nvidia.com/gpu": 1}),
        1: StepOptions(cpu="1", memory="512Mi", node_selector={"zone": "a"}),
    }
    (node,) = Graph.of(submission((), (0,), options=options), [(0, 1)]).nodes
    assert (node.options.cpu, node.options.memory) == ("1", "2Gi")
    assert (node.options.gpu, node.options.node_selector) == ({"nvidia.com/gpu": 1}, {"zone": "a"})


def test_units_with_two_images_cannot_share_a_pod() -> None:
    options = {0: StepOptions(image="one"), 1: StepOptions(image="two")}
    with pytest.raises(DataflowError, match=r"steps u0 and u1 .* option image"):
        Graph.of(submission((), (0,), options=options), [(0, 1)])


def test_adversarial_order_is_one_by_one_and_the_last_first() -> None:
    graph = Graph.of(submission((), (), (0,), (1, 2), adversarial=True))
    assert {node.first: node.behind for node in graph.nodes} == {1: None, 0: 1, 2: 0, 3: 2}
