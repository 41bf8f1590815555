"""Finding the cluster in kubeconfig files, with the client's own reader on real files."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml

from nbkube.cluster import connect, contexts
from nbkube.cluster.access import find
from nbkube.errors import ClusterError, ProfileError


def kubeconfig(path: Path, *names: str, current: str = "", user: Mapping[str, object] | None = None) -> Path:
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": f"{name}-c", "cluster": {"server": f"https://{name}.example:6443"}} for name in names],
        "users": [{"name": f"{name}-u", "user": user or {"token": f"token-of-{name}"}} for name in names],
        "contexts": [
            {"name": name, "context": {"cluster": f"{name}-c", "user": f"{name}-u", "namespace": f"{name}-ns"}}
            for name in names
        ],
    } | ({"current-context": current} if current else {})
    path.write_text(yaml.safe_dump(document))
    return path


@pytest.fixture(autouse=True)
def _no_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)


def test_several_files_are_one_and_the_first_decides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = kubeconfig(tmp_path / "one", "a", "b", current="b")
    two = kubeconfig(tmp_path / "two", "b", "c", current="c")
    monkeypatch.setenv("KUBECONFIG", os.pathsep.join([str(one), str(tmp_path / "absent"), str(two)]))
    assert [(one.name, one.namespace, one.current) for one in contexts()] == [
        ("a", "a-ns", False),
        ("b", "b-ns", True),
        ("c", "c-ns", False),
    ]
    assert connect().access.server == "https://b.example:6443"
    assert connect("c").namespace == "c-ns"
    assert connect("c", "mine").namespace == "mine"


def test_the_variable_is_read_at_each_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert contexts() == ()
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig(tmp_path / "one", "a")))
    assert [one.name for one in contexts()] == ["a"]


def test_no_cluster_says_what_to_do() -> None:
    with pytest.raises(ClusterError, match=r"no kubeconfig and no service account\. Fix: set KUBECONFIG") as caught:
        connect()
    assert caught.value.exit_code == 3


def test_no_current_context_names_those_there_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig(tmp_path / "one", "a", "b")))
    with pytest.raises(ClusterError, match=r"no current context.*there are: a, b"):
        connect()


def test_an_unknown_context_names_the_near_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig(tmp_path / "one", "prod", "stage")))
    with pytest.raises(ProfileError, match=r"no context 'porod'\. Fix: did you mean prod\?"):
        connect("porod")


@pytest.mark.parametrize("text", ["a: [", "contexts: [3]", "[]", "contexts: [{context: {}}]", "\x00"])
def test_a_broken_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    (tmp_path / "config").write_text(text)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))
    with pytest.raises(ClusterError, match=r"kubeconfig .*config"):
        connect()


def test_an_exec_plugin_gives_the_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plugin = tmp_path / "plugin"
    answer = '{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{"token":"from-plugin"}}'
    plugin.write_text(f"#!{sys.executable}\nprint({answer!r})\n")
    plugin.chmod(plugin.stat().st_mode | stat.S_IXUSR)
    user = {
        "exec": {
            "apiVersion": "client.authentication.k8s.io/v1",
            "command": str(plugin),
            "interactiveMode": "Never",
        }
    }
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig(tmp_path / "one", "a", current="a", user=user)))
    settings = find("", "")[1]
    assert [one["value"] for one in settings.auth_settings().values()] == ["Bearer from-plugin"]

    plugin.write_text("#!/bin/sh\necho no access >&2; exit 1\n")
    with pytest.raises(ClusterError, match=r"context 'a' gives no credentials: exec: process returned 1"):
        connect()
    plugin.unlink()
    with pytest.raises(ClusterError, match=r"gives no credentials: .*No such file or directory: '.*plugin'"):
        connect()


def test_a_closed_port_is_told_with_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = kubeconfig(tmp_path / "one", "a", current="a")
    path.write_text(path.read_text().replace("https://a.example:6443", "https://127.0.0.1:9"))
    monkeypatch.setenv("KUBECONFIG", str(path))
    monkeypatch.setattr("nbkube.cluster.connection.DEADLINE", 0.3)
    with pytest.raises(ClusterError) as caught:
        connect().version()
    assert str(caught.value) == (
        "context 'a' does not answer at https://127.0.0.1:9: connection refused. "
        "Fix: check network and VPN; kubectl --context a get --raw /readyz shows whether it is up"
    )
    assert caught.value.exit_code == 3
