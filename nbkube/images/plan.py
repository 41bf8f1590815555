"""Which wheels become which layers: a pure function of the lock, the base and the compressor."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable

import msgspec

from nbkube.errors import BuildError
from nbkube.images.model import Base, LayerPlan, Lock, Wheel

FORMAT = 2
MOST_LAYERS = 60
"""Layers of wheels in an image: overlay file systems stop at 127 in all. What is beyond shares one, the smallest."""

_MOST_IN_ALL = 120


def plan_layers(lock: Lock, base: Base, compressor: str, python: str) -> tuple[LayerPlan, ...]:
    """Return the layers that a lock needs upon a base, from the lowest up.

    What the base has in the locked version is left to it. Every wheel has a layer of its own, so that one requirement
    more is one layer more; nbkube's own requirements share one. Large ones come first, so that nodes which have
    unpacked them need not do so again when a small one is added.

    Args:
        lock: the wheels.
        base: what they are put upon.
        compressor: what packs layers.
        python: the exact version that compiles modules.

    Raises:
        BuildError: the base has too many layers already.
    """
    wanted = [one for one in lock.wheels if not has(base, one)]
    runtime = [one for one in wanted if one.name in lock.runtime]
    rest = sorted((one for one in wanted if one.name not in lock.runtime), key=lambda one: (-one.size, one.name))
    room = min(MOST_LAYERS, _MOST_IN_ALL - len(base.layers))
    if room < 4:
        raise BuildError(f"{base.reference} has {len(base.layers)} layers, nodes take 127. Fix: use a flatter base.")
    groups: list[list[Wheel]] = [runtime] if runtime else []
    single, shared = rest, list[Wheel]()
    if len(rest) > room - 2:
        single, shared = rest[: room - 3], rest[room - 3 :]
    groups += [[one] for one in single]
    groups += [sorted(shared, key=lambda one: one.name)] if shared else []
    return tuple(
        LayerPlan(_key(group, base, compressor, python, group is runtime), tuple(group), group is runtime)
        for group in groups
    )


def satisfied(lock: Lock, base: Base) -> bool:
    """Tell whether a base has everything that is locked, and nbkube."""
    return "nbkube" in base.distributions and all(has(base, one) for one in lock.wheels)


def has(base: Base, wheel: Wheel) -> bool:
    """Tell whether a base has a wheel's version; one that was built for its devices (2.5.1+cu124) counts as that."""
    there = base.distributions.get(wheel.name, "")
    return wheel.version in (there, there.partition("+")[0])


def _key(wheels: Iterable[Wheel], base: Base, compressor: str, python: str, runtime: bool) -> str:
    hashes = sorted(one.sha256 for one in wheels)
    parts = [FORMAT, hashes, base.architecture, base.libc, compressor, python, runtime]
    return hashlib.sha256(msgspec.json.encode(parts)).hexdigest()


def normal_name(name: str) -> str:
    """Return a distribution's name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()
