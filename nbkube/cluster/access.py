"""Finding a cluster: contexts of the kubeconfig files, or the service account of the pod we run in.

Reading the files, running exec plugins and renewing tokens is done by the `kubernetes` package.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nbkube.cluster.model import Access, Context
from nbkube.errors import ClusterError, ProfileError
from nbkube.notebook.suggest import did_you_mean

if TYPE_CHECKING:
    from kubernetes.client import Configuration

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
CONNECTIONS = 16


def contexts() -> tuple[Context, ...]:
    """Return the contexts of the kubeconfig files ($KUBECONFIG, else ~/.kube/config); none if there is no file.

    As with kubectl, the first file that names a context, or the current one, decides.

    Raises:
        ClusterError: a file cannot be read.
    """
    found: dict[str, dict[str, Any]] = {}
    current = ""
    for document in map(_document, _files()):
        current = current or str(document.get("current-context") or "")
        for one in document.get("contexts") or ():
            found.setdefault(str(one["name"]), one.get("context") or {})
    return tuple(
        Context(name, str(one.get("cluster") or ""), str(one.get("namespace") or ""), name == current)
        for name, one in found.items()
    )


def find(context: str, namespace: str) -> tuple[Access, Configuration]:
    """Return how the cluster is reached, with the client's settings (these hold credentials).

    Args:
        context: name of a kubeconfig context; "" takes the current one, or inside a pod its service account.
        namespace: where objects go that name none; "" takes the context's or the pod's, else `default`.

    Raises:
        ProfileError: there is no such context.
        ClusterError: no cluster is known here, or the credentials cannot be had.
    """
    known = contexts()
    if context:
        chosen = next((one for one in known if one.name == context), None)
        if chosen is None:
            raise ProfileError(_unknown(context, known))
        return _from_kubeconfig(chosen, namespace)
    current = next((one for one in known if one.current), None)
    if current is not None:
        return _from_kubeconfig(current, namespace)
    if inside_a_pod():
        return _from_service_account(namespace)
    if known:
        names = ", ".join(one.name for one in known)
        raise ClusterError(
            "the kubeconfig names no current context. "
            f"Fix: write context = NAME in the profile, or kubectl config use-context NAME; there are: {names}"
        )
    raise ClusterError(
        "no cluster is known here: there is no kubeconfig and no service account. "
        f"Fix: set KUBECONFIG, or put the file at {Path('~/.kube/config')}"
    )


def inside_a_pod() -> bool:
    """Tell whether this process has the service account of a pod."""
    return "KUBERNETES_SERVICE_HOST" in os.environ and (SERVICE_ACCOUNT / "token").is_file()


def _from_kubeconfig(context: Context, namespace: str) -> tuple[Access, Configuration]:
    from kubernetes.client import Configuration
    from kubernetes.config import load_kube_config

    settings = Configuration()
    settings.connection_pool_maxsize = CONNECTIONS
    failed = _Failed()
    logging.getLogger().addHandler(failed)
    try:
        load_kube_config(_kubeconfig(), context.name, settings, persist_config=False)
        why = "" if settings.api_key or settings.cert_file else failed.why
    except Exception as error:  # noqa: BLE001  (certificates, token files, yaml: many kinds)
        why = str(error)
    finally:
        logging.getLogger().removeHandler(failed)
    if why:
        raise ClusterError(
            f"context {context.name!r} gives no credentials: {' '.join(why.split())}. "
            f"Fix: try kubectl --context {context.name} get --raw /version"
        )
    return Access(context.name, namespace or context.namespace or "default", settings.host, "kubeconfig"), settings


class _Failed(logging.Handler):
    """Hears why an exec plugin failed: the package logs that, and goes on without credentials."""

    why = ""

    def emit(self, record: logging.LogRecord) -> None:
        if record.filename == "kube_config.py" and record.levelno >= logging.ERROR:
            self.why = self.why or record.getMessage()


def _from_service_account(namespace: str) -> tuple[Access, Configuration]:
    from kubernetes.client import Configuration
    from kubernetes.config import ConfigException, load_incluster_config

    settings = Configuration()
    settings.connection_pool_maxsize = CONNECTIONS
    try:
        load_incluster_config(settings)
        own = (SERVICE_ACCOUNT / "namespace").read_text(encoding="utf-8").strip()
    except (ConfigException, OSError) as error:
        raise ClusterError(f"the service account of this pod cannot be used: {error}") from None
    return Access("", namespace or own, settings.host, "service account"), settings


def _kubeconfig() -> str:
    # Read at each call: the package itself looks only once, when it is imported.
    return os.environ.get("KUBECONFIG") or str(Path("~/.kube/config").expanduser())


def _files() -> list[str]:
    return [one for one in _kubeconfig().split(os.pathsep) if one and os.path.exists(os.path.expanduser(one))]


def _document(file: str) -> dict[str, Any]:
    import yaml

    try:
        document = yaml.safe_load(Path(file).expanduser().read_text(encoding="utf-8")) or {}
        well_formed = all("name" in one for one in document.get("contexts") or ())
    except (OSError, UnicodeDecodeError, yaml.YAMLError, AttributeError, TypeError) as error:
        raise ClusterError(f"the kubeconfig {file} cannot be read: {' '.join(str(error).split())}") from None
    if not well_formed:
        raise ClusterError(f"the kubeconfig {file} holds a context without a name. Fix: kubectl config view")
    return dict(document)


def _unknown(context: str, known: tuple[Context, ...]) -> str:
    names = [one.name for one in known]
    otherwise = f"there are: {', '.join(names)}" if names else "set KUBECONFIG"
    return f"the kubeconfig has no context {context!r}. Fix: {did_you_mean(context, names, otherwise)}"
