"""Steps that share a pod: chains in which each waits for the one before alone, and all ask for the same.

A pod takes seconds to start, most steps of a notebook take less. In a chain nothing could have run beside anything, so
nothing is lost; each step keeps its own process, logs, retries, result and place in the cache.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from msgspec.structs import replace as changed

from nbkube.engines.argo.graph import Graph, Node
from nbkube.pipeline.model import StepOptions


def fused(graph: Graph) -> Graph:
    """Return the graph with each chain of equal nodes as one: its first node, which names the others in `then`."""
    waiting = Counter(one for node in graph.nodes for one in (*node.after, node.behind) if one is not None)
    chains: dict[int, list[Node]] = {}
    head: dict[int, int] = {}
    tail: dict[int, Node] = {}
    for node in graph.nodes:
        before = tail.get(head[node.after[0]]) if len(node.after) == 1 and node.behind is None else None
        joins = before is not None and before.first == node.after[0] and waiting[before.first] == 1
        if before is not None and joins and _alike(before.options, node.options):
            head[node.first] = head[before.first]
            chains[head[before.first]].append(node)
        else:
            head[node.first] = node.first
            chains[node.first] = [node]
        tail[head[node.first]] = node
    return replace(graph, nodes=tuple(_one(chain, head) for chain in chains.values()))


def _one(chain: list[Node], head: dict[int, int]) -> Node:
    first = chain[0]
    timeouts = [one.options.timeout for one in chain]
    total = None if None in timeouts else sum(one for one in timeouts if one is not None)
    return replace(
        first,
        options=changed(first.options, retries=sum(one.options.retries for one in chain), timeout=total),
        after=tuple(sorted({head[one] for one in first.after})),
        behind=None if first.behind is None else head[first.behind],
        then=tuple(one.first for one in chain[1:]),
    )


def _alike(one: StepOptions, other: StepOptions) -> bool:
    """Tell whether two steps can run in one pod as if each had its own."""
    return _pod(one) == _pod(other) and not any(map(_is_alone, (one, other)))


def _is_alone(options: StepOptions) -> bool:
    new_volume = any(not one.claim for one in options.volume)
    return bool(options.when or options.map or options.after_failure or options.workers or options.ps or new_volume)


def _pod(options: StepOptions) -> StepOptions:
    return changed(options, env={}, cache=True, model="", retries=0, timeout=None)
