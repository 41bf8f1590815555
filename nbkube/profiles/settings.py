"""The settings of a profile: one table for the file, the command line and the documentation."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Callable
from typing import Any, get_args
from urllib.parse import urlsplit

import msgspec

from nbkube.notebook.suggest import did_you_mean
from nbkube.pipeline import quantities
from nbkube.pipeline.option_values import image as image_reference
from nbkube.pipeline.option_values import shown
from nbkube.pipeline.quantities import AmountError
from nbkube.profiles.model import Engine, Exposure, KServe, Packaging, Profile

_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_SUBDOMAIN = rf"{_LABEL}(?:\.{_LABEL})*"
_HOST = r"[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?(?::[0-9]{1,5})?"
_REGISTRY = rf"{_HOST}(?:/[a-z0-9]+(?:[._-]+[a-z0-9]+)*)*"


class Setting(msgspec.Struct, frozen=True):
    """One setting: `name` with its table before a dot, `form` how it is written, `parse` from what TOML gives."""

    name: str
    form: str
    help: str
    parse: Callable[[Any], Any]

    @property
    def path(self) -> tuple[str, ...]:
        """Return the keys that lead to it inside the profile's table."""
        return tuple(self.name.split("."))


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise AmountError(f"{shown(value)} is no text", "write it in quotes")
    if not value.isprintable() or len(value) > 1000:
        raise AmountError(f"{shown(value)} is not one line of printable characters", "write one line")
    return value


def _matching(pattern: str, what: str, example: str, longest: int, value: Any) -> str:
    text = _text(value)
    if text and (len(text) > longest or not re.fullmatch(pattern, text)):
        raise AmountError(f"{text!r} is no {what}", f"write e.g. {example}")
    return text


def _choice(choices: tuple[str, ...], value: Any) -> str:
    text = _text(value)
    if text not in choices:
        raise AmountError(f"{text!r} is not known", did_you_mean(text, choices, f"write one of {', '.join(choices)}"))
    return text


def _texts(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise AmountError(f"{shown(value)} is no list", 'write ["…", "…"]')
    return tuple(_text(one) for one in value)


def _count(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 10_000:
        raise AmountError(f"{shown(value)} is not a whole number from 0 to 10000", "write e.g. 8, without quotes")
    return value


def _amount(parse: Callable[[str], str], value: Any) -> str:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    text = f"{value:g}" if number else _text(value)
    return parse(text) if text else ""


def _store(value: Any) -> str:
    text = _text(value)
    parts = urlsplit(text) if "://" in text else None
    if parts is None:
        return os.path.expanduser(text)
    if parts.scheme not in ("s3", "file"):
        raise AmountError(f"{text!r} is no store", "write s3://BUCKET/PREFIX or a folder")
    if parts.scheme == "s3" and not re.fullmatch(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", parts.netloc):
        raise AmountError(f"{parts.netloc!r} is no name of a bucket", "write s3://BUCKET/PREFIX")
    return text


def _bucket(value: Any) -> str:
    text = _store(value)
    if text and not text.startswith("s3://"):
        raise AmountError(f"{text!r} is in no bucket", "write s3://BUCKET/PREFIX, which pods can reach, too")
    return text


def _endpoint(value: Any) -> str:
    text = _text(value)
    parts = urlsplit(text)
    if text and (parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment):
        raise AmountError(f"{text!r} is no URL of a server", "write e.g. https://minio.example:9000")
    return text


def _image(value: Any) -> str:
    text = _text(value)
    return image_reference(text) if text else ""


_label = functools.partial(_matching, _LABEL)
_subdomain = functools.partial(_matching, _SUBDOMAIN)

_TABLE = (
    Setting("engine", '"local" | "argo"', "where runs are carried out: here, or by Argo Workflows on a cluster",
            functools.partial(_choice, get_args(Engine))),
    Setting("context", '"NAME"', "kubeconfig context (default: the current one, or the pod's service account)", _text),
    Setting("namespace", '"NAME"', "namespace for everything (default: the context's)",
            functools.partial(_label, "namespace", "team-a", 63)),
    Setting("store.url", '"s3://BUCKET/PREFIX" | "FOLDER"', "where results are kept", _store),
    Setting("store.endpoint", '"URL"', "the S3 server as this machine reaches it", _endpoint),
    Setting("store.pod-endpoint", '"URL"', "the S3 server as pods reach it (default: the same)", _endpoint),
    Setting("store.region", '"NAME"', "region of the bucket",
            functools.partial(_matching, r"[A-Za-z0-9-]+", "region", "us-east-1", 63)),
    Setting("store.aws-profile", '"NAME"', "profile of ~/.aws/credentials to use here (else the environment's)",
            functools.partial(_matching, r"[A-Za-z0-9._-]+", "aws-profile", "lab", 128)),
    Setting("store.secret", '"NAME"', "Kubernetes Secret that gives pods their AWS variables",
            functools.partial(_subdomain, "secret", "nbkube-store", 253)),
    Setting("store.ca", '"FILE"', "certificate authority of the endpoints, where it is an own one", _text),
    Setting("store.files", '"s3://BUCKET/PREFIX"', "where names in nbkube.storage() begin, here and in pods", _bucket),
    Setting("store.data", '"s3://BUCKET/PREFIX"', "where names in nbkube.data() begin, here and in pods", _bucket),
    Setting("registry", '"HOST[:PORT][/PATH]"', "where images are pushed; steps may use all images below it",
            functools.partial(_matching, _REGISTRY, "registry", "registry.example:5000/team-a", 253)),
    Setting("pull-registry", '"HOST[:PORT][/PATH]"', "the same registry as nodes name it (default: as we do)",
            functools.partial(_matching, _REGISTRY, "registry", "localhost:5000/team-a", 253)),
    Setting("plain-http", "[HOST[:PORT], …]", "registries spoken to without encryption (default: none)", _texts),
    Setting("registry-ca", '"FILE"', "certificate authority of the registry, where it is an own one", _text),
    Setting("base", '"REFERENCE"', "what images are built upon (default: python:3.X-slim of this Python)", _image),
    Setting("architecture", '"amd64" | "arm64"', "the nodes' processors, for which images are built (default: amd64)",
            functools.partial(_choice, ("amd64", "arm64"))),
    Setting("packaging", '"auto" | "image" | "wheelhouse"',
            "how pods get what the base lacks (default: auto, in an image if it can be pushed, else from the store)",
            functools.partial(_choice, get_args(Packaging))),
    Setting("image", '"REFERENCE"', "image of steps that name none (default: one that nbkube builds)", _image),
    Setting("resources.cpu", '"CORES"', "CPUs of steps that name none",
            functools.partial(_amount, quantities.cpu)),
    Setting("resources.memory", '"SIZE"', "memory of steps that name none",
            functools.partial(_amount, quantities.memory)),
    Setting("service-account", '"NAME"', "account of the pods (default: nbkube-runner)",
            functools.partial(_subdomain, "service account", "nbkube-runner", 253)),
    Setting("priority-class", '"NAME"', "priority class of the pods",
            functools.partial(_subdomain, "priority class", "batch-low", 253)),
    Setting("pull-secrets", '["NAME", …]', "Secrets by which nodes pull the images", _texts),
    Setting("allow.images", "[PATTERN, …]", "images that notebooks may name, beside the profile's and its registry's",
            _texts),
    Setting("allow.secrets", "[PATTERN, …]", "secrets that notebooks may name (default: none)", _texts),
    Setting("allow.volumes", "[PATTERN, …]", "existing claims that notebooks may name (default: none)", _texts),
    Setting("allow.node-selectors", "[KEY=VALUE, …]", "node labels that notebooks may ask for (default: all)", _texts),
    Setting("parallelism", "COUNT", "steps of a run at once (default: 0, no limit)", _count),
    Setting("serve.expose", '"port-forward" | "node-port" | "load-balancer" | "ingress"',
            "how endpoints are reached (default: port-forward)", functools.partial(_choice, get_args(Exposure))),
    Setting("serve.host", '"HOST"', "host of an Ingress, or of the node whose ports are opened",
            functools.partial(_matching, _SUBDOMAIN, "host", "models.example.com", 253)),
    Setting("serve.tls-secret", '"NAME"', "Kubernetes Secret with the certificate of an Ingress",
            functools.partial(_subdomain, "secret", "models-tls", 253)),
    Setting("serve.ingress-class", '"NAME"', "controller of an Ingress (default: the cluster's)",
            functools.partial(_subdomain, "ingress class", "nginx", 253)),
    Setting("serve.image", '"REFERENCE"',
            "image of endpoints, with nbkube[serve] and the models' libraries (default: image)",
            _image),
    Setting("serve.kserve", '"auto" | "never"',
            "whether KServe runs the pods of endpoints, if it is there (default: auto)",
            functools.partial(_choice, get_args(KServe))),
)  # fmt: skip

SETTINGS: dict[str, Setting] = {one.name: one for one in _TABLE}
TABLES = ("store", "resources", "allow", "serve")


def in_force(profile: Profile) -> dict[str, Any]:
    """Return each setting's value in a profile, defaults included."""
    found: dict[str, Any] = {}
    for name, setting in SETTINGS.items():
        value: Any = profile
        for part in setting.path:
            value = getattr(value, part.replace("-", "_"))
        found[name] = value
    return found
