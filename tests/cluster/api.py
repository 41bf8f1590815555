"""Requests to the bench's API server: objects are plain dicts, paths are worked out from their kind."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlencode

from tests.cluster.layout import BenchError

Object = dict[str, Any]
_APPLY = {"fieldManager": "bench", "force": "true", "fieldValidation": "Strict"}


class ApiError(BenchError):
    """The API server refused a request: `status` is HTTP's, the message its own. Status 0: it is not reachable."""

    def __init__(self, status: int, message: str) -> None:
        self.status = status
        super().__init__(message)


class Api:
    """A connection to the API server with the rights of the kubeconfig file."""

    def __init__(self, kubeconfig: str) -> None:
        from kubernetes import config

        client = config.new_client_from_config(kubeconfig)
        self._server: str = client.configuration.host
        self._pool = client.rest_client.pool_manager

    def request(
        self,
        method: str,
        path: str,
        body: Object | bytes | None = None,
        content: str = "application/json",
        query: Mapping[str, str] | None = None,
    ) -> Any:
        """Send one request and return the decoded answer, text where it is no JSON. Raises ApiError."""
        from urllib3.exceptions import HTTPError

        try:
            answer = self._pool.request(
                method,
                f"{self._server}{path}{'?' if query else ''}{urlencode(query or {})}",
                body=json.dumps(body) if isinstance(body, dict) else body,
                headers={"Content-Type": content, "Accept": "application/json"},
                retries=False,
                timeout=60,
            )
        except HTTPError as error:
            raise ApiError(0, f"{self._server} is not reachable: {error}") from error
        text = answer.data.decode(errors="replace")
        is_json = answer.headers.get("Content-Type", "").startswith("application/json")
        if answer.status >= 300:
            raise ApiError(answer.status, json.loads(text).get("message", text) if is_json else text)
        return json.loads(text) if is_json else text

    def get(self, path: str, **query: str) -> Any:
        """Read an object, a list or a text such as a log."""
        return self.request("GET", path, query=query)

    def create(self, manifest: Object, **query: str) -> Object:
        """Create an object; unknown fields are refused."""
        answer: Object = self.request(
            "POST", collection(manifest), manifest, query={"fieldValidation": "Strict", **query}
        )
        return answer

    def apply(self, *manifests: Object) -> None:
        """Create or change objects by server-side apply."""
        for manifest in manifests:
            path = f"{collection(manifest)}/{manifest['metadata']['name']}"
            kind = "application/apply-patch+yaml"
            self.request("PATCH", path, manifest, kind, _APPLY)

    def patch(self, path: str, change: Object) -> Object:
        """Merge a change into an object."""
        answer: Object = self.request("PATCH", path, change, "application/merge-patch+json")
        return answer

    def delete(self, path: str, grace_seconds: int | None = None) -> None:
        """Delete an object; one that is gone already is no error."""
        query = {} if grace_seconds is None else {"gracePeriodSeconds": str(grace_seconds)}
        try:
            self.request("DELETE", path, query=query)
        except ApiError as error:
            if error.status != 404:
                raise

    def wait(self, path: str, done: Callable[[Object], bool], seconds: float, what: str) -> Object:
        """Read an object until `done` says so; raises BenchError with its last status after `seconds`."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                last: Object = self.get(path)
                if done(last):
                    return last
            except ApiError as error:
                if error.status not in {0, 404, 429, 503}:  # not there yet, or the server is just starting
                    raise
                last = {"status": str(error)}
            if time.monotonic() > deadline:
                raise BenchError(f"waited {seconds:.0f} s in vain for {what}: {json.dumps(last.get('status'))[:1500]}")
            time.sleep(0.1)


def collection(manifest: Object) -> str:
    """Return the path of the collection that an object belongs to."""
    version, kind = manifest["apiVersion"], manifest["kind"].lower()
    root = f"/api/{version}" if "/" not in version else f"/apis/{version}"
    namespace = manifest["metadata"].get("namespace")
    middle = f"/namespaces/{namespace}" if namespace else ""
    return f"{root}{middle}/{kind}{'es' if kind.endswith('s') else 's'}"


def has_condition(kind: str) -> Callable[[Object], bool]:
    """Return a test for an object's status condition `kind` being True."""

    def test(found: Object) -> bool:
        conditions = found.get("status", {}).get("conditions") or []
        return any(one["type"] == kind and one["status"] == "True" for one in conditions)

    return test
