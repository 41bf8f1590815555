"""Where each cell belongs: its tags, its line `%%step` and the cells above decide."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from nbkube.dataflow.model import Unit
from nbkube.errors import Diagnostic, Place, Severity
from nbkube.notebook.model import Cell, Notebook
from nbkube.notebook.names import BadNameError, step_name
from nbkube.notebook.tags import CellTag, read_tags
from nbkube.pipeline.model import StepKind
from nbkube.pipeline.option_values import shown
from nbkube.pipeline.options import Setting, kale_setting, parse_magic, settings_of

_UNIT_OF: dict[str, StepKind] = {
    "imports": "setup",
    "functions": "setup",
    "parameters": "setup",
    "metrics": "metrics",
    "checks": "checks",
    "step": "step",
}


class PlacedCell(msgspec.Struct, frozen=True):
    """A cell with the step it belongs to. `role` is the tag kind that placed it, "" for an untagged cell."""

    cell: Cell
    kind: StepKind
    step: str
    role: str = ""
    prev: tuple[CellTag, ...] = ()
    settings: tuple[Setting, ...] = ()


class PlacedUnit(msgspec.Struct, frozen=True):
    """Consecutive cells of one step: `unit.name` is `train`, or `train.2` where another unit came between."""

    unit: Unit
    kind: StepKind
    step: str
    cells: tuple[PlacedCell, ...]


class _Claim(msgspec.Struct, frozen=True):
    """A tag or magic line that says where a cell belongs."""

    kind: StepKind
    step: str
    role: str
    written: str


class Placement:
    """Places the cells of a notebook one after the other; `diagnostics` are the faults of tags and magic lines."""

    def __init__(self, notebook: Notebook) -> None:
        self.diagnostics: list[Diagnostic] = []
        self._notebook = notebook
        self._place = Place(notebook.path)
        self._step: tuple[StepKind, str] = ("setup", "setup")
        self._unit: tuple[StepKind, str] | None = None
        self._spelling: dict[str, str] = {}

    def place_all(self) -> list[PlacedCell]:
        """Return the cells that take part, in notebook order."""
        placed: list[PlacedCell] = []
        for cell in self._notebook.cells:
            self._place = Place(self._notebook.path, cell.number, cell.id)
            one = self._placed(cell)
            if one is not None:
                placed.append(one)
                self._unit = (one.kind, one.step)
        return placed

    def _placed(self, cell: Cell) -> PlacedCell | None:
        if not cell.tags and cell.magic is None and not cell.options:
            return self._untagged(cell)
        tags, faults = read_tags(cell.tags)
        if any(tag.kind == "skip" for tag in tags):
            return None
        for fault in faults:
            self.diagnostics.append(Diagnostic(fault.severity, fault.code, self._place, fault.message, fault.hint))
        claims = [self._claim(tag) for tag in tags if tag.kind in _UNIT_OF]
        settings = self._settings(cell, tags)
        if cell.magic is not None:
            claims += self._magic_claims(cell, settings, named=any(claim.role == "step" for claim in claims))
        claim = self._agreed(claims)
        if claim and claim.role == "step":
            self._step = (claim.kind, claim.step)
        kind, step = (claim.kind, claim.step) if claim else self._step
        prev = tuple(tag for tag in tags if tag.kind == "prev")
        if prev and kind == "setup":
            hint = "give the cell a tag step:NAME too, or take prev: away"
            self._fault("prev-without-step", f"the tag {prev[0].text} is on a set-up cell, which comes first", hint)
            prev = ()
        if not (claim or prev or settings):
            return self._untagged(cell)
        return PlacedCell(cell, kind, step, claim.role if claim else "", prev, tuple(settings))

    def _untagged(self, cell: Cell) -> PlacedCell | None:
        """Return a cell in the step above. One without code opens no unit: it stays with the cell above, if any."""
        if _has_code(cell):
            return PlacedCell(cell, *self._step)
        return PlacedCell(cell, *self._unit) if self._unit else None

    def _claim(self, tag: CellTag) -> _Claim:
        kind = _UNIT_OF[tag.kind]
        if kind != "step":
            return _Claim(kind, str(kind), tag.kind, f"the tag {tag.text}")
        self._note_spelling(tag.value, tag.text.partition(":")[2])
        return _Claim(_kind_of_step(tag.value), tag.value, "step", f"the tag {tag.text}")

    def _magic_claims(self, cell: Cell, settings: list[Setting], *, named: bool) -> list[_Claim]:
        place = Place(self._place.file, cell.number, cell.id, cell.first_line - 1 or 1)
        written, found, faults = parse_magic(cell.magic or "", place)
        settings += found
        self.diagnostics += faults
        if not written:
            if not named and not faults:
                self._fault("bad-magic", "the line %%step names no step", "write %%step NAME, e.g. %%step train")
            return []
        try:
            name = step_name(written)
        except BadNameError as error:
            self._fault("bad-name", f"the line %%step {shown(written)}: {error}", error.hint)
            return []
        self._note_spelling(name, written)
        return [_Claim(_kind_of_step(name), name, "step", f"the line %%step {written}")]

    def _note_spelling(self, name: str, written: str) -> None:
        earlier = self._spelling.setdefault(name, written)
        if earlier != written:
            message = f"the names {earlier!r} and {written!r} both stand for the step {name!r}"
            self._fault("name-collision", message, f"write {name} everywhere, or choose another name for one step")

    def _agreed(self, claims: list[_Claim]) -> _Claim | None:
        """Return what all claims on the cell agree on; several kinds of set-up on one cell are no conflict."""
        for claim in claims[1:]:
            if (claim.kind, claim.step) != (claims[0].kind, claims[0].step):
                message = f"{claims[0].written} and {claim.written} put the cell into different steps"
                self._fault("conflicting-tags", message, "keep one of the two")
                break
        return next((claim for claim in claims if claim.role == "parameters"), claims[0] if claims else None)

    def _settings(self, cell: Cell, tags: Iterable[CellTag]) -> list[Setting]:
        settings, faults = settings_of(cell.options, "its metadata 'nbkube'", self._place) if cell.options else ([], [])
        self.diagnostics += faults
        for tag in tags:
            if tag.kind == "option":
                setting = kale_setting(tag.key, tag.value, self._place)
                if isinstance(setting, Setting):
                    settings.append(setting)
                else:
                    self.diagnostics.append(setting)
        return settings

    def _fault(self, code: str, message: str, hint: str, severity: Severity = "error") -> None:
        self.diagnostics.append(Diagnostic(severity, code, self._place, message, hint))


def _kind_of_step(name: str) -> StepKind:
    """Return the kind of a step that a person named: one called setup is the set-up that cells above it are part of."""
    return "setup" if name == "setup" else "step"


def _has_code(cell: Cell) -> bool:
    return any(line.strip() and not line.lstrip().startswith("#") for line in cell.source.splitlines())


def group(cells: Iterable[PlacedCell]) -> list[PlacedUnit]:
    """Join consecutive cells of one step to units; a step met again after another unit goes on as NAME.2."""
    runs: list[list[PlacedCell]] = []
    for one in cells:
        if runs and (runs[-1][0].kind, runs[-1][0].step) == (one.kind, one.step):
            runs[-1].append(one)
        else:
            runs.append([one])
    parts: dict[str, int] = {}
    units: list[PlacedUnit] = []
    for run in runs:
        step = run[0].step
        parts[step] = parts.get(step, 0) + 1
        name = step if parts[step] == 1 else f"{step}.{parts[step]}"
        unit = Unit(name, tuple(one.cell for one in run))
        units.append(PlacedUnit(unit, run[0].kind, step, tuple(run)))
    return units


def kale_defaults(metadata: dict[str, Any], place: Place) -> tuple[list[Setting], list[Diagnostic]]:
    """Return the settings that Kale's notebook metadata gives every step, and what of that metadata has no effect."""
    kale = metadata.get("kubeflow_notebook")
    if not isinstance(kale, dict):
        return [], []
    defaults = kale.get("steps_defaults")
    texts = [tag for tag in defaults if isinstance(tag, str)] if isinstance(defaults, list) else []
    tags, faults = read_tags(texts)
    settings: list[Setting] = []
    notes = [Diagnostic(one.severity, one.code, place, f"steps_defaults: {one.message}", one.hint) for one in faults]
    for tag in tags:
        found = kale_setting(tag.key, tag.value, place) if tag.kind == "option" else None
        if isinstance(found, Setting):
            settings.append(found)
        elif found is not None:
            notes.append(found)
    if kale.get("volumes"):
        message = "the volumes of Kale's notebook settings are not taken over"
        notes.append(Diagnostic("info", "kale-volumes", place, message, "give steps that need one the option volume"))
    return settings, notes
