"""Notebook servers on the cluster as they go over the wire."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from nbkube.server.model import Body, InProject, Name, Struct, Text


class LabRow(Struct, frozen=True, kw_only=True):
    """A notebook server: `phase` is Ready, Starting, Waiting or Stopped, `reason` why it is not ready."""

    name: str
    phase: str
    reason: str
    image: str
    cpu: str
    memory: str
    devices: dict[str, str]
    workspace: str


class LabList(Struct, frozen=True, kw_only=True):
    """The servers of a namespace, the volume claims that are there, and the image of a server that names none."""

    labs: tuple[LabRow, ...]
    claims: tuple[str, ...]
    image: str


class LabBody(Body, frozen=True, kw_only=True):
    """A server to be made, as `nbkube lab up` takes it: `workspace` is a claim, or new:SIZE[:CLASS]; `volumes` are
    CLAIM:PATH or new:SIZE[:CLASS]:PATH; `gpu` is COUNT or DEVICE=COUNT. "" leaves a thing to the profile."""

    path: Text = ""
    place: Name = ""
    name: Name
    image: Text = ""
    cpu: Name = ""
    memory: Name = ""
    gpu: Name = ""
    gpu_type: Name = ""
    workspace: Text
    volumes: Annotated[tuple[Text, ...], Meta(max_length=20)] = ()


class NamedLab(InProject, frozen=True, kw_only=True):
    """Which server; `workspace`: delete the volume that was made for it, too."""

    name: Name
    workspace: bool = False


class LabAddress(Struct, frozen=True, kw_only=True):
    """Where a server is reached from the machine of the Jupyter server: an address with its token."""

    url: str
