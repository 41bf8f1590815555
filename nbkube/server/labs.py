"""Routes about notebook servers on the cluster: what `nbkube lab` does, by form."""

from __future__ import annotations

import re
import threading

from nbkube.client import Client
from nbkube.cluster.forward import Forward
from nbkube.errors import NotFoundError, RunError
from nbkube.labs.model import Lab, lab_request
from nbkube.server import labs_model as wire
from nbkube.server.model import Empty, InProject
from nbkube.server.service import Service

_NAME = re.compile(r"[a-z]([a-z0-9-]{0,38}[a-z0-9])?")
_forwards: dict[tuple[str, str, str], Forward] = {}
"""Ports that carry to servers, kept as long as this process lives; by context, namespace and name."""
_lock = threading.Lock()


def labs(service: Service, query: InProject) -> wire.LabList:
    """List the notebook servers of a place's namespace."""
    client = _client(service, query)
    known = client.labs()
    return wire.LabList(labs=tuple(map(_row, known.list())), claims=known.claims(), image=client.profile().image)


def up(service: Service, body: wire.LabBody) -> wire.LabRow:
    """Make a notebook server, or what of it is missing; one that is there is not changed."""
    texts = {"image": body.image, "cpu": body.cpu, "memory": body.memory, "gpu-type": body.gpu_type}
    options: dict[str, object] = {key: text.strip() for key, text in texts.items() if text.strip()}
    if body.gpu.strip():
        options["gpu"] = [body.gpu.strip()]
    if body.volumes:
        options["volume"] = list(body.volumes)
    request = lab_request(body.name.strip(), options, body.workspace.strip())
    known = _client(service, InProject(path=body.path, place=body.place)).labs()
    known.up(request)
    return _row(known.lab(request.name))


def connect(service: Service, body: wire.NamedLab) -> wire.LabAddress:
    """Carry a port of this machine to a server that is ready, and return the address there."""
    client = _client(service, body)
    known, profile, name = client.labs(), client.profile(), _named(body)
    token = known.token(name)
    with _lock:
        key = (profile.context, profile.namespace, name)
        if key not in _forwards:
            _forwards[key] = known.forward(name)
        port = _forwards[key].local_port
    return wire.LabAddress(url=f"http://127.0.0.1:{port}/lab?token={token}")


def down(service: Service, body: wire.NamedLab) -> Empty:
    """Take a notebook server away; its workspace stays unless that is said."""
    client = _client(service, body)
    profile, name = client.profile(), _named(body)
    with _lock:
        if (forward := _forwards.pop((profile.context, profile.namespace, name), None)) is not None:
            forward.close()
    if not client.labs().down(name, workspace=body.workspace):
        raise NotFoundError(f"there is no notebook server {name}.")
    return Empty()


def _client(service: Service, query: InProject) -> Client:
    client = service.client(query)
    profile = client.profile()
    if profile.engine != "argo":
        raise RunError(f"{profile.name} is no cluster. Fix: choose a profile with the engine argo.")
    return client


def _named(body: wire.NamedLab) -> str:
    if not _NAME.fullmatch(body.name):
        raise NotFoundError(f"there is no notebook server {body.name[:60]!r}.")
    return body.name


def _row(one: Lab) -> wire.LabRow:
    return wire.LabRow(
        name=one.name,
        phase=one.phase,
        reason=one.reason,
        image=one.image,
        cpu=one.cpu,
        memory=one.memory,
        devices=one.devices,
        workspace=one.workspace,
    )
