"""Pushing to a real registry, straight and through a server that lets things go wrong."""

from __future__ import annotations

import base64
import json
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
import urllib3

from nbkube.errors import RegistryError
from nbkube.images import registry as module
from nbkube.images.credentials import Credentials, credentials
from nbkube.images.registry import Registry
from tests import faulty_registry, registries
from tests.faulty_registry import PASSWORD, USER, Fault
from tests.unit.images.conftest import Make, environment

_NOBODY = Credentials()


def _keys(_: str) -> Credentials:
    return Credentials(USER, PASSWORD)


def _open(host: str, keys: Callable[[str], Credentials] = lambda _: _NOBODY) -> Registry:
    return Registry(host, plain_http=True, keys=keys, pause=0.001)


_CONTENT = os.urandom(300_000)
_DIGEST = f"sha256:{__import__('hashlib').sha256(_CONTENT).hexdigest()}"


def _upload(registry: Registry, repository: str) -> None:
    registry.upload(repository, _DIGEST, len(_CONTENT), lambda: _CONTENT)


def _times(count: int, matches: Callable[[str, str], bool], answer: tuple[int, dict[str, str], bytes] | str) -> Fault:
    """Return a fault that happens `count` times."""
    left = [count]

    def fault(method: str, path: str) -> tuple[int, dict[str, str], bytes] | str | None:
        if left[0] and matches(method, path):
            left[0] -= 1
            return answer
        return None

    return fault


def _puts(method: str, path: str) -> bool:
    return method == "PUT" and "digest=" in path


def _everything(*_: str) -> bool:
    return True


def _refusal(status: int, message: str = "") -> tuple[int, dict[str, str], bytes]:
    return status, {}, json.dumps({"errors": [{"code": "X", "message": message}]}).encode()


_PASSING = {
    "429": _times(2, _everything, (429, {"Retry-After": "0"}, b"")),
    "500": _times(2, _puts, _refusal(500, "try again")),
    "503 to the first request": _times(1, _everything, _refusal(503)),
    "cut in mid-blob": _times(3, _puts, "cut"),
    "cut anywhere": _times(3, _everything, "cut"),
    "413 to whole blobs": _times(1, _puts, (413, {}, b"<html>too large</html>")),
}


@pytest.mark.parametrize("name", _PASSING)
def test_what_passes_is_tried_again(name: str, registry_host: str) -> None:
    with faulty_registry.before(registry_host, _PASSING[name]) as server:
        repository = f"passing/{name.replace(' ', '-').lower()}"
        _upload(_open(server.host), repository)
        assert _open(registry_host).has(repository, _DIGEST)
        assert b"".join(_open(registry_host).read(repository, _DIGEST)) == _CONTENT


_LASTING: dict[str, tuple[Fault, str]] = {
    "429": (_times(99, _everything, _refusal(429, "slow down")), r"answers 429: slow down\. .*Fix: try again later"),
    "500": (_times(99, _puts, _refusal(500)), r"answers 500.*Nothing is half-pushed\. Fix: try again later"),
    "cut": (_times(99, _puts, "cut"), r"cannot be reached \(.*\)\. Nothing is half-pushed"),
    "403": (
        _times(99, _everything, _refusal(403, "denied")),
        r"does not let us push to .* \(403: denied\)\. Fix: log in",
    ),
    "full": (
        _times(99, _puts, _refusal(500, "write: no space left on device")),
        r"is full \(500.*Fix: have old images",
    ),
    "quota": (_times(99, _puts, _refusal(413, "quota exceeded")), r"is full \(413: quota exceeded"),
    "507": (_times(99, _puts, (507, {}, b"")), r"is full \(507\)"),
    "405": (_times(99, _everything, _refusal(405, "read-only")), r"answers 405: read-only\. Fix: ask whoever runs it"),
    "413 to all": (_times(99, lambda m, _: m in ("PUT", "PATCH"), (413, {}, b"")), r"answers 413"),
    "404": (_times(99, _everything, _refusal(404, "no such name")), r"does not have what was asked for \(404: no such"),
    "words of a page": (_times(99, _everything, (502, {}, b"<html>bad gateway</html>")), r"answers 502\. "),
}


@pytest.mark.parametrize("name", _LASTING)
def test_what_lasts_is_one_sentence_and_nothing_is_half_pushed(name: str, registry_host: str) -> None:
    fault, expected = _LASTING[name]
    with faulty_registry.before(registry_host, fault) as server:
        repository = f"lasting/{name.replace(' ', '-')}"
        with pytest.raises(RegistryError, match=expected) as refused:
            _upload(_open(server.host), repository)
        assert refused.value.exit_code == 3
        assert "Fix: " in str(refused.value)
        assert "\n" not in str(refused.value)
        assert not _open(registry_host).has(repository, _DIGEST)


def test_a_failed_push_leaves_no_image(builder: Make, registry_host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.Registry, "_wait", lambda *_: None)
    largest = [0]

    def fault(method: str, path: str) -> str | None:
        largest[0] += _puts(method, path)
        return "cut" if largest[0] > 2 and _puts(method, path) else None

    with faulty_registry.before(registry_host, fault) as server:
        maker = builder(registry=f"{server.host}/half", plain_http=(server.host, registry_host))
        prepared = maker.prepare(environment(["beta"]))
        with pytest.raises(RegistryError, match="Nothing is half-pushed"):
            maker.push(prepared)
    tags = urllib3.request("GET", f"http://{registry_host}/v2/half/nbkube-steps/tags/list")
    assert tags.status == 404 or not tags.json()["tags"]


def test_a_layer_that_the_registry_lost_meanwhile_is_sent_again(builder: Make, registry_host: str) -> None:
    """Layers seen a moment ago are not asked for; the registry's refusal of the manifest tells that one is gone."""
    maker = builder(registry=f"{registry_host}/lost")
    first = maker.prepare(environment(["alpha"]))
    maker.push(first)
    assert first.image is not None
    lost = first.image.own[0]
    place = f"http://{registry_host}/v2/lost/nbkube-steps/blobs/{lost}"
    assert urllib3.request("DELETE", place).status == 202
    second = maker.push(maker.prepare(environment(["alpha", "beta"])))
    assert second.layers_sent > 0
    assert urllib3.request("HEAD", place).status == 200
    assert _open(registry_host).has_manifest("lost/nbkube-steps", second.digest)


# -- keys --------------------------------------------------------------------------------------------------------------


def test_tokens_are_asked_for_and_asked_for_again_when_they_expire(registry_host: str) -> None:
    with faulty_registry.before(registry_host, tokens=True, uses=2) as server:
        registry = _open(server.host, _keys)
        _upload(registry, "tokens/expiring")
        assert registry.has("tokens/expiring", _DIGEST)
        assert len(server.given) > 2


def test_an_identity_token_is_exchanged(registry_host: str) -> None:
    with faulty_registry.before(registry_host, tokens=True) as server:
        _upload(_open(server.host, lambda _: Credentials(token="identity")), "tokens/identity")


def test_a_wrong_password_is_told(registry_host: str) -> None:
    with faulty_registry.before(registry_host, tokens=True) as server:
        with pytest.raises(
            RegistryError, match=r"refused or has expired \(401: bad credentials.*docker login"
        ) as refused:
            _upload(_open(server.host, lambda _: Credentials(USER, "guess-me")), "tokens/wrong")
        assert "guess-me" not in str(refused.value)
        with pytest.raises(RegistryError, match="gives no token without a key"):
            _upload(_open(server.host), "tokens/none")


_CHALLENGES = {
    'Bearer realm="http://127.0.0.1:1/token"': "cannot be reached",
    "Basic": r"asks for a login\. Fix: docker login",
    "Negotiate": "asks for a login of the kind 'Negotiate'",
    "": "asks for a login of the kind ''",
}


@pytest.mark.parametrize("challenge", _CHALLENGES)
def test_odd_challenges_are_told(challenge: str, registry_host: str) -> None:
    fault = _times(99, _everything, (401, {"WWW-Authenticate": challenge}, b""))
    with (
        faulty_registry.before(registry_host, fault) as server,
        pytest.raises(RegistryError, match=_CHALLENGES[challenge]),
    ):
        _upload(_open(server.host), "odd/challenge")


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[object], Path]:
    def write(config: object) -> Path:
        path = tmp_path / "docker" / "config.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(config if isinstance(config, str) else json.dumps(config))
        monkeypatch.setenv("DOCKER_CONFIG", str(path.parent))
        return path

    return write


def _helper(folder: Path, name: str, script: str) -> None:
    path = folder / f"docker-credential-{name}"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def test_keys_come_from_where_container_tools_keep_them(
    tmp_path: Path, docker: Callable[[object], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    auth = base64.b64encode(b"ann:a:b").decode()
    docker({"auths": {"https://r.example": {"auth": auth}, "t.example": {"identitytoken": "it"}, "e.example": {}}})
    assert credentials("r.example") == Credentials("ann", "a:b")
    assert credentials("t.example") == Credentials(token="it")
    assert not credentials("e.example")
    assert not credentials("nobody.example")
    _helper(tmp_path, "good", 'read server; echo "{\\"Username\\": \\"$server\\", \\"Secret\\": \\"s\\"}"')
    docker({"credHelpers": {"h.example": "good"}})
    assert credentials("h.example") == Credentials("h.example", "s")
    docker({"credsStore": "good"})
    assert credentials("docker.io").user == "https://index.docker.io/v1/"
    _helper(tmp_path, "token", 'echo \'{"Username": "<token>", "Secret": "it"}\'')
    docker({"credsStore": "token"})
    assert credentials("x.example") == Credentials(token="it")
    _helper(tmp_path, "empty", "echo credentials not found in native keychain; exit 1")
    docker({"credsStore": "empty", "auths": {"x.example": {"auth": auth}}})
    assert credentials("x.example") == Credentials("ann", "a:b")
    assert "a:b" not in repr(Credentials("ann", "a:b"))


_BROKEN: dict[str, tuple[object, str]] = {
    "no JSON": ("{", r"is no JSON object, so there are no keys for x\.example\. Fix: log in again"),
    "a list": ([], "is no JSON object"),
    "no base64": (
        {"auths": {"x.example": {"auth": "%%%"}}},
        r"the key for x\.example .* cannot be read\. Fix: log in again",
    ),
    "missing helper": ({"credsStore": "absent"}, r"docker-credential-absent .*not installed\. Fix: install it"),
    "a path as helper": ({"credsStore": "../bin/sh"}, "not installed"),
    "failing helper": ({"credsStore": "bad"}, r"docker-credential-bad fails for x\.example\. Fix: log in there again"),
    "babbling helper": ({"credsStore": "odd"}, r"docker-credential-odd gives no key for x\.example"),
}


@pytest.mark.parametrize("name", _BROKEN)
def test_keys_that_cannot_be_had_are_told(
    name: str, tmp_path: Path, docker: Callable[[object], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    _helper(tmp_path, "bad", "echo secret-thing >&2; exit 3")
    _helper(tmp_path, "odd", "echo hello")
    config, expected = _BROKEN[name]
    docker(config)
    with pytest.raises(RegistryError, match=expected) as refused:
        credentials("x.example")
    assert "secret-thing" not in str(refused.value)


# -- encryption --------------------------------------------------------------------------------------------------------


def test_a_registry_without_encryption_must_be_allowed(registry_host: str) -> None:
    with pytest.raises(RegistryError, match=r"certificate.*not accepted.*plain-http|cannot be reached"):
        Registry(registry_host, pause=0.001).has("x", _DIGEST)


def test_a_host_that_is_not_there_is_told() -> None:
    port = registries.free_port()
    with pytest.raises(RegistryError, match=rf"127\.0\.0\.1:{port} cannot be reached .*Fix: try again later"):
        _open(f"127.0.0.1:{port}").has("x", _DIGEST)
    with pytest.raises(RegistryError, match=r"nowhere\.invalid cannot be found from here\. Fix: correct its name"):
        _open("nowhere.invalid").has("x", _DIGEST)


def test_a_missing_authority_is_told(tmp_path: Path) -> None:
    from nbkube.errors import NbkubeError

    with pytest.raises(NbkubeError, match="registry-ca"):
        Registry("r.example", ca=str(tmp_path / "none.pem")).has("x", _DIGEST)
