"""Notebook servers of a namespace: made, waited for, reached, listed, taken away."""

from __future__ import annotations

import secrets
import time
from base64 import b64decode
from collections.abc import Callable

from nbkube.cluster import Cluster, Manifest
from nbkube.cluster.explain import explain
from nbkube.cluster.forward import Forward
from nbkube.cluster.model import EVENT, POD, SECRET, SERVICE, SERVICE_ACCOUNT, STATEFUL_SET, VOLUME_CLAIM
from nbkube.errors import ConflictError, NbkubeError, NotFoundError
from nbkube.labs.model import Lab, LabRequest
from nbkube.labs.objects import LABEL, PORT, TOKEN, labels, object_name, objects
from nbkube.profiles import Profile
from nbkube.profiles.model import NOTEBOOK_ACCOUNT

_LOOK_SECONDS = 1.0
Tell = Callable[[str], object]


class Labs:
    """The notebook servers of a profile's namespace.

    Raises (all methods):
        ClusterError: the cluster cannot be reached, or does not let us.
        RefusedError: it does not take an object, for want of quota for instance.
    """

    def __init__(self, cluster: Cluster, profile: Profile) -> None:
        self._cluster = cluster
        self._profile = profile

    def up(self, request: LabRequest) -> bool:
        """Make a server, or what of it is missing; False where it was there. A server that is there is not changed."""
        if self._cluster.find(STATEFUL_SET, object_name(request.name)) is not None:
            return False
        if not (request.options.image or self._profile.image):
            raise NbkubeError("no image is named. Fix: give --image REFERENCE, one that holds JupyterLab.")
        known = self._cluster.find(SERVICE_ACCOUNT, NOTEBOOK_ACCOUNT)
        account = NOTEBOOK_ACCOUNT if known is not None else ""
        for manifest in objects(request, self._profile, secrets.token_urlsafe(32), account):
            try:
                self._cluster.create(manifest)
            except ConflictError:
                continue  # left by an `up` that was broken off, or the workspace of an earlier server
        return True

    def list(self) -> list[Lab]:
        """Return all servers by name."""
        sets = self._cluster.list(STATEFUL_SET, labels=LABEL)
        pods = {one["metadata"]["labels"].get(LABEL, ""): one for one in self._cluster.list(POD, labels=LABEL)}
        found = [self._lab(one, pods.get(one["metadata"]["labels"][LABEL])) for one in sets]
        return sorted(found, key=lambda one: one.name)

    def claims(self) -> tuple[str, ...]:
        """Return the names of the volume claims of the namespace."""
        return tuple(sorted(one["metadata"]["name"] for one in self._cluster.list(VOLUME_CLAIM)))

    def lab(self, name: str) -> Lab:
        """Return one server.

        Raises:
            NotFoundError: there is none of this name.
        """
        found = next((one for one in self.list() if one.name == name), None)
        if found is None:
            raise NotFoundError(f"there is no notebook server {name}. `nbkube lab list` shows those that are there.")
        return found

    def wait(self, name: str, seconds: float, tell: Tell = lambda _: None) -> Lab:
        """Wait until a server is ready, telling what it waits for whenever that changes.

        Raises:
            NbkubeError: it is not ready within the time; the message says what it waits for.
        """
        until = time.monotonic() + seconds
        told = ""
        while True:
            found = self.lab(name)
            if found.phase == "Ready":
                return found
            if found.reason and found.reason != told:
                told = found.reason
                tell(told)
            if time.monotonic() > until:
                raise NbkubeError(
                    f"the server {name} is not ready after {seconds:.0f} s: {found.reason or found.phase}. "
                    f"It stays; `nbkube lab up {name}` goes on waiting, `nbkube lab down {name}` takes it away."
                )
            time.sleep(_LOOK_SECONDS)

    def token(self, name: str) -> str:
        """Return the token by which a server is used."""
        return b64decode(self._cluster.get(SECRET, object_name(name))["data"][TOKEN]).decode()

    def forward(self, name: str, local_port: int = 0) -> Forward:
        """Reach a server that is ready through the API server, at a port of this machine (0: any that is free)."""
        return Forward(self._cluster, f"{object_name(name)}-0", PORT, local_port)

    def down(self, name: str, *, workspace: bool = False) -> bool:
        """Take a server away; its workspace stays unless that is said. False where nothing was there."""
        target = object_name(name)
        gone = [self._cluster.delete(kind, target) for kind in (STATEFUL_SET, SERVICE, SECRET)]
        if workspace:
            claims = self._cluster.list(VOLUME_CLAIM, labels=labels(name))  # never one that was there before
            gone += [self._cluster.delete(VOLUME_CLAIM, one["metadata"]["name"]) for one in claims]
        return any(gone)

    def _lab(self, found: Manifest, pod: Manifest | None) -> Lab:
        spec = found["spec"]["template"]["spec"]
        container = spec["containers"][0]
        amounts = dict((container.get("resources") or {}).get("requests") or {})
        phase, reason = self._phase(found, pod)
        return Lab(
            name=found["metadata"]["labels"][LABEL],
            phase=phase,
            reason=reason,
            image=container["image"],
            cpu=amounts.pop("cpu", ""),
            memory=amounts.pop("memory", ""),
            devices=amounts,
            workspace=spec["volumes"][0]["persistentVolumeClaim"]["claimName"],
            created=found["metadata"].get("creationTimestamp", ""),
        )

    def _phase(self, found: Manifest, pod: Manifest | None) -> tuple[str, str]:
        if found["spec"].get("replicas") == 0:
            return "Stopped", "scaled to nothing"
        if pod is None:
            return "Waiting", "its pod is not made yet"
        conditions = {one["type"]: one["status"] for one in pod.get("status", {}).get("conditions") or ()}
        if conditions.get("Ready") == "True" and "deletionTimestamp" not in pod["metadata"]:
            return "Ready", ""
        events = self._cluster.list(EVENT, fields=f"involvedObject.name={pod['metadata']['name']}")
        trouble = explain(pod, events)
        if trouble is not None:
            return "Waiting", trouble.message
        return "Starting", "JupyterLab starts" if conditions.get("Initialized") == "True" else ""
