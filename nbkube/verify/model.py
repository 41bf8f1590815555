"""What a comparison of a notebook with its pipeline says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec

from nbkube.runtime.program import Failure
from nbkube.state.model import OutputRef
from nbkube.state.snapshot import FileView

Aspect = Literal["variable", "file", "metric", "outcome"]


@dataclass(frozen=True)
class PipelineResult:
    """What one run of the pipeline has left: bindings at the notebook's end, all files, metrics, or its failure.

    `store` is the address of the store that holds the bindings; it lies outside the project.
    """

    bindings: Mapping[str, OutputRef]
    files: FileView
    metrics: Mapping[str, Any] = field(default_factory=dict)
    failure: Failure | None = None
    seconds: float = 0.0
    store: str = ""


class VerifyDifference(msgspec.Struct, frozen=True):
    """One thing that is not the same: `path` within `name`, `left` in the notebook, `right` in the pipeline.

    `run` tells which run of the pipeline: `as scheduled`, `adversarial`, or `both`.
    """

    aspect: Aspect
    name: str
    path: str
    left: str
    right: str
    run: str

    def __str__(self) -> str:
        return f"{self.aspect} {self.path or self.name}: {self.left} in the notebook, {self.right} in the pipeline"


class Verification(msgspec.Struct, frozen=True):
    """The verdict. `varying` are variables and files that differ between two runs of the notebook itself and were
    compared by type and shape only; `unstored` variables that no step could store, compared by type only; `failure`
    says how both ended when the notebook itself fails."""

    equal: bool
    differences: tuple[VerifyDifference, ...] = ()
    varying: tuple[str, ...] = ()
    unstored: tuple[str, ...] = ()
    failure: str = ""
    notebook_seconds: float = 0.0
    pipeline_seconds: float = 0.0
