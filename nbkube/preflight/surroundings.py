"""What a submission meets in its namespace, as far as we may see it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from nbkube.cluster.capacity import Capacity, survey
from nbkube.cluster.model import NAMESPACE, PRIORITY_CLASS, SECRET, SERVICE_ACCOUNT, VOLUME_CLAIM, Kind
from nbkube.errors import ForbiddenError

if TYPE_CHECKING:
    from nbkube.cluster.client import Cluster
    from nbkube.pipeline.model import Step
    from nbkube.profiles.model import Profile


class Surroundings(msgspec.Struct, frozen=True):
    """What there is in the namespace.

    `missing` holds (kind, name) of what profile or steps name and what was seen not to be there; what we may not look
    at is not in it.
    """

    namespace: str
    capacity: Capacity
    missing: frozenset[tuple[str, str]] = frozenset()


def look(cluster: Cluster, profile: Profile, steps: Sequence[Step]) -> Surroundings:
    """Look at what profile and steps name: a few requests at the same time, nothing is changed.

    Raises:
        ClusterError: the cluster cannot be reached.
    """
    from concurrent.futures import ThreadPoolExecutor

    named = sorted(_named(cluster, profile, steps), key=lambda one: (one[0].kind, one[1]))
    with ThreadPoolExecutor(8) as pool:
        capacity = pool.submit(survey, cluster, pods=False)
        absent = list(pool.map(lambda one: _is_absent(cluster, *one), named))
        missing = frozenset((kind.kind, name) for (kind, name), gone in zip(named, absent, strict=True) if gone)
        return Surroundings(cluster.namespace, capacity.result(), missing)


def _named(cluster: Cluster, profile: Profile, steps: Sequence[Step]) -> set[tuple[Kind, str]]:
    named = {(SECRET, secret.name) for step in steps for secret in step.options.secret}
    named |= {(VOLUME_CLAIM, volume.claim) for step in steps for volume in step.options.volume if volume.claim}
    named |= {(SERVICE_ACCOUNT, profile.service_account), (NAMESPACE, cluster.namespace)}
    if profile.store.secret:
        named.add((SECRET, profile.store.secret))
    if profile.priority_class:
        named.add((PRIORITY_CLASS, profile.priority_class))
    return named


def _is_absent(cluster: Cluster, kind: Kind, name: str) -> bool:
    try:
        return cluster.find(kind, name) is None
    except ForbiddenError:
        return False
