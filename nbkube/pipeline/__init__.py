"""The graph a tagged notebook means: steps, parameters, metrics, options."""

from __future__ import annotations

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
