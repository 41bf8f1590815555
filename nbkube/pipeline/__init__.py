"""The graph a tagged notebook means: steps, parameters, metrics, options."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nbkube.pipeline.build import build_pipeline, check
    from nbkube.pipeline.codec import describe, from_json, to_json
    from nbkube.pipeline.model import Parameter, Pipeline, Step, StepOptions
    from nbkube.pipeline.options import OPTIONS, check_options, option_schema
    from nbkube.pipeline.parameters import parse_parameter

__all__ = [
    "OPTIONS",
    "Parameter",
    "Pipeline",
    "Step",
    "StepOptions",
    "build_pipeline",
    "check",
    "check_options",
    "describe",
    "from_json",
    "option_schema",
    "parse_parameter",
    "to_json",
]

# Imported when first used: a container needs the types of this stage and not what makes them.
_HOMES = {
    "OPTIONS": "nbkube.pipeline.options",
    "Parameter": "nbkube.pipeline.model",
    "Pipeline": "nbkube.pipeline.model",
    "Step": "nbkube.pipeline.model",
    "StepOptions": "nbkube.pipeline.model",
    "build_pipeline": "nbkube.pipeline.build",
    "check": "nbkube.pipeline.build",
    "check_options": "nbkube.pipeline.options",
    "describe": "nbkube.pipeline.codec",
    "from_json": "nbkube.pipeline.codec",
    "option_schema": "nbkube.pipeline.options",
    "parse_parameter": "nbkube.pipeline.parameters",
    "to_json": "nbkube.pipeline.codec",
}


def __getattr__(name: str) -> object:
    """Import a public name on its first use."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
