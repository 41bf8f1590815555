from __future__ import annotations

from collections import Counter

import pytest

from nbkube.serving.model import Routing, Shared
from nbkube.serving.routing import Chooser, versions_of


def test_without_more_the_version_answers() -> None:
    chooser = Chooser("small", Routing(3))
    assert {chooser.choose(None) for _ in range(100)} == {3}
    assert chooser.choose("somebody") == 3


@pytest.mark.parametrize("share", [0.0, 0.01, 0.1, 0.5, 1.0])
def test_a_canary_gets_its_share(share: float) -> None:
    chooser = Chooser("small", Routing(1, canary=Shared(2, share)))
    counted = Counter(chooser.choose(None) for _ in range(5000))
    assert counted[2] == pytest.approx(share * 5000, abs=1)


def test_a_caller_always_gets_the_same_version() -> None:
    routing = Routing(1, canary=Shared(2, 0.1), sticky="X-User")
    first, second = Chooser("small", routing), Chooser("small", routing)
    callers = [f"user-{number}" for number in range(5000)]
    chosen = {caller: first.choose(caller) for caller in callers}
    assert all(second.choose(caller) == version for caller, version in chosen.items())
    assert 0.08 <= sum(version == 2 for version in chosen.values()) / 5000 <= 0.12


def test_a_larger_share_takes_no_caller_away_from_the_canary() -> None:
    small = Chooser("small", Routing(1, canary=Shared(2, 0.1), sticky="X-User"))
    large = Chooser("small", Routing(1, canary=Shared(2, 0.3), sticky="X-User"))
    callers = [f"user-{number}" for number in range(1000)]
    assert all(large.choose(one) == 2 for one in callers if small.choose(one) == 2)


def test_all_versions_of_a_routing_are_loaded_once() -> None:
    assert versions_of(Routing(3, canary=Shared(4, 0.1), shadow=4, previous=2)) == (3, 4, 2)
