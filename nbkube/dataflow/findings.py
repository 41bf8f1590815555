"""Faults of names in a notebook: undefined, deleted, used before they are defined."""

from __future__ import annotations

import difflib
import posixpath
from collections.abc import Sequence
from typing import Protocol

from nbkube.dataflow import tables
from nbkube.dataflow.escapes import AUTOMAGIC
from nbkube.dataflow.model import Unit
from nbkube.dataflow.parse import place, syntax_diagnostic
from nbkube.dataflow.paths import DEFINED, MAYBE
from nbkube.dataflow.units import Analysis, UnitFacts
from nbkube.dataflow.values import BUILTINS, Mark, Place, Read
from nbkube.errors import Diagnostic, Severity


class Source(Protocol):
    """Where a name may come from (see `flow.Producers`)."""

    units: tuple[int, ...]
    imported: bool
    definite: bool
    deleted: int | None


class Findings:
    """Collects what is wrong while units are analysed; `report` turns it into diagnostics."""

    def __init__(self, file: str, analysis: Analysis) -> None:
        self._file = file
        self._analysis = analysis
        self._missing: list[tuple[int, str, Read]] = []
        self._deleted: list[tuple[str, Place, int | None]] = []
        self._facts: list[UnitFacts] = []
        self._dynamic: int | None = None

    def use(self, at: int, name: str, read: Read, source: Source) -> None:
        """A unit reads `name`, which may come from `source`."""
        if source.definite or source.imported or source.units or read.guarded:
            return
        if source.deleted is not None and read.definite:
            self._deleted.append((name, read.place, source.deleted))
        elif source.deleted is None and not self._automagic(name, read.place) and not self._hidden(name):
            self._missing.append((at, name, read))

    def unit(self, at: int, facts: UnitFacts) -> None:
        """All that was found in unit `at`."""
        self._facts.append(facts)
        if self._dynamic is None and facts.effects & tables.DYNAMIC:
            self._dynamic = at
        self._deleted.extend((name, where, None) for name, where in facts.gone)

    def report(self, units: Sequence[Unit]) -> tuple[Diagnostic, ...]:
        """Every diagnostic, in notebook order."""
        found = [syntax_diagnostic(self._file, parsed) for parsed in self._analysis.unparsed]
        if self._missing:
            first = self._first_bound()
            found.extend(
                self._undefined(at, name, read, first, units)
                for at, name, read in self._missing
                if read.definite or not self._comes_later(at, name, read, first, units)
            )
        found.extend(self._gone(*one) for one in self._deleted)
        for facts in self._facts:
            found.extend(self._module_change(name, where) for name, where in facts.module_changes)
            found.extend(one for mark in facts.marks if (one := self._marked(mark)) is not None)
        unique = dict.fromkeys(found)
        return tuple(sorted(unique, key=lambda one: (one.place.cell or 0, one.place.line or 0, one.code)))

    def _first_bound(self) -> dict[str, int]:
        first: dict[str, int] = {}
        for at, facts in enumerate(self._facts):
            for name, state in facts.bound.items():
                if state in (DEFINED, MAYBE):
                    first.setdefault(name, at)
        return first

    def _comes_later(self, at: int, name: str, read: Read, first: dict[str, int], units: Sequence[Unit]) -> bool:
        """Whether a possible use is of no concern: bound in a later turn of a loop, or read by a function's body that
        is only passed on here."""
        later = first.get(name)
        if later is None or later == at:
            return later is not None
        return self._analysis.cells[read.place.cell] not in units[at].cells

    def _diagnostic(self, severity: Severity, code: str, where: Place, message: str, hint: str) -> Diagnostic:
        cell = self._analysis.cells[where.cell]
        return Diagnostic(severity, code, place(self._file, cell, where.line), message, hint)

    def _undefined(self, at: int, name: str, read: Read, first: dict[str, int], units: Sequence[Unit]) -> Diagnostic:
        dynamic = self._dynamic is not None and self._dynamic <= at
        sure = read.definite and not dynamic
        later = first.get(name)
        if later is not None and later == at and sure:
            message = f"`{name}` is used here before anything above binds it."
            hint = "Move the line that binds it above this one, or define the name in an earlier cell."
            return self._diagnostic("error", "undefined-name", read.place, message, hint)
        if later is not None and later >= at:
            message = f"`{name}` is used before it is defined: only {self._unit(units, later)} below defines it."
            hint = "A pipeline runs the notebook top to bottom; move the definition above its first use."
            return self._diagnostic("error" if sure else "warning", "undefined-name", read.place, message, hint)
        near = difflib.get_close_matches(name, first, n=1) or difflib.get_close_matches(name, BUILTINS, n=1)
        hint = f"Did you mean `{near[0]}`?" if near else "Define it in a cell above, or import it."
        message = f"`{name}` is not defined in any cell."
        if dynamic and read.definite:
            message = f"`{name}` is not defined in any cell; code that binds names unseen may define it."
        elif not read.definite:
            message = f"`{name}` may be used here, but no cell defines it."
        return self._diagnostic("error" if sure else "warning", "undefined-name", read.place, message, hint)

    def _unit(self, units: Sequence[Unit], at: int) -> str:
        cells = units[at].cells
        return f"cell {cells[0].number}" if len(cells) == 1 else f"step `{units[at].name}`"

    def _hidden(self, name: str) -> bool:
        """A cell that cannot be parsed may define what it mentions."""
        return any(name in parsed.cell.source for parsed in self._analysis.unparsed)

    def _automagic(self, name: str, where: Place) -> bool:
        """A cell that is just `ls` or `pwd` is a magic."""
        return name in AUTOMAGIC and self._analysis.cells[where.cell].source.strip() == name

    def _marked(self, mark: Mark) -> Diagnostic | None:
        match mark.kind:
            case "input":
                message = f"`{mark.text}()` waits for a person, and a step has none."
                hint = "Make the answer a parameter: assign it in a cell tagged `parameters`."
                return self._diagnostic("error" if mark.definite else "warning", "input", mark.place, message, hint)
            case "exit":
                message = f"`{mark.text}()` ends the step with an error; the cells after it do not run."
                hint = "Drop it, or tag the cell `skip`."
                return self._diagnostic("warning", "exit", mark.place, message, hint)
        folder = posixpath.dirname(self._file)
        if folder.startswith("/") and f"{mark.text}/".startswith(f"{folder}/"):
            return None
        message = f"The path `{mark.text}` is absolute: the file is used in place, and another machine may not have it."
        return self._diagnostic("info", "absolute-path", mark.place, message, "Use a path relative to the notebook.")

    def _gone(self, name: str, where: Place, deleted: int | None) -> Diagnostic:
        return self._diagnostic(
            "error",
            "deleted-name",
            where,
            f"`{name}` has been deleted by `del` before it is used here.",
            "Drop the `del`, or define the name again.",
        )

    def _module_change(self, name: str, where: Place) -> Diagnostic:
        return self._diagnostic(
            "warning",
            "module-state",
            where,
            f"This changes the imported `{name}` by a computed value, which later steps do not see.",
            "Set it from a literal (such a statement is run again in later steps), or in the step that needs it.",
        )
