"""Workflows as YAML, for people and for kubectl."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def as_yaml(manifest: Mapping[str, Any]) -> str:
    """Return a manifest as YAML that reads back as the very same."""
    import yaml

    text: str = yaml.safe_dump(dict(manifest), sort_keys=False, allow_unicode=True, width=1 << 16)
    assert yaml.safe_load(text) == manifest, "YAML reads back as it was written"
    return text
