"""The graph a tagged notebook means: steps, parameters, metrics, options.

The names below are loaded when first used: a process that only reads the types does not load the checks.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

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

_MODULES = {
    **dict.fromkeys(("build_pipeline", "check"), "build"),
    **dict.fromkeys(("describe", "from_json", "to_json"), "codec"),
    **dict.fromkeys(("OPTIONS", "check_options", "option_schema"), "options"),
    "parse_parameter": "parameters",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES.get(name, 'model')}"), name)
