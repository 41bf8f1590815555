"""Models and endpoints: listed, added, served, asked, changed, stopped."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nbkube.client.project import STORE_FOLDER, Project
from nbkube.errors import NbkubeError

if TYPE_CHECKING:
    from nbkube.models import ModelRegistry, ModelVersion
    from nbkube.serving.load import Measured
    from nbkube.serving.local import LocalEndpoints
    from nbkube.serving.model import Change, Endpoint, Limits, Pods, RequestLog, Statistics
    from nbkube.serving.remote import ClusterEndpoints

TOKEN = "NBKUBE_ENDPOINT_TOKEN"
"""The environment variable with the token that callers of an endpoint send, or are asked for."""


def _silent(_: Mapping[str, Any]) -> None:
    return None


class Serving(Project):
    """Models and endpoints: listed, added, served, asked, changed, stopped."""

    # -- models ----------------------------------------------------------------------------------------------------

    def models(self) -> dict[str, list[ModelVersion]]:
        """Return the registered models of the project's store: by name, versions oldest first."""
        registry = self._registry()
        return {name: registry.versions(name) for name in registry.names()}

    def model(self, name: str, version: int | None = None) -> ModelVersion:
        """Return a version of a model, by default the newest.

        Raises:
            NotFoundError: there is no such model or version.
        """
        return self._registry().get(name, version)

    def add_model(
        self, name: str, path: Path, *, example: Any = None, trust: str = "", metrics: Mapping[str, Any] | None = None
    ) -> ModelVersion:
        """Register a file or folder as a new version of a model; `example` is a request or rows, as JSON values.

        Raises:
            NotFoundError: there is nothing at the path.
            ModelError: it is no model that nbkube knows, or does not answer its example.
            ConsentError: it is a pickle, and `trust` is not its digest.
        """
        from nbkube.models.publish import add_file

        return add_file(self._store(), name, path, example=example, trust=trust, metrics=metrics or {})

    def add_model_of_run(
        self, name: str, run_id: str, step: str, source: str = "", *, example: str = ""
    ) -> ModelVersion:
        """Register a variable, or a file, of a step's result as a new version of a model.

        `source` is the variable or the path ("": see the option `model`), `example` the variable with an example.

        Raises:
            NotFoundError: there is no such run or step, or it has no result.
            ModelError: there is no such thing, or it is no model.
        """
        from nbkube.interactive.inputs import programs_of
        from nbkube.models.publish import origin_of, register
        from nbkube.runs import RunStore

        store = self._store()
        runs = RunStore(store)
        state = runs.load(runs.resolve(run_id))
        programs, cwd = programs_of(store, state)
        option = f"{name}={source}" if source else name
        return register(store, option, origin_of(store, state, step, programs, cwd), example=example)

    def remove_model(self, name: str, version: int) -> None:
        """Remove a version of a model; its number is not given again.

        Raises:
            NotFoundError: there is no such version.
            NbkubeError: it is being served.
        """
        for one in self.endpoints():
            if one.name == name and one.phase == "Ready" and version in _versions_of(one):
                raise NbkubeError(f"version {version} of {name} is being served. Fix: nbkube endpoints stop {name}")
        self._registry().remove(name, version)

    # -- endpoints -------------------------------------------------------------------------------------------------

    def serve(
        self,
        name: str,
        version: int | None = None,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        workers: int | None = None,
        token: str = "",
        trust: str = "",
        limits: Limits | None = None,
        log: RequestLog | None = None,
        pods: Pods | None = None,
        tell: Callable[[Mapping[str, Any]], None] = _silent,
    ) -> Endpoint:
        """Serve a version of a model (by default the newest) where the profile says; return when it has predicted its
        example.

        An endpoint that is being served already goes over to the version without losing a request. On this machine the
        server is a process of its own, which outlives this one; on a cluster `pods` says what its pods are made of. A
        model of the profile in force that the profile named for this client does not have is copied into its store.

        Raises:
            NotFoundError: there is no such model or version.
            ConsentError: the model runs code, and nobody has agreed to that; `trust` is its digest.
            ServingError: it cannot be served; says why.
            ProfileError: the profile does not say enough for a cluster.
            ClusterError: the cluster cannot be reached.
        """
        from nbkube.models import consent
        from nbkube.serving.local import LocalEndpoints
        from nbkube.serving.model import Limits, Pods, RequestLog, Routing, ServerTask

        _check_installed()
        chosen = self._brought(name, version, tell)
        if chosen.runs_code:
            consent.require(f"model {name} version {chosen.version} ({chosen.format})", chosen.digest, trust)
        endpoints = self._endpoints()
        limits, log = limits or Limits(), log or RequestLog()
        if not isinstance(endpoints, LocalEndpoints):
            made_of = self._pods(chosen, pods, workers or 1, limits, log)
            return endpoints.start(name, chosen.version, made_of, tell, port=port, token=token)
        if pods is not None and pods != Pods(image=""):
            raise NbkubeError(
                "image, replicas, runtime and amounts are those of pods, and the profile has no cluster. "
                "Fix: add --profile NAME"
            )
        going = next((one for one in endpoints.all() if one.name == name and one.phase == "Ready"), None)
        if going is not None:
            tell({"phase": "Switching", "url": going.url})
            return endpoints.order(name, "switch", version=chosen.version)[0]
        task = ServerTask(
            name=name,
            store=self._store().url,
            routing=Routing(chosen.version),
            host=host,
            port=port,
            workers=workers or 2,
            limits=limits,
            log=log,
            token=token,
        )
        return endpoints.start(task, tell)

    def _brought(self, name: str, version: int | None, tell: Callable[[Mapping[str, Any]], None]) -> ModelVersion:
        """Return a version in the store of this client's profile, copied there from that of the profile in force.

        Without a number the one made last counts, wherever it is; a number means first a version that is there.
        """
        from nbkube.models.copying import copy_version

        registry = self._registry()
        here = None if self._store_url or not self._profile_name else Serving(self._project)
        source = here._store() if here is not None else self._store()
        if here is None or source.url == self._store().url:
            return registry.get(name, version)
        known, ours = registry.versions(name), here._registry().versions(name)
        if version is not None:
            if any(one.version == version for one in known):
                return registry.get(name, version)
            chosen = here._registry().get(name, version)
        else:
            if not ours or (known and known[-1].created >= ours[-1].created):
                return registry.get(name)
            chosen = ours[-1]
        copied = copy_version(source, self._store(), chosen)
        tell(
            {"phase": "Copied", "message": f"{name} version {chosen.version} of here is version {copied.version} there"}
        )
        return copied

    def _pods(self, chosen: ModelVersion, pods: Pods | None, workers: int, limits: Limits, log: RequestLog) -> Pods:
        from nbkube.serving.model import Pods

        profile = self.profile()
        wanted = pods or Pods(image="")
        if wanted.runtime:
            from nbkube.serving.runtimes import check

            check(wanted.runtime, chosen)
        image = wanted.image or profile.serve.image or profile.image
        if not image:
            libraries = ", ".join(f"{key}=={value}" for key, value in chosen.libraries.items())
            raise NbkubeError(
                f"no image is named for the pods of {chosen.name}. It must hold nbkube[serve] and {libraries}. Fix: "
                f"add --image REFERENCE, or write serve.image below [profiles.{profile.name}] in nbkube.toml"
            )
        import msgspec

        return msgspec.structs.replace(wanted, image=image, workers=workers, limits=limits, log=log)

    def endpoints(self) -> list[Endpoint]:
        """Return the endpoints of this project: on this machine, those that have stopped included, and those on the
        profile's cluster."""
        from nbkube.serving.local import LocalEndpoints

        endpoints, here = self._endpoints(), self._local_endpoints().all()
        if isinstance(endpoints, LocalEndpoints):
            return here
        there = endpoints.all()
        names = {one.name for one in there}
        return [*there, *(one for one in here if one.name not in names)]

    def endpoint(self, name: str) -> tuple[Endpoint, Statistics]:
        """Return an endpoint that is being served, and what it has done.

        Raises:
            NotFoundError: it is not being served.
        """
        return self._endpoints(name).order(name, "status")

    def stop_endpoint(self, name: str) -> Endpoint:
        """Let an endpoint finish what it has and end.

        Raises:
            NotFoundError: there is no such endpoint.
        """
        return self._endpoints(name).stop(name)

    def rollback_endpoint(self, name: str) -> Endpoint:
        """Go back to the version that answered before, or away from a canary.

        Raises:
            NotFoundError: it is not being served.
            ServingError: there is nothing to go back to.
        """
        return self._endpoints(name).order(name, "rollback")[0]

    def canary(self, name: str, version: int, share: float, *, sticky: str = "") -> Endpoint:
        """Let another version answer a share (0 to 1) of the requests; 0 ends it.

        With `sticky`, the name of a header, all requests with one value of it get the same version.
        """
        self._allowed(name, version)
        return self._endpoints(name).order(name, "canary", version=version, share=share, sticky=sticky)[0]

    def shadow(self, name: str, version: int) -> Endpoint:
        """Send a copy of each request to another version, and write down where it answers differently; 0 ends it."""
        if version:
            self._allowed(name, version)
        return self._endpoints(name).order(name, "shadow", version=version)[0]

    def _allowed(self, name: str, version: int) -> None:
        from nbkube.models import consent

        chosen = self.model(name, version)
        if chosen.runs_code:
            consent.require(f"model {name} version {version} ({chosen.format})", chosen.digest)

    def endpoint_history(self, name: str) -> list[Change]:
        """Return what was done with an endpoint, oldest first."""
        from nbkube.serving.journal import history

        return list(history(self._store(), name))

    def predict(self, name: str, value: Any = None, *, version: int | None = None, token: str = "") -> Any:
        """Ask an endpoint and return its answer: plain rows for rows, else the reply of the protocol that was asked in.

        `value` is a request, rows, an array or a table; without one it is the model's example. `token` is by default
        that of the environment.

        Raises:
            NotFoundError: it is not being served.
            PredictionError: the endpoint does not take the input; says which and why.
        """
        from nbkube.serving import requests

        endpoint = self._endpoints(name).get(name)
        if value is None:
            value = list(self.model(name, endpoint.version).example)
        body, in_protocol = requests.body_of(value)
        url = (requests.infer_url if in_protocol else requests.predict_url)(endpoint.url, name, version)
        answer = requests.post(url, body, token=token or os.environ.get(TOKEN, ""))
        return answer["predictions"] if isinstance(answer, dict) and "predictions" in answer else answer

    def bench_endpoint(self, name: str, *, rate: float, seconds: float, token: str = "") -> Measured:
        """Send the model's example at a steady rate (requests a second), however slow the answers; return what came.

        Raises:
            NotFoundError: it is not being served.
        """
        from nbkube.serving.load import measure
        from nbkube.serving.requests import body_of, infer_url

        endpoint = self._endpoints(name).get(name)
        body, _ = body_of(list(self.model(name, endpoint.version).example))
        token = token or os.environ.get(TOKEN, "")
        return measure(infer_url(endpoint.url, name), body, rate=rate, seconds=seconds, token=token)

    def _registry(self) -> ModelRegistry:
        from nbkube.models import ModelRegistry

        return ModelRegistry(self._store())

    def _endpoints(self, name: str = "") -> LocalEndpoints | ClusterEndpoints:
        """Return the endpoints of the profile; those of this machine if one of this name is served here alone."""
        profile = self.profile()
        here = self._local_endpoints()
        if profile.engine != "argo":
            return here
        from nbkube.serving.remote import ClusterEndpoints

        cluster = ClusterEndpoints(self.cluster(), profile, self._store(), self._work() / "forwards")
        if name and here.is_ready(name) and all(one.name != name for one in cluster.all()):
            return here
        return cluster

    def _local_endpoints(self) -> LocalEndpoints:
        from nbkube.serving.local import LocalEndpoints

        return LocalEndpoints(self._work())

    def _work(self) -> Path:
        return self._root() / STORE_FOLDER / "work"


def _versions_of(endpoint: Endpoint) -> Iterable[int]:
    from nbkube.serving.routing import versions_of

    return versions_of(endpoint.routing)


def _check_installed() -> None:
    import importlib.util

    missing = [name for name in ("tornado", "numpy", "prometheus_client") if importlib.util.find_spec(name) is None]
    if missing:
        raise NbkubeError(f"serving needs {', '.join(missing)}. Fix: pip install 'nbkube[serve]'")
