"""Keys of registries, from where container tools keep them: $DOCKER_CONFIG/config.json and the helpers it names."""

from __future__ import annotations

import base64
import binascii
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import msgspec

from nbkube.errors import RegistryError

_HUB = "https://index.docker.io/v1/"
_SECONDS = 30


class Credentials(msgspec.Struct, frozen=True):
    """User and password, or an identity token; all empty for none. Never written anywhere."""

    user: str = ""
    password: str = ""
    token: str = ""

    def __bool__(self) -> bool:
        return bool(self.user or self.token)

    def __repr__(self) -> str:
        return "Credentials(…)" if self else "Credentials()"


def config_file() -> Path:
    """Return where the keys are looked for: $DOCKER_CONFIG/config.json, else ~/.docker/config.json."""
    folder = os.environ.get("DOCKER_CONFIG", "")
    return (Path(folder) if folder else Path("~/.docker").expanduser()) / "config.json"


def credentials(host: str) -> Credentials:
    """Return the keys for a registry's host; asked for anew each time, since helpers hand out keys that expire.

    Raises:
        RegistryError: the file or a helper does not work.
    """
    path = config_file()
    try:
        text = path.read_bytes()
    except OSError:
        return Credentials()
    try:
        config = json.loads(text)
    except ValueError:
        config = None
    if not isinstance(config, dict):
        raise RegistryError(f"{path} is no JSON object, so there are no keys for {host}. Fix: log in again.")
    names = _names(host)
    helpers = config.get("credHelpers")
    for name in names:
        if isinstance(helpers, dict) and isinstance(helpers.get(name), str):
            return _helper(helpers[name], name)
    store = config.get("credsStore")
    if isinstance(store, str) and store:
        for name in names:
            if found := _helper(store, name):
                return found
    auths = config.get("auths")
    for name in names:
        entry = auths.get(name) if isinstance(auths, dict) else None
        if isinstance(entry, dict):
            return _entry(entry, host)
    return Credentials()


def _names(host: str) -> list[str]:
    own = [_HUB] if host in ("docker.io", "registry-1.docker.io", "index.docker.io") else []
    return [*own, host, f"https://{host}", f"http://{host}", f"https://{host}/", f"https://{host}/v2/"]


def _entry(entry: dict[str, Any], host: str) -> Credentials:
    if token := entry.get("identitytoken"):
        return Credentials(token=str(token))
    if not entry.get("auth"):
        return Credentials(str(entry.get("username", "")), str(entry.get("password", "")))
    try:
        user, _, password = base64.b64decode(str(entry["auth"]), validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        raise RegistryError(f"the key for {host} in {config_file()} cannot be read. Fix: log in again.") from None
    return Credentials(user, password)


def _helper(name: str, server: str) -> Credentials:
    program = shutil.which(f"docker-credential-{name}")
    if program is None or "/" in name:
        raise RegistryError(
            f"{config_file()} asks docker-credential-{name} for the key of {server}, which is not installed. "
            "Fix: install it, or log in by a tool that writes the key into the file."
        )
    try:
        done = subprocess.run(
            [program, "get"], input=server, capture_output=True, text=True, timeout=_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise RegistryError(
            f"docker-credential-{name} has not answered within {_SECONDS} s. Fix: run it by hand."
        ) from None
    said = (done.stdout + done.stderr).strip()
    if done.returncode:
        if "not found" in said.lower() or "no credentials" in said.lower():
            return Credentials()
        raise RegistryError(f"docker-credential-{name} fails for {server}. Fix: log in there again.")
    try:
        answer = json.loads(done.stdout)
        user, secret = str(answer["Username"]), str(answer["Secret"])
    except (ValueError, KeyError, TypeError):
        raise RegistryError(f"docker-credential-{name} gives no key for {server}. Fix: log in there again.") from None
    return Credentials(token=secret) if user == "<token>" else Credentials(user, secret)
