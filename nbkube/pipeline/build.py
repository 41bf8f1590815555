"""From a notebook to a pipeline: `build_pipeline`."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from nbkube.dataflow import analyze
from nbkube.dataflow.model import Flow, Unit, UnitFlow
from nbkube.dataflow.parameters import substitute
from nbkube.dataflow.parse import parse_cell
from nbkube.errors import Diagnostic, NotebookError, Place, Severity
from nbkube.notebook.model import Notebook
from nbkube.notebook.names import BadNameError, step_name
from nbkube.notebook.suggest import did_you_mean
from nbkube.pipeline.cells import PlacedCell, PlacedUnit, Placement, group, kale_defaults
from nbkube.pipeline.metrics import metric_names
from nbkube.pipeline.model import Parameter, Pipeline, Step, StepOptions
from nbkube.pipeline.option_values import condition_names, shown
from nbkube.pipeline.options import Setting, merge, settings_of
from nbkube.pipeline.order import tagged_order
from nbkube.pipeline.parameters import find_parameters, given_values

MAX_STEPS = 1_000
_SEVERITIES = ("error", "warning", "info")

Options = Mapping[str, Mapping[str, Any]]


def build_pipeline(
    notebook: Notebook, parameters: Mapping[str, Any] | None = None, options: Options | None = None
) -> Pipeline:
    """Return the pipeline a notebook means; never raises for its faults: they are all in `diagnostics`, by place.

    Args:
        notebook: as read from its file.
        parameters: values given for parameters, as text or plain values; they replace the literals in the cells.
        options: options given for steps ({step: {option: value}}); they replace what the notebook says.
    """
    builder = _Builder(notebook)
    return builder.build(parameters or {}, options or {})


def check(pipeline: Pipeline) -> None:
    """Raise if the pipeline has a fault.

    Raises:
        NotebookError: with all diagnostics, warnings included, if one of them is an error.
    """
    if any(one.severity == "error" for one in pipeline.diagnostics):
        raise NotebookError(diagnostics=pipeline.diagnostics)


class _Chosen(NamedTuple):
    """The options of a step, the settings they come from by option, and the index of its first unit."""

    options: StepOptions
    settings: Mapping[str, Setting]
    first: int


class _Builder:
    """One notebook on its way to a pipeline; `faults` collects what every stage finds."""

    def __init__(self, notebook: Notebook) -> None:
        self.notebook = notebook
        self.file = notebook.path
        self.faults: list[Diagnostic] = list(notebook.diagnostics)

    def build(self, given: Mapping[str, Any], options: Options) -> Pipeline:
        """Run all stages; each goes on with what the one before could make of the notebook."""
        placement = Placement(self.notebook)
        cells = placement.place_all()
        self.faults += placement.diagnostics
        units = group(cells)
        self._check_size(units)
        parameters, values = self._parameters(cells, given)
        chosen = self._options(units, options)
        analysed = [_with_condition(_with_values(unit, values), chosen[unit.step].options) for unit in units]
        flow = analyze(analysed, file=self.file)
        self.faults += flow.diagnostics
        known = {one.name: one for one in parameters}
        for one in chosen.values():
            self._check_options(one, flow.units[: one.first], known)
        metrics = metric_names(one.cell for one in cells if one.role == "metrics")
        if not metrics and any(one.role == "metrics" for one in cells):
            self._note_no_metrics(cells)
        return Pipeline(
            name=self._name(),
            notebook=self.notebook,
            steps=self._steps(units, analysed, flow, {step: one.options for step, one in chosen.items()}),
            parameters=parameters,
            metrics=metrics,
            flow=flow,
            diagnostics=tuple(sorted(self.faults, key=_by_place)),
            values=values,
        )

    def _name(self) -> str:
        kale = self.notebook.metadata.get("kubeflow_notebook")
        name = kale.get("pipeline_name") if isinstance(kale, dict) else None
        return name if isinstance(name, str) and 0 < len(name) <= 200 and name.isprintable() else self.notebook.name

    def _check_size(self, units: Sequence[PlacedUnit]) -> None:
        place = Place(self.file)
        if not units:
            if any(one.severity == "error" for one in self.faults):
                return  # the cells are there, their tags are wrong
            hint = "write a code cell, or take a tag skip away"
            self.faults.append(Diagnostic("error", "no-code", place, "the notebook has no code cell to run", hint))
        elif not any(unit.kind == "step" for unit in units):
            message = "no cell has a tag step:NAME, so the whole notebook is one step called setup"
            hint = "tag cells, e.g. `nbkube tag NOTEBOOK CELL step:load`"
            self.faults.append(Diagnostic("warning", "no-steps", place, message, hint))
        if len(units) > MAX_STEPS:
            message = f"the notebook makes {len(units)} steps; the limit is {MAX_STEPS}"
            hint = "put several cells into one step: cells without a tag join the step above"
            self.faults.append(Diagnostic("error", "too-many-steps", place, message, hint))

    def _parameters(
        self, cells: Sequence[PlacedCell], given: Mapping[str, Any]
    ) -> tuple[tuple[Parameter, ...], dict[str, Any]]:
        tagged = [one.cell for one in cells if one.role == "parameters"]
        parameters, notes = find_parameters(tagged, self.file)
        names = {one.name for one in parameters}
        derived: dict[str, Place] = {}
        for cell in tagged:
            tree = parse_cell(cell).tree
            for node in ast.walk(tree) if tree and given else ():
                if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and node.id not in names:
                    derived[node.id] = Place(self.file, cell.number, cell.id, node.lineno + cell.first_line - 1)
        values, faults = given_values(parameters, given, self.file, derived)
        self.faults += [*notes, *faults]
        return parameters, values

    def _note_no_metrics(self, cells: Sequence[PlacedCell]) -> None:
        cell = next(one.cell for one in cells if one.role == "metrics")
        place = Place(self.file, cell.number, cell.id)
        hint = "write print(NAME), or NAME = … for each metric"
        message = "the pipeline-metrics cells name no metric"
        self.faults.append(Diagnostic("warning", "no-metrics", place, message, hint))

    def _options(self, units: Sequence[PlacedUnit], given: Options) -> dict[str, _Chosen]:
        defaults, notes = kale_defaults(self.notebook.metadata, Place(self.file))
        self.faults += notes
        overrides = self._given_options(units, given)
        found: dict[str, _Chosen] = {}
        cells_of: dict[str, list[PlacedCell]] = {}
        for unit in units:
            cells_of.setdefault(unit.step, []).extend(unit.cells)
        for index, unit in enumerate(units):
            if unit.step in found:
                continue
            settings = [one for cell in cells_of[unit.step] for one in cell.settings]
            settings = self._replaced(settings, overrides.get(unit.step, []))
            said = {one.option for one in settings}
            if unit.kind == "step":
                settings += [one for one in defaults if one.option not in said]
            options, faults = merge(settings)
            found[unit.step] = _Chosen(options, {one.option: one for one in settings}, index)
            self.faults += faults
        return found

    def _replaced(self, settings: list[Setting], given: list[Setting]) -> list[Setting]:
        """Return the settings with those given for this run in place of the notebook's, and note what was replaced."""
        ours = {one.option: one for one in given}
        for one in settings:
            other = ours.get(one.option)
            if other is not None and other.text != one.text:
                message = (
                    f"the option {one.option} is {shown(one.text)} in {one.source}; this run has {shown(other.text)}"
                )
                hint = "nothing to do: what is given for a run counts"
                self.faults.append(Diagnostic("info", "replaced-option", one.place, message, hint))
        return [one for one in settings if one.option not in ours] + given

    def _given_options(self, units: Sequence[PlacedUnit], given: Options) -> dict[str, list[Setting]]:
        steps = {unit.step for unit in units}
        settings: dict[str, list[Setting]] = {}
        for written, chosen in given.items():
            name = _lenient_name(written)
            if name not in steps:
                hint = did_you_mean(written, steps, f"there are the steps {', '.join(sorted(steps))}")
                message = f"options are given for {written!r}, which is no step"
                self.faults.append(Diagnostic("error", "unknown-step", Place(self.file), message, hint))
                continue
            found, faults = settings_of(chosen, f"the options given for {name}", Place(self.file))
            settings.setdefault(name, []).extend(found)
            self.faults += faults
        return settings

    def _check_options(
        self,
        chosen: _Chosen,
        earlier: Iterable[UnitFlow],
        known: Mapping[str, Parameter],
    ) -> None:
        """Check what options say about each other and about names of the notebook."""
        options = chosen.options

        def fault(option: str, code: str, message: str, hint: str, severity: Severity = "error") -> None:
            where = chosen.settings[option]
            text = f"option {option} in {where.source}: {message}"
            self.faults.append(Diagnostic(severity, code, where.place, text, hint))

        for option, value in (("map", options.map), ("workers", options.workers), ("ps", options.ps)):
            if value:
                message = "it has no effect yet; the step runs once, in one process"
                fault(option, "no-effect-yet", message, "take it out, or leave it for a later version", "warning")

        names = [("when", name) for name in condition_names(options.when)] if options.when else []
        names += [("map", options.map)] if options.map else []
        made = {name for unit in earlier for name in unit.publishes} if names else set()
        for option, name in names:
            if name not in known and name not in made:
                hint = did_you_mean(name, {*known, *made}, "use a parameter or a name that an earlier step makes")
                fault(option, "unknown-name", f"no earlier cell makes {name!r}", hint)
        if options.map in known and known[options.map].type not in ("list", "tuple", "any"):
            message = f"the parameter {options.map} is of type {known[options.map].type}"
            fault("map", "bad-option", message, "name a list")
        if options.ps and options.framework == "pytorch":
            fault("ps", "bad-option", "PyTorch has no parameter servers", "leave ps out, or use framework tensorflow")

    def _steps(
        self, units: Sequence[PlacedUnit], analysed: Sequence[Unit], flow: Flow, options: Mapping[str, StepOptions]
    ) -> tuple[Step, ...]:
        before, faults = tagged_order(units, self.file)
        self.faults += faults
        names = [unit.name for unit in analysed]
        inputs: list[dict[str, str]] = [{} for _ in units]
        for edge in sorted(flow.edges, key=lambda edge: edge.producer):
            # Of several possible makers the last counts: the others wrote what it may have replaced.
            inputs[edge.consumer][edge.name] = names[edge.producer]
        steps: list[Step] = []
        for index, unit in enumerate(units):
            earlier = {names[at] for at in flow.after[index]} | set(before[index])
            step = Step(
                name=names[index],
                step=unit.step,
                kind=unit.kind,
                unit=analysed[index],
                options=options[unit.step],
                prev=before[index],
                after=tuple(name for name in names[:index] if name in earlier),
                inputs=inputs[index],
                outputs=tuple(sorted(flow.units[index].publishes)),
            )
            steps.append(step)
        return tuple(steps)


def _with_values(unit: PlacedUnit, values: Mapping[str, Any]) -> Unit:
    """Return the unit with the given values in its parameter cells."""
    if not values or not any(one.role == "parameters" for one in unit.cells):
        return unit.unit
    cells = tuple(substitute(one.cell, values) if one.role == "parameters" else one.cell for one in unit.cells)
    return msgspec.structs.replace(unit.unit, cells=cells)


def _with_condition(unit: Unit, options: StepOptions) -> Unit:
    return msgspec.structs.replace(unit, when=options.when) if options.when else unit


def _lenient_name(written: str) -> str:
    try:
        return step_name(written)
    except BadNameError:
        return written


def _by_place(one: Diagnostic) -> tuple[int, int, int]:
    return (one.place.cell or 0, one.place.line or 0, _SEVERITIES.index(one.severity))
