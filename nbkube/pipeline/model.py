"""The frozen types of a pipeline."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from nbkube.dataflow.model import Flow, Unit
from nbkube.errors import Diagnostic, Place
from nbkube.notebook.model import Notebook

StepKind = Literal["setup", "step", "metrics", "checks"]


class Toleration(msgspec.Struct, frozen=True, omit_defaults=True):
    """A Kubernetes toleration `KEY[=VALUE][:EFFECT]`."""

    key: str
    value: str | None = None
    effect: str = ""


class Volume(msgspec.Struct, frozen=True, omit_defaults=True):
    """`PVC:PATH` (an existing claim) or `new:SIZE[:CLASS]:PATH`."""

    path: str
    claim: str = ""
    size: str = ""
    storage_class: str = ""


class Secret(msgspec.Struct, frozen=True, omit_defaults=True):
    """`NAME` (all keys as environment variables) or `NAME:PATH` (mounted as files).

    Kale's tag `secret:NAME:KEY:VARIABLE` is one `key` as one environment variable `env`.
    """

    name: str
    path: str = ""
    key: str = ""
    env: str = ""


class Wheelhouse(msgspec.Struct, frozen=True, omit_defaults=True):
    """Distributions that a pod unpacks into a base image before the step: `digest` of their list in the store, `folder`
    where they lie in the pod, `environment` the variables by which its Python finds them."""

    digest: str
    folder: str
    environment: dict[str, str] = {}


class StepOptions(msgspec.Struct, frozen=True, omit_defaults=True, rename="kebab"):
    """What a step asks for; names, meaning and syntax are DESIGN section 3's closed list. Quantities are kept as
    the Kubernetes quantity text, `timeout` in seconds, `gpu` as resource name -> count. `wheelhouse` goes with an
    image that nbkube has chosen; no notebook can name one."""

    cpu: str = ""
    memory: str = ""
    gpu: dict[str, int] = {}
    gpu_type: str = ""
    image: str = ""
    env: dict[str, str] = {}
    secret: tuple[Secret, ...] = ()
    volume: tuple[Volume, ...] = ()
    node_selector: dict[str, str] = {}
    toleration: tuple[Toleration, ...] = ()
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    retries: int = 0
    timeout: float | None = None
    cache: bool = True
    when: str = ""
    map: str = ""
    after_failure: bool = False
    workers: int = 0
    ps: int = 0
    chief: bool = False
    framework: str = ""
    model: str = ""
    wheelhouse: Wheelhouse | None = None


class Parameter(msgspec.Struct, frozen=True):
    """A typed pipeline parameter: `type` is one of int, float, str, bool, list, dict, tuple, none, any; `help` from the
    comment above or beside it; `place` where it is assigned. A default that JSON cannot hold (a set, bytes, …) is of
    type any and kept as its Python text."""

    name: str
    type: str
    default: Any
    help: str
    place: Place


class Observed(msgspec.Struct, frozen=True):
    """What a unit was seen to do when the same code ran in the run `run`.

    `files` are paths that it read, with the unit that had written them. `cpu` and `memory` are requests proposed from
    what was measured (`seconds`, `cpu_seconds`, `peak_memory` in bytes), "" where the step has one or nothing is known.
    """

    run: str
    files: dict[str, str] = {}
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak_memory: int = 0
    cpu: str = ""
    memory: str = ""


class Step(msgspec.Struct, frozen=True):
    """One unit of execution in notebook order.

    `name` is the unit's (`train`, `train.2` for a step continued later), `step` the tag's. `after` are the
    unit names that must finish before; `inputs` name -> producing unit; `outputs` the static guess. Where `observed`
    is set, inputs and outputs are those seen in a run.
    """

    name: str
    step: str
    kind: StepKind
    unit: Unit
    options: StepOptions = StepOptions()
    prev: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    inputs: dict[str, str] = {}
    outputs: tuple[str, ...] = ()
    observed: Observed | None = None


class Pipeline(msgspec.Struct, frozen=True):
    """A notebook as a pipeline; `steps[i]` is `flow.units[i]`. Valid unless a diagnostic is an error.

    `values` are the parameter values that were given; the units' cells hold them in place of the defaults.
    """

    name: str
    notebook: Notebook
    steps: tuple[Step, ...]
    parameters: tuple[Parameter, ...]
    metrics: tuple[str, ...]
    flow: Flow
    diagnostics: tuple[Diagnostic, ...] = ()
    values: dict[str, Any] = {}
