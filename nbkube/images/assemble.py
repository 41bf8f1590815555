"""Base and layers as an OCI image. No dates, no names of people or machines: equal parts give an equal digest."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from nbkube.images.model import CONFIG, LAYER, MANIFEST, SITE, Base, Blob, Image

USER = "1000:1000"
_NO_TIME = "1970-01-01T00:00:00Z"


def assemble(
    base: Base, layers: Sequence[tuple[Blob, str]], labels: Mapping[str, str], command: Sequence[str]
) -> Image:
    """Return an image.

    Args:
        base: what lies below.
        layers: from the lowest up, each with a line on what it holds.
        labels: for whoever looks at the image.
        command: what it runs when it is told nothing else.
    """
    own = [blob for blob, _ in layers]
    config = json.loads(base.config)
    inner: dict[str, Any] = dict(config.get("config") or {})
    inner["Env"] = _environment(inner.get("Env") or [])
    inner["User"] = USER
    inner["WorkingDir"] = "/tmp"
    inner["Cmd"] = list(command)
    inner.pop("Entrypoint", None)
    inner["Labels"] = dict(sorted({**(inner.get("Labels") or {}), **labels}.items()))
    history = _history(config, len(base.layers))
    history += [{"created": _NO_TIME, "created_by": f"nbkube: {text}"} for _, text in layers]
    made = {
        "architecture": base.architecture,
        "os": "linux",
        "created": _NO_TIME,
        "config": inner,
        "rootfs": {"type": "layers", "diff_ids": [one.diff_id for one in (*base.layers, *own)]},
        "history": history,
    }
    data = _canonical(made)
    manifest = _canonical(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": {"mediaType": CONFIG, "digest": f"sha256:{hashlib.sha256(data).hexdigest()}", "size": len(data)},
            "layers": [
                {"mediaType": _oci(one.media_type), "digest": one.digest, "size": one.size}
                for one in (*base.layers, *own)
            ],
            "annotations": {"org.opencontainers.image.base.digest": base.digest},
        }
    )
    digest = f"sha256:{hashlib.sha256(manifest).hexdigest()}"
    return Image(digest, manifest, data, (*base.layers, *own), base, tuple(one.digest for one in own))


def added_variables(base: Base) -> dict[str, str]:
    """Return the variables that an image upon a base has and the base has not, or otherwise."""
    given = (json.loads(base.config).get("config") or {}).get("Env") or []
    return dict(one.partition("=")[::2] for one in _environment(given) if one not in given)


def _environment(given: Sequence[str]) -> list[str]:
    """Return the base's variables with ours: our distributions come first, nothing is written beside them."""
    found = dict(one.partition("=")[::2] for one in given)
    before = found.get("PYTHONPATH", "")
    path = found.get("PATH", "/usr/local/bin:/usr/bin:/bin")
    found |= {
        "PYTHONPATH": f"{SITE}:{before}" if before else SITE,
        "PATH": f"{path}:{SITE}/bin",
        "HOME": "/tmp",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    found.setdefault("LANG", "C.UTF-8")
    return [f"{name}={value}" for name, value in sorted(found.items())]


def _history(config: Mapping[str, Any], count: int) -> list[dict[str, Any]]:
    """Return the base's history; readers refuse one that speaks of another number of layers than there are."""
    known = [dict(one) for one in config.get("history") or ()]
    if sum(1 for one in known if not one.get("empty_layer")) != count:
        known = [{"created": _NO_TIME, "created_by": "base"} for _ in range(count)]
    return known


def _oci(media_type: str) -> str:
    """Return a layer's media type in OCI's words: a manifest holds those of one family."""
    docker = "application/vnd.docker.image.rootfs.diff.tar.gzip"
    return LAYER if media_type == docker else media_type


def _canonical(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
