"""Which server and which credentials: what the AWS variables and files say, and nothing else.

Nothing is guessed and no credentials are built in. Secrets are read when they are needed and again when the server
refuses them, so that a rotated key counts from the next request on.
"""

from __future__ import annotations

import configparser
import os
import re
from collections.abc import Mapping
from datetime import UTC
from pathlib import Path
from urllib.parse import unquote, urlsplit

import msgspec

from nbkube.errors import LocationError
from nbkube.storage.s3.signing import Keys

_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]\Z")
_ADDRESS = re.compile(r"\d+\.\d+\.\d+\.\d+\Z")
_MAX_PREFIX = 120
_IDENTITY = (
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
)


class Place(msgspec.Struct, frozen=True):
    """A bucket and a prefix in it ("" or ending in '/')."""

    bucket: str
    prefix: str = ""

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.prefix}"


def parse_url(url: str) -> Place:
    """Return the place an `s3://bucket/prefix` URL names.

    Raises:
        LocationError: the URL is no such URL; bucket or prefix break the rules.
    """
    scheme, separator, rest = url.partition("://")
    bucket, _, prefix = rest.partition("/")
    if scheme != "s3" or not separator:
        raise LocationError(f"{url[:200]}: expected s3://BUCKET/PREFIX.")
    return Place(check_bucket(bucket), check_key_prefix(prefix.strip("/")))


def check_bucket(name: str) -> str:
    """Return a bucket's name, or raise `LocationError` where S3 allows no such name."""
    if not _BUCKET.match(name) or ".." in name or _ADDRESS.match(name):
        raise LocationError(
            f"{name[:80]!r} is no bucket name: 3 to 63 lower-case letters, digits, dots and dashes, "
            "the first and the last a letter or digit."
        )
    return name


def check_key_prefix(prefix: str) -> str:
    """Return the prefix of a store's keys with its '/', or raise `LocationError`."""
    if not prefix:
        return ""
    fault = key_fault(prefix)
    if not fault and len(prefix.encode()) > _MAX_PREFIX:
        fault = f"it is longer than {_MAX_PREFIX} bytes"
    if fault:
        raise LocationError(f"{prefix[:80]!r} cannot be the prefix of a store: {fault}.")
    return prefix + "/"


def key_fault(key: str) -> str:
    """Return why a text must not name an object ("" if it may): what some server refuses, alters or takes as a path."""
    try:
        raw = key.encode()
    except UnicodeEncodeError:
        return "it holds characters that have no UTF-8 form"
    segments = key.split("/")
    if any(segment in ("", ".", "..") for segment in segments):
        return "a segment is empty, '.' or '..'"
    if any(len(segment.encode()) > 255 for segment in segments) or len(raw) > 1024:
        return "it is longer than S3 servers take (255 bytes a segment, 1,024 bytes in all)"
    if any(ord(character) < 32 or ord(character) == 127 for character in key):
        return "it holds a control character"
    return ""


class Server(msgspec.Struct, frozen=True):
    """Where requests go: `endpoint` is `http(s)://host[:port]`; `ca_file` holds the certificates it is checked by."""

    endpoint: str
    region: str
    ca_file: str | None = None

    @property
    def host(self) -> str:
        """Host and port as the `Host` header has them: without the scheme's own port."""
        parts = urlsplit(self.endpoint)
        own = {"http": 80, "https": 443}[parts.scheme]
        name = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname or ""
        return name if parts.port in (None, own) else f"{name}:{parts.port}"

    @property
    def secure(self) -> bool:
        """Whether requests are encrypted."""
        return self.endpoint.startswith("https://")


def find_server(environment: Mapping[str, str] | None = None) -> Server:
    """Return the S3 server that the environment names; Amazon's own where it names none.

    `AWS_ENDPOINT_URL_S3`, `AWS_ENDPOINT_URL`, then `endpoint_url` of the profile; region likewise from `AWS_REGION`,
    `AWS_DEFAULT_REGION`, `region` of the profile, else us-east-1. `AWS_CA_BUNDLE` names the certificates of an own
    authority (`SSL_CERT_FILE` is honoured by OpenSSL itself).

    Raises:
        LocationError: what is named is no address of a server.
    """
    env = os.environ if environment is None else environment
    profile = _profile(env)
    region = env.get("AWS_REGION") or env.get("AWS_DEFAULT_REGION") or profile.get("region") or "us-east-1"
    endpoint = env.get("AWS_ENDPOINT_URL_S3") or env.get("AWS_ENDPOINT_URL") or profile.get("endpoint_url") or ""
    if not endpoint:
        suffix = ".cn" if region.startswith("cn-") else ""
        endpoint = f"https://s3.{region}.amazonaws.com{suffix}"
    ca_file = env.get("AWS_CA_BUNDLE") or profile.get("ca_bundle") or None
    if ca_file and not Path(ca_file).is_file():
        raise LocationError(f"AWS_CA_BUNDLE={ca_file}: there is no such file. Name a file of PEM certificates.")
    return Server(_checked_endpoint(endpoint), region, ca_file)


def _checked_endpoint(endpoint: str) -> str:
    try:
        parts = urlsplit(endpoint)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    if parts.username or parts.password:
        raise LocationError(
            "AWS_ENDPOINT_URL holds credentials. Put them into AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."
        )
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.path.strip("/") or parts.query:
        raise LocationError(
            f"{unquote(endpoint)[:200]!r} is no address of an S3 server. "
            "Set AWS_ENDPOINT_URL to http(s)://HOST:PORT without a path."
        )
    name = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{name}" + (f":{port}" if port else "")


def find_credentials(environment: Mapping[str, str] | None = None) -> Keys:
    """Return the credentials that the environment names, read anew at each call.

    In this order: the profile `NBKUBE_S3_PROFILE` of the AWS files (how a profile of nbkube's names its own); the
    folder `NBKUBE_S3_CREDENTIALS` (a mounted Kubernetes Secret whose keys are called like the variables),
    `AWS_ACCESS_KEY_ID` with `AWS_SECRET_ACCESS_KEY` and `AWS_SESSION_TOKEN`, the profile `AWS_PROFILE` (or `default`)
    in `~/.aws/credentials` and `~/.aws/config` or the files named by `AWS_SHARED_CREDENTIALS_FILE` and
    `AWS_CONFIG_FILE`, and the identity that a cluster gives a pod (web identity or container credentials).

    Raises:
        LocationError: there are none, or only half of them.
    """
    env = os.environ if environment is None else environment
    if named := env.get("NBKUBE_S3_PROFILE"):
        if own := _from_files({**env, "AWS_PROFILE": named}):
            return Keys(*own)
        raise LocationError(
            f"the profile {named} in {_credentials_file(env)} has no keys. Add aws_access_key_id to it."
        )
    folder = env.get("NBKUBE_S3_CREDENTIALS")
    found = _from_folder(Path(folder)) if folder else None
    found = found or _from_variables(env) or _from_files(env)
    if found:
        return Keys(*found)
    if any(env.get(name) for name in _IDENTITY):
        return _from_identity(env)
    raise LocationError(
        "no credentials for S3. Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE to a profile in "
        f"{_credentials_file(env)}, or NBKUBE_S3_CREDENTIALS to a folder with files of these names."
    )


def _from_identity(env: Mapping[str, str]) -> Keys:
    from minio.credentials.providers import IamAwsProvider

    try:
        found = IamAwsProvider(region=env.get("AWS_REGION") or env.get("AWS_DEFAULT_REGION")).retrieve()
    except (ValueError, OSError) as error:
        raise LocationError(f"the identity of this pod gives no S3 credentials: {error}.") from error
    expires = found.expiration
    if expires is not None and expires.tzinfo is None:
        expires = expires.replace(tzinfo=UTC)
    return Keys(found.access_key, found.secret_key, found.session_token, expires)


_Keys = tuple[str, str, str | None]


def _complete(access: str, secret: str, token: str, place: str) -> _Keys | None:
    if not access and not secret:
        return None
    if not (access and secret):
        missing = "AWS_SECRET_ACCESS_KEY" if access else "AWS_ACCESS_KEY_ID"
        raise LocationError(f"{place} holds no {missing}, only the other half of the credentials. Add it.")
    return access, secret, token or None


def _from_folder(folder: Path) -> _Keys | None:
    def content(name: str) -> str:
        try:
            return (folder / name).read_text().strip()
        except FileNotFoundError:
            return ""
        except (OSError, UnicodeDecodeError) as error:
            raise LocationError(f"NBKUBE_S3_CREDENTIALS: {folder / name} cannot be read: {error}.") from error

    found = _complete(
        content("AWS_ACCESS_KEY_ID"), content("AWS_SECRET_ACCESS_KEY"), content("AWS_SESSION_TOKEN"), str(folder)
    )
    if not found:
        raise LocationError(
            f"NBKUBE_S3_CREDENTIALS={folder}: there are no files AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."
        )
    return found


def _from_variables(env: Mapping[str, str]) -> _Keys | None:
    access, secret = env.get("AWS_ACCESS_KEY_ID", ""), env.get("AWS_SECRET_ACCESS_KEY", "")
    return _complete(access, secret, env.get("AWS_SESSION_TOKEN", ""), "the environment")


def _from_files(env: Mapping[str, str]) -> _Keys | None:
    profile = _profile(env)
    place = f"profile {env.get('AWS_PROFILE') or 'default'} in {_credentials_file(env)}"
    keys = [profile.get(f"aws_{name}", "") for name in ("access_key_id", "secret_access_key", "session_token")]
    return _complete(keys[0], keys[1], keys[2], place)


def _credentials_file(env: Mapping[str, str]) -> str:
    return env.get("AWS_SHARED_CREDENTIALS_FILE") or os.path.expanduser("~/.aws/credentials")


def _profile(env: Mapping[str, str]) -> dict[str, str]:
    """Return the settings of the profile in force; those of the credentials file win over those of the config file."""
    name = env.get("AWS_PROFILE") or "default"
    config = env.get("AWS_CONFIG_FILE") or os.path.expanduser("~/.aws/config")
    found: dict[str, str] = {}
    for path, sections in ((config, (f"profile {name}", name)), (_credentials_file(env), (name,))):
        parser = configparser.RawConfigParser()
        try:
            parser.read(path)
        except (configparser.Error, UnicodeDecodeError, OSError) as error:
            raise LocationError(f"{path} is no AWS configuration file: {type(error).__name__}.") from error
        for section in sections:
            if parser.has_section(section):
                found.update(parser.items(section))
                break
    if env.get("AWS_PROFILE") and not found:
        raise LocationError(f"AWS_PROFILE={name}: there is no such profile in {config} or {_credentials_file(env)}.")
    return found
