"""Which version answers: the stable one, a canary by weight, the same one for the same caller; and shadows."""

from __future__ import annotations

import hashlib

from nbkube.serving.model import Routing


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
