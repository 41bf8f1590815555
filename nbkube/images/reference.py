"""Names of images, as container tools read them."""

from __future__ import annotations

import re

import msgspec

from nbkube.errors import BuildError

HUB = "docker.io"
_PATH = r"[a-z0-9]+(?:(?:\.|_{1,2}|-+)[a-z0-9]+)*"
_NAME = re.compile(rf"{_PATH}(?:/{_PATH})*")
_HOST = re.compile(r"(?:\[[0-9a-fA-F:]+\]|[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?)(?::[0-9]{1,5})?")
_TAG = re.compile(r"\w[\w.-]{0,127}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


class Reference(msgspec.Struct, frozen=True):
    """`host/repository` with a tag or a digest; `version` is what a registry is asked for."""

    host: str
    repository: str
    version: str

    def __str__(self) -> str:
        mark = "@" if self.version.startswith("sha256:") else ":"
        return f"{self.host}/{self.repository}{mark}{self.version}"


def parse(text: str) -> Reference:
    """Read `[HOST/]NAME[:TAG][@sha256:…]`; a name without a host is one of Docker Hub, the tag is `latest` by default.

    Raises:
        BuildError: it is no reference.
    """
    rest, _, digest = text.partition("@")
    first, slash, path = rest.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        host, name = first, path
    else:
        host, name = HUB, rest if slash else f"library/{rest}"
    name, colon, tag = name.partition(":")
    good = _HOST.fullmatch(host) and _NAME.fullmatch(name) and (not colon or _TAG.fullmatch(tag))
    if not good or (digest and not _DIGEST.fullmatch(digest)) or ("@" in text and not digest) or len(text) > 500:
        raise BuildError(f"{text[:100]!r} is no image. Fix: write e.g. registry.example:5000/team/python:3.11.")
    return Reference(host, name, digest or tag or "latest")
