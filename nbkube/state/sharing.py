"""Which names share mutable objects, and which objects belong to unchanged inputs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from nbkube.state.dump import Dumped
from nbkube.state.load import LoadedStream


def group(dumps: Sequence[Dumped]) -> list[list[int]]:
    """Return the numbers of dumps that share mutable objects, as groups in order."""
    if len(dumps) == 1:
        return [[0]]
    parent = list(range(len(dumps)))

    def find(number: int) -> int:
        while parent[number] != number:
            parent[number] = parent[parent[number]]
            number = parent[number]
        return number

    owner: dict[int, int] = {}
    for number, dumped in enumerate(dumps):
        objects = dumped.objects()
        for shared in objects.keys() & owner.keys():
            low, high = sorted((find(owner[shared]), find(number)))
            parent[high] = low
        owner.update(dict.fromkeys(objects.keys() - owner.keys(), number))
    groups: dict[int, list[int]] = {}
    for number in range(len(dumps)):
        groups.setdefault(find(number), []).append(number)
    return list(groups.values())


def foreign_objects(dumped: Dumped, streams: Iterable[LoadedStream]) -> list[tuple[LoadedStream, int, Any]]:
    """Return (stream, place, object) for the objects of loaded streams that a dump reaches; roots of streams first."""
    found = []
    for stream in streams:
        if not dumped.objects():
            break
        ids = stream.ids()
        hits = list(dumped.objects().keys() & ids.keys())
        roots = {id(value) for value in stream.values.values()}
        hits.sort(key=lambda one: (one not in roots, ids[one]))
        found += [(stream, ids[one], dumped.objects()[one]) for one in hits]
    return found
