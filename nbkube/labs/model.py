"""The frozen types of notebook servers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from nbkube.errors import NbkubeError, Place
from nbkube.pipeline.model import StepOptions, Volume
from nbkube.pipeline.option_values import volume
from nbkube.pipeline.options import merge, settings_of
from nbkube.pipeline.quantities import AmountError

TAKEN = ("cpu", "memory", "gpu", "gpu-type", "image", "env", "volume", "node-selector", "toleration")
"""The options of a step that a notebook server takes, too."""

WORKSPACE = "/workspace"
_NAME = re.compile(r"[a-z]([a-z0-9-]{0,38}[a-z0-9])?")


class LabRequest(msgspec.Struct, frozen=True):
    """What a notebook server is made of; `workspace` is the volume that its files lie on."""

    name: str
    options: StepOptions
    workspace: Volume


class Lab(msgspec.Struct, frozen=True):
    """A notebook server: `phase` is Ready, Starting, Waiting or Stopped, `reason` why it is not ready; the rest is what
    it has asked for. `created` as Kubernetes writes it."""

    name: str
    phase: str
    reason: str
    image: str
    cpu: str
    memory: str
    devices: dict[str, str]
    workspace: str
    created: str


def lab_request(name: str, options: Mapping[str, Any], workspace: str) -> LabRequest:
    """Return a request from options as people and forms write them.

    Args:
        name: of the server: lower-case letters, digits and dashes.
        options: by the names of a step's options; only those in `TAKEN`.
        workspace: `CLAIM` for one that exists, or `new:SIZE[:CLASS]`.

    Raises:
        NbkubeError: something of it is wrong; the message says all of it.
    """
    if not _NAME.fullmatch(name):
        raise NbkubeError(f"{name[:60]!r} is no name of a server. Fix: use lower-case letters, digits and dashes.")
    if unknown := [one for one in options if one not in TAKEN]:
        raise NbkubeError(f"a server takes no {', '.join(unknown)}. Fix: it takes {', '.join(TAKEN)}.")
    settings, faults = settings_of(options, "the request", Place(f"server {name}"))
    merged, more = merge(settings)
    if found := [*faults, *more]:
        raise NbkubeError(diagnostics=found)
    try:
        place = volume(f"{workspace}:{WORKSPACE}")
    except AmountError as error:
        raise NbkubeError(f"workspace {workspace[:60]!r}: {error}. Fix: write a claim's name, or new:10Gi.") from None
    return LabRequest(name, merged, place)
