"""Which version answers: the stable one, a canary by weight, the same one for the same caller; and shadows. Pure."""

from __future__ import annotations

import hashlib

from msgspec.structs import replace

from nbkube.errors import NbkubeError
from nbkube.serving.model import Routing, Shared


class RoutingError(NbkubeError):
    """A change that is none, such as going back where nothing was before."""


class Chooser:
    """Chooses versions by a routing; shares are kept exactly, not only on average."""

    def __init__(self, name: str, routing: Routing) -> None:
        self._name = name
        self.routing = routing
        self._due = 0.0

    def choose(self, caller: str | None) -> int:
        """Return the version for a request; `caller` is the value of the header named by `sticky`."""
        canary = self.routing.canary
        if canary is None:
            return self.routing.version
        if caller is not None:
            return canary.version if _place(self._name, caller) < canary.share else self.routing.version
        self._due += canary.share
        if self._due >= 1.0:
            self._due -= 1.0
            return canary.version
        return self.routing.version


def _place(name: str, caller: str) -> float:
    """Return where a caller stands between 0 and 1: always the same, whatever server or version asks."""
    digest = hashlib.sha256(f"{name}\0{caller}".encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def versions_of(routing: Routing) -> tuple[int, ...]:
    """Return the versions that must be loaded, each once."""
    more = (routing.canary.version if routing.canary else None, routing.shadow, routing.previous)
    return tuple(dict.fromkeys(one for one in (routing.version, *more) if one is not None))


def switched(now: Routing, version: int) -> Routing:
    """Return the routing in which another version answers; the one that did stays for a rollback."""
    if version == now.version and now.canary is None:
        return now
    previous = now.previous if version == now.version else now.version
    shadow = None if now.shadow == version else now.shadow
    return Routing(version, sticky=now.sticky, shadow=shadow, previous=previous)


def rolled_back(now: Routing, name: str) -> Routing:
    """Return the routing before: from a canary to the version beside it, else to the version that answered before.

    Raises:
        RoutingError: there is none.
    """
    if now.canary is not None:
        return replace(now, canary=None)
    if now.previous is None:
        raise RoutingError(f"{name} has answered with version {now.version} only; there is nothing to go back to.")
    return Routing(now.previous, sticky=now.sticky, shadow=now.shadow, previous=now.version)


def with_canary(now: Routing, version: int, share: float, sticky: str) -> Routing:
    """Return the routing in which a version gets a share of the requests; 0 ends that."""
    return replace(now, canary=Shared(version, share) if share else None, sticky=sticky)


def with_shadow(now: Routing, version: int) -> Routing:
    """Return the routing in which a version gets copies of the requests; 0 ends that."""
    return replace(now, shadow=version or None)
