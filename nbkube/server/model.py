"""What goes over the wire: the types of requests and answers. TypeScript and OpenAPI are generated from them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from nbkube.errors import Severity

Text = Annotated[str, Meta(max_length=1024)]
"""A path, say. All texts of an address together must fit the 64 KiB that tornado takes of a request's head, each
character being twelve bytes at worst: beyond that there is no answer at all."""
Name = Annotated[str, Meta(max_length=200)]
Values = dict[str, Any]


class Struct(msgspec.Struct, frozen=True, kw_only=True):
    """Base of all answers: every field is always there."""


class Body(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of all requests: an unknown field is a mistake of the caller."""


# -- a notebook ----------------------------------------------------------------------------------------------------


class NotebookBody(Body, frozen=True, kw_only=True):
    """A notebook as it is in the editor: `content` is its JSON (outputs may be left out); none means the saved file."""

    path: Text
    content: dict[str, Any] | None = None


class Problem(Struct, frozen=True, kw_only=True):
    """A finding about a notebook. `cell` counts all cells from 1, `line` the cell's lines from 1."""

    severity: Severity
    code: str
    message: str
    hint: str
    cell: int | None
    cell_id: str
    line: int | None


class StepInput(Struct, frozen=True, kw_only=True):
    """A variable and the step it comes from."""

    name: str
    source: str


class PipelineStep(Struct, frozen=True, kw_only=True):
    """One step (one row, also where it is continued later): its cells by number, and its options as they are set."""

    name: str
    kind: Literal["setup", "step", "metrics", "checks"]
    cells: tuple[int, ...]
    after: tuple[str, ...]
    inputs: tuple[StepInput, ...]
    outputs: tuple[str, ...]
    options: Values


class PipelineEdge(Struct, frozen=True, kw_only=True):
    """`consumer` needs `names` of `producer`; without names it only comes after it."""

    producer: str
    consumer: str
    names: tuple[str, ...]


class PipelineParameter(Struct, frozen=True, kw_only=True):
    """A parameter of the notebook."""

    name: str
    type: str
    default: Any
    help: str


class PipelineView(Struct, frozen=True, kw_only=True):
    """A notebook as a pipeline. `ready` is false if a problem is an error. `digest` is that of the content."""

    name: str
    digest: str
    ready: bool
    steps: tuple[PipelineStep, ...]
    edges: tuple[PipelineEdge, ...]
    parameters: tuple[PipelineParameter, ...]
    metrics: tuple[str, ...]
    problems: tuple[Problem, ...]


class ProposedTag(Struct, frozen=True, kw_only=True):
    """Tags proposed for a cell (`number` counts all cells from 1), and why."""

    number: int
    id: str
    tags: tuple[str, ...]
    reason: str


class Proposal(Struct, frozen=True, kw_only=True):
    """Tags proposed for a notebook, in notebook order."""

    tags: tuple[ProposedTag, ...]


# -- a place to run ------------------------------------------------------------------------------------------------


class NodeRoom(Struct, frozen=True, kw_only=True):
    """A node, or this machine: amounts by resource (cores, bytes, devices); `free` is null where that is not visible.
    `note` says why it takes no steps, "" if it does."""

    name: str
    total: dict[str, float]
    free: dict[str, float] | None
    note: str


class QuotaRoom(Struct, frozen=True, kw_only=True):
    """One resource of a quota."""

    name: str
    resource: str
    used: float
    hard: float


class Capacity(Struct, frozen=True, kw_only=True):
    """What a place to run offers. `total` and `free` are the most that one node has, by resource. `hidden` names what
    cannot be seen."""

    place: str
    source: str
    total: dict[str, float]
    free: dict[str, float]
    nodes: tuple[NodeRoom, ...]
    quotas: tuple[QuotaRoom, ...]
    storage_classes: tuple[str, ...]
    hidden: tuple[str, ...]


class Place(Struct, frozen=True, kw_only=True):
    """Where a run can be carried out. `detail` says it in a sentence."""

    name: str
    engine: str
    detail: str


class Information(Struct, frozen=True, kw_only=True):
    """The server's version, the places (profiles) where a project's pipelines can be run, the `default` one, what is
    wrong with their file, and the JSON Schema of a step's options."""

    version: str
    places: tuple[Place, ...]
    default: str
    fault: str
    option_schema: dict[str, Any]


# -- before a run --------------------------------------------------------------------------------------------------


class RunBody(Body, frozen=True, kw_only=True):
    """What to run, as it is saved: `digest` is that of the file a person has seen; another one is refused. `ticket`
    is made up by the caller, to ask by it how far the start is."""

    path: Text
    parameters: Values = {}
    place: Name = ""
    experiment: Name = ""
    use_cache: bool = True
    digest: Name = ""
    ticket: Name = ""


class StartQuery(Body, frozen=True, kw_only=True):
    """Which start: the `ticket` that was given with it."""

    ticket: Name


class Starting(Struct, frozen=True, kw_only=True):
    """What is being done before a run can begin (an image is built, files are sent); "" if nothing is known."""

    doing: str


class PreviewStep(Struct, frozen=True, kw_only=True):
    """A step as it will be run: `forecast` is known (an earlier result holds), run, or open (depends on a step that
    has to be run first)."""

    name: str
    forecast: Literal["known", "run", "open"]
    image: str
    options: Values


class Preview(Struct, frozen=True, kw_only=True):
    """What would be sent, made by the server from the saved file. Nothing has been started."""

    digest: str
    ready: bool
    place: Place
    project: str
    parameters: Values
    steps: tuple[PreviewStep, ...]
    problems: tuple[Problem, ...]


class Started(Struct, frozen=True, kw_only=True):
    """The id of a run that was started."""

    run: str


# -- runs ----------------------------------------------------------------------------------------------------------

PhaseName = Literal["Pending", "Running", "Paused", "Succeeded", "Failed", "Cancelled", "Cached", "Skipped", "Unknown"]


class RunSummary(Struct, frozen=True, kw_only=True):
    """A run as a row of a list. Times are seconds since 1970, `seconds` its duration so far. `notebook` is relative
    to the project's root."""

    id: str
    notebook: str
    path: str
    name: str
    phase: PhaseName
    reason: str
    created: float
    started: float
    seconds: float
    done: int
    total: int
    current: str
    experiment: str
    place: str
    labels: tuple[str, ...]
    note: str
    parameters: Values
    metrics: Values


class FailureView(Struct, frozen=True, kw_only=True):
    """Why a step failed: `sentence` for people, the rest to find the place."""

    sentence: str
    kind: str
    type: str
    cell: int | None
    cell_id: str
    line: int | None
    traceback: str


class StepRunView(Struct, frozen=True, kw_only=True):
    """A step of a run. CPU time in seconds, memory in bytes."""

    name: str
    step: str
    kind: str
    phase: PhaseName
    reason: str
    started: float
    seconds: float
    cpu_seconds: float
    peak_memory: int
    cached: bool
    attempts: int
    cell: int | None
    cells: tuple[int, ...]
    cells_done: tuple[int, ...]
    after: tuple[str, ...]
    failure: FailureView | None


class RunDetail(Struct, frozen=True, kw_only=True):
    """A run with its steps. `actions` are the verbs that can be applied now."""

    summary: RunSummary
    steps: tuple[StepRunView, ...]
    edges: tuple[PipelineEdge, ...]
    actions: tuple[str, ...]


class RunPage(Struct, frozen=True, kw_only=True):
    """Runs, the newest first; `next` is the id to give as `before` for the following page ("" at the end)."""

    runs: tuple[RunSummary, ...]
    next: str
    total: int


class RunNotes(Body, frozen=True, kw_only=True):
    """What people write on a run; what is left out stays."""

    labels: Annotated[tuple[Name, ...], Meta(max_length=20)] | None = None
    note: Annotated[str, Meta(max_length=10_000)] | None = None


class Variable(Struct, frozen=True, kw_only=True):
    """A variable that a step has left; `size` in bytes."""

    name: str
    step: str
    type: str
    summary: str
    size: int


class RunFile(Struct, frozen=True, kw_only=True):
    """A file that a run has made or changed; `kind` tells how it can be shown."""

    path: str
    size: int
    kind: Literal["image", "text", "table", "other"]


class ArtifactList(Struct, frozen=True, kw_only=True):
    """What a run has left."""

    variables: tuple[Variable, ...]
    files: tuple[RunFile, ...]
    metrics: Values


class FilePreview(Struct, frozen=True, kw_only=True):
    """The beginning of a file for looking at: text, a table, or an image as base64 (`media` is its type)."""

    path: str
    size: int
    kind: Literal["image", "text", "table", "other"]
    media: str
    text: str
    rows: tuple[tuple[str, ...], ...]
    cut: bool


class LogPiece(Struct, frozen=True, kw_only=True):
    """A piece of what a step has shown: text of a stream of a cell. Times in seconds since 1970."""

    time: float
    stream: str
    text: str
    cell: int | None


class Fault(Struct, frozen=True, kw_only=True):
    """The body of every answer that is no success: a sentence, and the findings behind it."""

    message: str
    problems: tuple[Problem, ...] = ()


# -- questions in the address --------------------------------------------------------------------------------------


class InProject(Body, frozen=True, kw_only=True):
    """`path`: a notebook or folder of the project whose runs are meant; by default the folder Jupyter serves. `place`:
    the profile whose store is meant; by default the project's own."""

    path: Text = ""
    place: Name = ""


class RunQuery(InProject, frozen=True, kw_only=True):
    """Which runs: of one experiment, in one phase, whose row holds a text, of this notebook alone."""

    before: Name = ""
    limit: Annotated[int, Meta(ge=1, le=500)] = 100
    experiment: Name = ""
    phase: Name = ""
    text: Name = ""
    notebook: bool = False


class LogQuery(InProject, frozen=True, kw_only=True):
    """Which step's log, from which piece on (as the event ids of the stream say)."""

    step: Name
    start: Annotated[int, Meta(ge=0)] = 0


class StepBody(Body, frozen=True, kw_only=True):
    """Which step of a run."""

    step: Name


class OpenedStep(Struct, frozen=True, kw_only=True):
    """A notebook written for a step: `path` as Jupyter names it, the cell to go on at (its number in the run's
    notebook, its id in both), and where its state may differ from the run's."""

    path: str
    cell: int
    cell_id: str
    doubts: tuple[str, ...]


class FileQuery(InProject, frozen=True, kw_only=True):
    """Which file of a run."""

    file: Text


class Empty(Struct, frozen=True, kw_only=True):
    """Nothing to say but that it is done."""
