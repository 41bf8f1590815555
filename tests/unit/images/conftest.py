"""A real registry for the whole session, a small base in it, and an index of small wheels for each test."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from nbkube.images import Environment, Requirement
from nbkube.images.build import Builder, Settings
from nbkube.images.cache import ImageCache
from tests import registries, wheelhouse


@pytest.fixture(scope="session")
def registry_host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """HOST:PORT of a registry that is open to all."""
    with registries.running(tmp_path_factory.mktemp("registry")) as host:
        yield host


@pytest.fixture(scope="session")
def base(registry_host: str) -> str:
    """A base that images are built upon."""
    return registries.push_base(registry_host, "bases/small", registries.small_base())


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that is uv's only index here."""
    folder = tmp_path / "wheels"
    wheelhouse.make_runtime(folder)
    wheelhouse.make_wheel(folder, "alpha", "1.0")
    wheelhouse.make_wheel(folder, "beta", "2.0", requires=["alpha"])
    for name in ("UV_INDEX", "UV_DEFAULT_INDEX", "UV_INDEX_URL", "UV_EXTRA_INDEX_URL", "UV_FIND_LINKS"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "uv.toml").write_text(f'no-index = true\nfind-links = ["{folder}"]\n')
    monkeypatch.setenv("UV_CONFIG_FILE", str(tmp_path / "uv.toml"))
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv"))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    return folder


Make = Callable[..., Builder]


@pytest.fixture
def builder(tmp_path: Path, wheels: Path, registry_host: str, base: str) -> Make:
    """Make a builder; settings may be given by name."""

    def make(cache: str = "cache", **given: object) -> Builder:
        settings = {"base": base, "registry": f"{registry_host}/team", "plain_http": (registry_host,), **given}
        return Builder(Settings(**settings), cache=ImageCache(tmp_path / cache, 1 << 30))  # type: ignore[arg-type]

    return make


def environment(requirements: Sequence[str], steps: Sequence[str] = ("train",)) -> Environment:
    return Environment(tuple(steps), tuple(Requirement(one, "a test") for one in requirements))
