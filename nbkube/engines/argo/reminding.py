"""Reminding Argo of a Workflow that it may have lost sight of.

Argo's controller drops an update of a Workflow that the API server did not take (for any reason but a conflict) and
looks at the Workflow again with the next change of it or of one of its pods, else after 20 minutes (3.7.6:
`persistUpdates` and `workflowResyncPeriod` in workflow/controller). Where no pod is under way nothing changes, so that
a restart of the API server at the wrong moment would cost 20 minutes. Any change of the Workflow makes the controller
look: those who watch a run see to that.
"""

from __future__ import annotations

import time
from collections.abc import Callable

FIRST_SECONDS = 10.0
LONGEST_SECONDS = 300.0
_AFTER_LOSS = 5.0
_UNSURE = 40.0
"""Seconds for which, after contact was lost, a pod under way is no sign that Argo sees to the others."""


class Reminder:
    """Decides when a Workflow is to be touched: where nothing of it changes although something should.

    Args:
        clock: seconds that only grow.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._busy: set[str] = set()
        self._idle = False
        self._unsure_until = 0.0
        self._wait(FIRST_SECONDS)

    def pod(self, name: str, *, under_way: bool) -> None:
        """A pod has changed."""
        (self._busy.add if under_way else self._busy.discard)(name)
        self._wait(FIRST_SECONDS)

    def workflow(self, *, suspended: bool) -> None:
        """The Workflow's state has changed."""
        self._idle = suspended
        self._wait(FIRST_SECONDS)

    def found(self) -> None:
        """The API server answers again."""
        self._unsure_until = self._clock() + _UNSURE
        self._wait(_AFTER_LOSS)

    def is_due(self) -> bool:
        """Tell whether to touch the Workflow now; the next time is then further away."""
        now = self._clock()
        if now < self._next or self._idle or (self._busy and now >= self._unsure_until):
            return False
        self._wait(min(2 * self._seconds, LONGEST_SECONDS))
        return True

    def _wait(self, seconds: float) -> None:
        self._seconds = seconds
        self._next = self._clock() + seconds
