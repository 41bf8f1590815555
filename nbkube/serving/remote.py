"""Endpoints on the cluster of a profile: made, found again, given orders, taken away.

What an endpoint is lies in three places. Its objects are on the cluster; its record in the store
(`endpoints/<name>/clusters/<id>.json`, named by an annotation of its Service) says which version answers and what its
pods are made of, so that a router which starts reads what holds; its history is in the store beside it.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from nbkube.cluster import Cluster, Manifest
from nbkube.cluster.model import DEPLOYMENT, INFERENCE_SERVICE, POD, SERVICE
from nbkube.decoding import from_json
from nbkube.errors import NotFoundError, ProfileError
from nbkube.models.model import check_model_name
from nbkube.profiles import Profile
from nbkube.serving import addresses, rollout, routers, routing
from nbkube.serving.forwarding import Forwarding
from nbkube.serving.journal import add_change
from nbkube.serving.local import ServingError
from nbkube.serving.model import Deployed, Endpoint, EndpointPhase, Pods, Routing, Statistics
from nbkube.serving.objects import (
    ENDPOINT,
    MODEL,
    RECORD,
    ROLE,
    ROUTER,
    VERSION,
    deployment_name,
    labels,
    object_name,
    router_objects,
    token_secret,
    version_objects,
)
from nbkube.storage.model import ObjectStore

Listener = Callable[[Mapping[str, Any]], None]
_GONE_SECONDS = 120.0
_LONGEST = 57
"""KServe writes names of Deployments into labels, after `isvc.`; those have 63 letters at most."""


class ClusterEndpoints:
    """The endpoints of a profile's namespace.

    Args:
        cluster: where they are.
        profile: how pods reach the store, and callers the endpoints.
        store: this machine's way to the profile's store.
        folder: for the files of the processes that carry endpoints to ports of this machine.

    Raises (all methods):
        ClusterError: the cluster cannot be reached; `ForbiddenError`: it does not let us; `RefusedError`: it does not
            take an object.
    """

    def __init__(self, cluster: Cluster, profile: Profile, store: ObjectStore, folder: Path) -> None:
        if not profile.store.url.startswith("s3://"):
            raise ProfileError(
                f"pods of the profile {profile.name} need a store that they can reach. "
                f'Fix: write [profiles.{profile.name}.store] url = "s3://BUCKET/PREFIX" in nbkube.toml'
            )
        if profile.serve.expose == "ingress" and not profile.serve.host:
            raise ProfileError(
                f"endpoints of the profile {profile.name} are behind an Ingress without a host. "
                f'Fix: write serve.host = "models.example.com" below [profiles.{profile.name}] in nbkube.toml'
            )
        self._cluster = cluster
        self._profile = profile
        self._store = store
        self._forwarding = Forwarding(folder / profile.name, profile.context, cluster.namespace)

    # -- looking ---------------------------------------------------------------------------------------------------

    def all(self) -> list[Endpoint]:
        """Return the endpoints of the namespace by name."""
        services = self._cluster.list(SERVICE, labels=labels_of_routers())
        deployments = {one["metadata"]["name"]: one for one in self._cluster.list(DEPLOYMENT, labels=ENDPOINT)}
        found = [self._endpoint(one, deployments) for one in services]
        return sorted((one for one in found if one is not None), key=lambda one: one.name)

    def get(self, name: str) -> Endpoint:
        """Return an endpoint with an address at which it can be asked from here.

        Raises:
            NotFoundError: there is none of this name.
        """
        service = self._cluster.find(SERVICE, object_name(check_model_name(name)))
        deployments = {one["metadata"]["name"]: one for one in self._cluster.list(DEPLOYMENT, labels=labels(name))}
        found = None if service is None else self._endpoint(service, deployments)
        if found is None or service is None:
            raise NotFoundError(
                f"{name} is not being served in {self._cluster.namespace}. Fix: nbkube serve {name} "
                f"--profile {self._profile.name}"
            )
        return found if found.url else msgspec.structs.replace(found, url=self._url(service))

    def _endpoint(self, service: Manifest, deployments: Mapping[str, Manifest]) -> Endpoint | None:
        metadata = service["metadata"]
        name = str(metadata["labels"][ENDPOINT])
        known = self._record(service)
        if known is None:
            return None
        deployed = known[1]
        ready = rollout.is_ready(deployments.get(object_name(name))) and all(
            any(rollout.is_ready(deployments.get(deployment_name(name, one, kserve=kind))) for kind in (False, True))
            for one in routing.versions_of(deployed.routing)
        )
        phase: EndpointPhase = "Ready" if ready else "Starting"
        if "deletionTimestamp" in metadata:
            phase = "Draining"
        return Endpoint(
            name=name,
            version=deployed.routing.version,
            url=addresses.of(service, self._cluster, self._profile) or self._forwarding.url(name),
            phase=phase,
            routing=deployed.routing,
            started=datetime.fromisoformat(metadata["creationTimestamp"]).timestamp(),
            profile=self._profile.name,
            namespace=self._cluster.namespace,
            authenticated=deployed.pods.token,
        )

    def _url(self, service: Manifest) -> str:
        """Return where an endpoint is asked, carried to this machine if the profile says so."""
        if self._profile.serve.expose == "port-forward":
            return self._forwarding.start(service["metadata"]["labels"][ENDPOINT])
        return addresses.awaited(service, self._cluster, self._profile)

    def _record(self, service: Manifest) -> tuple[bytes, Deployed] | None:
        name = (service["metadata"].get("annotations") or {}).get(RECORD, "")
        data = self._store.read(name) if name.startswith("endpoints/") else None
        return None if data is None else (data, from_json(data, Deployed))

    # -- starting --------------------------------------------------------------------------------------------------

    def start(self, name: str, version: int, pods: Pods, tell: Listener, *, port: int = 0, token: str = "") -> Endpoint:
        """Serve a version, on an endpoint that is there already without losing a request; what `pods` leaves at its
        default stays there as it was, and so does the token.

        Returns when each version has answered its example in its pods, and the endpoint has at its address.

        Raises:
            ServingError: it cannot be served; says why. An endpoint that was there goes on as before.
        """
        service = self._cluster.find(SERVICE, object_name(name))
        known = None if service is None else self._record(service)
        if service is None or known is None:
            return self._made(name, version, pods, tell, port, token)
        pods = _kept(known[1].pods, pods)
        wanted = routing.switched(known[1].routing, version)
        self._change(service, known, Deployed(wanted, pods), "switched", tell)
        return self.get(name)

    def _made(self, name: str, version: int, pods: Pods, tell: Listener, port: int, token: str) -> Endpoint:
        record = f"endpoints/{name}/clusters/{secrets.token_hex(8)}.json"
        deployed = Deployed(Routing(version), msgspec.structs.replace(pods, token=bool(token)))
        try:
            self._store.create(record, msgspec.json.encode(deployed))
            if token:
                rollout.apply(self._cluster, [token_secret(name, token)])
            objects = router_objects(name, deployed.pods, self._profile, record, self._certificates())
            rollout.apply(self._cluster, [*self._version_objects(name, version, deployed.pods), *objects])
            tell({"phase": "Starting", "message": f"{name} version {version} in {self._cluster.namespace}"})
            self._await_version(name, version, tell)
            rollout.wait(self._cluster, object_name(name), labels(name, ROUTER), f"the router of {name}", tell)
            if self._profile.serve.expose == "port-forward":
                self._forwarding.start(name, port)
        except BaseException:
            self._clear(name, record)
            raise
        add_change(self._store, name, "started", deployed.routing, self._place())
        return self.get(name)

    def _place(self) -> str:
        return f"{self._profile.name}/{self._cluster.namespace}"

    def _certificates(self) -> str:
        return self._profile.store.certificates()

    def _version_objects(self, name: str, version: int, pods: Pods) -> list[Manifest]:
        kserve = self._by_kserve(name, version)
        return version_objects(name, version, pods, self._profile, self._certificates(), kserve=kserve)

    def _by_kserve(self, name: str, version: int) -> bool:
        """Tell whether KServe makes the pods of a version; one that has a Deployment of ours already keeps it."""
        if self._profile.serve.kserve == "never" or not self._cluster.serves(INFERENCE_SERVICE):
            return False
        if len(deployment_name(name, version, kserve=True)) > _LONGEST:
            return False
        return self._cluster.find(DEPLOYMENT, object_name(name, version)) is None

    def _await_version(self, name: str, version: int, tell: Listener) -> None:
        marks = labels(name, MODEL, version)
        called = deployment_name(name, version, kserve=self._by_kserve(name, version))
        rollout.wait(self._cluster, called, marks, f"{name} version {version}", tell)

    # -- orders ----------------------------------------------------------------------------------------------------

    def order(self, name: str, action: str, **details: Any) -> tuple[Endpoint, Statistics]:
        """Give an order: status, switch, rollback, canary or shadow; return the endpoint as it is then.

        Raises:
            NotFoundError: it is not being served.
            ServingError: the order could not be carried out; says why, and nothing has changed.
        """
        service = self._cluster.find(SERVICE, object_name(check_model_name(name)))
        known = None if service is None else self._record(service)
        if action != "status" and service is not None and known is not None:
            now = known[1].routing
            wanted, done = _changed(now, name, action, details)
            self._change(service, known, Deployed(wanted, known[1].pods), done, lambda _: None)
        return self.get(name), routers.statistics(self._cluster, name)

    def _change(
        self, service: Manifest, known: tuple[bytes, Deployed], wanted: Deployed, action: str, tell: Listener
    ) -> None:
        """Go over from what an endpoint's record was known to say to something else."""
        name, record = service["metadata"]["labels"][ENDPOINT], service["metadata"]["annotations"][RECORD]
        old, before = known
        self._provide(name, before, wanted, tell)
        if wanted.pods != before.pods:
            objects = router_objects(name, wanted.pods, self._profile, record, self._certificates())
            rollout.apply(self._cluster, objects)
        if not self._store.swap(record, old, msgspec.json.encode(wanted)):
            raise ServingError(f"somebody else has changed {name} meanwhile. Look at it, and try again.")
        try:
            routers.reroute(self._cluster, name, wanted.routing)
        except ServingError:
            self._store.swap(record, msgspec.json.encode(wanted), old)
            routers.reroute(self._cluster, name, before.routing)
            raise
        rollout.wait(self._cluster, object_name(name), labels(name, ROUTER), f"the router of {name}", tell)
        add_change(self._store, name, action, wanted.routing, self._place())
        self._retire(name, wanted.routing)

    def _provide(self, name: str, before: Deployed, wanted: Deployed, tell: Listener) -> None:
        """Have the pods of all versions of a routing; those that were there are made anew only if they change."""
        there = set(routing.versions_of(before.routing))
        new = [one for one in routing.versions_of(wanted.routing) if one not in there]
        changed = [wanted.routing.version] if wanted.pods != before.pods else []
        for version in dict.fromkeys((*new, *changed)):
            try:
                rollout.apply(self._cluster, self._version_objects(name, version, wanted.pods))
                self._await_version(name, version, tell)
            except BaseException:
                if version in new:
                    rollout.remove(self._cluster, labels(name, MODEL, version))
                raise

    def _retire(self, name: str, now: Routing) -> None:
        kept = {str(one) for one in routing.versions_of(now)}
        marks = ",".join(f"{key}={value}" for key, value in labels(name, MODEL).items())
        for one in self._cluster.list(SERVICE, labels=marks):
            version = one["metadata"]["labels"].get(VERSION, "")
            if version and version not in kept:
                rollout.remove(self._cluster, labels(name, MODEL) | {VERSION: version})

    # -- stopping --------------------------------------------------------------------------------------------------

    def stop(self, name: str) -> Endpoint:
        """Let an endpoint finish what it has, and take all its objects away; returns when its pods are gone.

        Raises:
            NotFoundError: there is no such endpoint.
        """
        service = self._cluster.find(SERVICE, object_name(check_model_name(name)))
        if service is None:
            self._forwarding.stop(name)
            raise NotFoundError(
                f"there is no endpoint {name} in {self._cluster.namespace}. `nbkube endpoints` lists them."
            )
        found = self._record(service)
        self._clear(name, (service["metadata"].get("annotations") or {}).get(RECORD, ""))
        now = found[1].routing if found else Routing(0)
        add_change(self._store, name, "stopped", now, self._place())
        return Endpoint(
            name=name, version=now.version, url="", phase="Stopped", routing=now, profile=self._profile.name,
            namespace=self._cluster.namespace,
        )  # fmt: skip

    def _clear(self, name: str, record: str) -> None:
        self._forwarding.stop(name)
        rollout.remove(self._cluster, labels(name))
        ending: set[str] = set()
        until = time.monotonic() + _GONE_SECONDS
        while (left := self._cluster.list(POD, labels=labels(name))) and time.monotonic() < until:
            for pod in left:
                identity = pod["metadata"]["uid"]
                if "deletionTimestamp" in pod["metadata"] and identity not in ending:
                    ending.add(identity)
                    routers.end(self._cluster, pod)
            time.sleep(0.3)
        if record:
            self._store.remove(record)


def _kept(old: Pods, new: Pods) -> Pods:
    """Return what pods are made of from now on: what nobody has said anew stays as it was."""
    plain = Pods(image="")
    said = {
        name: getattr(new, name)
        for name in Pods.__struct_fields__
        if name != "token" and getattr(new, name) != getattr(plain, name)
    }
    return msgspec.structs.replace(old, **said)


def _changed(now: Routing, name: str, action: str, details: Mapping[str, Any]) -> tuple[Routing, str]:
    """Return the routing after an order, and what it is called in the history."""
    if action == "switch":
        return routing.switched(now, details["version"]), "switched"
    if action == "rollback":
        return routing.rolled_back(now, name), "rolled back"
    if action == "canary":
        version, share, sticky = details["version"], details["share"], details.get("sticky", "")
        return routing.with_canary(now, version, share, sticky), "canary"
    return routing.with_shadow(now, details["version"]), "shadow"


def labels_of_routers() -> str:
    """Return the selector of what callers are led to, of all endpoints."""
    return f"app.kubernetes.io/managed-by=nbkube,{ENDPOINT},{ROLE}={ROUTER}"
