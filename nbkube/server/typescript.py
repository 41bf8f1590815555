"""The types of the wire as TypeScript interfaces: `python -m nbkube.server.typescript > labextension/src/core/wire.ts`.

They are made from the JSON Schema of the Python types, so that both sides cannot come apart; a test compares the
committed file with what is made here.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Any

from nbkube.server.openapi import document

_SIMPLE = {"string": "string", "integer": "number", "number": "number", "boolean": "boolean", "null": "null"}
_HEAD = """\
// Generated from the Python types by `python -m nbkube.server.typescript`; do not edit.
"""


def interfaces() -> str:
    """Return the TypeScript source."""
    schemas: Mapping[str, Any] = document()["components"]["schemas"]
    return _HEAD + "".join(_interface(name, schemas[name]) for name in sorted(schemas))


def _interface(name: str, schema: Mapping[str, Any]) -> str:
    required = set(schema.get("required", ()))
    lines = [
        f"  readonly {field}{'' if field in required else '?'}: {_type(described)};\n"
        for field, described in schema.get("properties", {}).items()
    ]
    comment = "\n * ".join(line.strip() for line in schema.get("description", "").splitlines())
    return f"\n/** {comment} */\nexport interface {name} {{\n{''.join(lines)}}}\n"


def _type(schema: Mapping[str, Any]) -> str:
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if "enum" in schema:
        return " | ".join(json.dumps(one) for one in schema["enum"])
    if "anyOf" in schema:
        return " | ".join(_type(one) for one in schema["anyOf"])
    kind = schema.get("type")
    if kind == "array":
        items = schema.get("items", {})
        inner = _type(items) if isinstance(items, Mapping) else "unknown"
        return f"readonly ({inner})[]" if " " in inner else f"readonly {inner}[]"
    if kind == "object":
        values = schema.get("additionalProperties", {})
        return f"Readonly<Record<string, {_type(values) if isinstance(values, Mapping) else 'unknown'}>>"
    return _SIMPLE.get(str(kind), "unknown")


if __name__ == "__main__":
    sys.stdout.write(interfaces())
