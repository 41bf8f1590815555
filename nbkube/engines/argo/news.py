"""What an engine wants of a cluster: Workflows sent, stopped and watched. `nbkube.cluster` gives it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import msgspec

ENDED = ("Succeeded", "Failed", "Error")


class Death(msgspec.Struct, frozen=True):
    """How a container ended that could not tell it itself: in Kubernetes' words (OOMKilled, Evicted), and ours."""

    reason: str
    message: str
    exit_code: int = 1


class PodNews(msgspec.Struct, frozen=True):
    """A pod of a step: its phase, why it does not get on (a sentence, or ""), and how it died if it did."""

    step: str
    pod: str
    phase: str
    reason: str = ""
    death: Death | None = None


class WorkflowNews(msgspec.Struct, frozen=True):
    """A Workflow's phase in Argo's words ("" before the controller has seen it, "Gone" once it has been deleted).

    `failed`: by step, what Argo says of its last try if that has failed.
    """

    phase: str
    message: str = ""
    failed: dict[str, str] = {}

    @property
    def ended(self) -> bool:
        """Whether nothing more is to come."""
        return self.phase in ENDED or self.phase == "Gone"


class Contact(msgspec.Struct, frozen=True):
    """Whether the cluster answers; loss of contact says nothing about the run."""

    lost: bool
    reason: str = ""


News = PodNews | WorkflowNews | Contact


class Workflows(Protocol):
    """The Workflows of one namespace."""

    def send(self, manifest: dict[str, Any]) -> None:
        """Create a Workflow. One of this name that is there already is this one: the answer was lost."""

    def stop(self, name: str, *, now: bool = False) -> None:
        """End a Workflow; its exit hook runs unless `now`."""

    def suspend(self, name: str, *, paused: bool) -> None:
        """Have a Workflow start no further pod, or go on."""

    def watch(self, name: str) -> Iterator[News | None]:
        """Yield what is known of a Workflow and its pods, and every change; None when there is none for a while.

        It goes on until the Workflow has ended and all its pods with it.
        """
