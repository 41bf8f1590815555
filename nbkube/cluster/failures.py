"""From what the API server answers to our errors: what is wrong, where, and what to do."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from nbkube.cluster.model import Access
from nbkube.errors import ClusterError, ConflictError, ForbiddenError, NbkubeError, NotFoundError, RefusedError

_RBAC = re.compile(
    r'User "(?P<user>[^"]*)" cannot (?P<verb>\S+) resource "(?P<resource>[^"]+)" in API group "(?P<group>[^"]*)"'
    r'(?: in the namespace "(?P<namespace>[^"]+)")?'
)
_UNKNOWN = re.compile(r'(?:unknown|duplicate) field "(?P<field>[^"]+)"|(?P<typed>\.[\w.\[\]="-]+): field not declared')
_EXAMPLES = re.compile(r" \(e\.g\. .*\)$")
_QUOTA = re.compile(
    r"exceeded quota: (?P<name>[^,]+), requested: (?P<asked>\S+), used: (?P<used>\S+), limited: (?P<hard>\S+)"
)
_NO_REQUEST = re.compile(r"failed quota: (?P<name>[^:]+): must specify (?P<what>.+)")


class ExpiredError(ClusterError):
    """The version from which a list or a watch was to go on is no longer known (410 Gone)."""


def translate(status: int, body: bytes, what: str, access: Access) -> NbkubeError:
    """Return the error for an answer that is no success.

    Args:
        status: the HTTP status.
        body: the answer, usually a Kubernetes `Status`.
        what: what was asked, such as `create Workflow digits-1`.
        access: the cluster that answered.
    """
    answer = _status(body)
    message = str(answer.get("message") or body[:300].decode("utf-8", "replace") or f"HTTP {status}")
    if status == 401:
        return ClusterError(
            f"{access.name} does not accept the credentials ({what}). "
            f"Fix: log in again; {_probe(access)} shows whether it worked"
        )
    if status == 403:
        return _forbidden(message, what, access)
    if status == 404:
        return NotFoundError(f"{what}: {message}")
    if status == 410:
        return ExpiredError(f"{what}: {message}")
    if status == 409:
        return ConflictError(f"{what}: {message}")
    if status in (400, 415, 422) or "field not declared" in message:
        return RefusedError(f"{what}: {wrong_fields(answer) or message}")
    return ClusterError(f"{access.name} could not {what}: {message} (HTTP {status}). Fix: try again later")


def unreachable(access: Access, why: str) -> ClusterError:
    """Return the error for an API server that does not answer."""
    return ClusterError(
        f"{access.name} does not answer at {access.server}: {why}. "
        f"Fix: check network and VPN; {_probe(access)} shows whether it is up"
    )


def wrong_fields(answer: dict[str, Any]) -> str:
    """Return one sentence that names the fields a strict API server does not take; "" if it names none.

    `answer` is a Kubernetes `Status`: either with causes by field (validation), or with the text of a strict decoder.
    """
    message = str(answer.get("message") or "")
    unknown = [match["field"] or match["typed"].lstrip(".") for match in _UNKNOWN.finditer(message)]
    if unknown:
        fields = list(dict.fromkeys(unknown))
        return f"there {'is no field' if len(fields) == 1 else 'are no fields'} {', '.join(fields)}"
    causes = (answer.get("details") or {}).get("causes") or ()
    named = [f"{one['field']}: {_EXAMPLES.sub('', one.get('message', ''))}" for one in causes if one.get("field")]
    return "; ".join(dict.fromkeys(named))


def is_rbac(message: str) -> bool:
    """Tell whether a 403 is about rights (and not a quota or a policy)."""
    return _RBAC.search(message) is not None


def over_quota(message: str) -> str:
    """Return one sentence about a quota that an object would exceed; "" if the message is about something else."""
    match = _QUOTA.search(message)
    if match:
        return (
            f"the quota {match['name']} does not allow it: asked for {match['asked']}, "
            f"used {match['used']} of {match['hard']}"
        )
    match = _NO_REQUEST.search(message)
    return f"the quota {match['name']} wants every container to state {match['what']}" if match else ""


def allowing(verb: str, resource: str, group: str, namespace: str | None, user: str) -> str:
    """Return the commands by which an admin allows something to a user or service account.

    `namespace` None means in the whole cluster.
    """
    scope, flag = ("role", f" --namespace {namespace}") if namespace else ("clusterrole", "")
    plural = resource.partition("/")[0]
    name = f"nbkube-{verb}-{plural}"
    account = re.fullmatch(r"system:serviceaccount:([^:]+):([^:]+)", user)
    subject = f"--serviceaccount={account[1]}:{account[2]}" if account else f"--user={user or 'USER'}"
    kind = plural + (f".{group}" if group else "") + resource[len(plural) :]
    return (
        f"kubectl create {scope} {name} --verb={verb} --resource={kind}{flag} && "
        f"kubectl create {scope}binding {name} --{scope}={name} {subject}{flag}"
    )


def _forbidden(message: str, what: str, access: Access) -> NbkubeError:
    match = _RBAC.search(message)
    if match:
        where = f"in namespace {match['namespace']}" if match["namespace"] else "in the whole cluster"
        resource = match["resource"] + (f" ({match['group']})" if match["group"] else "")
        command = allowing(match["verb"], match["resource"], match["group"], match["namespace"], match["user"])
        return ForbiddenError(
            f"{match['user']} may not {match['verb']} {resource} {where} of {access.name}. "
            f"Fix: have an admin run {command}"
        )
    quota = over_quota(message)
    if quota:
        return RefusedError(f"{what}: {quota}. Fix: ask for less, or wait until something has ended")
    if "violates PodSecurity" in message:
        return RefusedError(f"{what}: the namespace's Pod Security does not allow it: {message}")
    if "anonymous" in message or not message:
        return ClusterError(f"{access.name} does not know us ({what}: {message}). Fix: {_probe(access)}")
    return RefusedError(f"{what}: {message}")


def _status(body: bytes) -> dict[str, Any]:
    try:
        answer = msgspec.json.decode(body)
    except msgspec.DecodeError:
        return {}
    return answer if isinstance(answer, dict) else {}


def _probe(access: Access) -> str:
    context = f" --context {access.context}" if access.context else ""
    return f"kubectl{context} get --raw /readyz"
