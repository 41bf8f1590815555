"""The case table: small notebooks in readable text files under `cases/`, grouped by theme.

A file holds cases one after the other:

    == NAME                     starts a case
    cause: alias, S7            why simple rules get it wrong: keys of CAUSES below, S1..S39 for findings
    expect: EXPRESSION          true at the end of the notebook and of the pipeline
    -- TAG TAG                  starts a code cell with these tags (none: an untagged cell)
    -- file PATH                starts the text of a project file
    -- then file PATH           (in again/) its text before the second run
    -- then cell N              (in again/) the source of the N-th cell before the second run

Further lines before the first cell, all optional: `varies: NAME...` values that differ from run to run; `given:
NAME=TEXT` a parameter set for the run; `metrics: NAME=VALUE...` the run's metrics; `refused: CODE` nbkube must say
no before it runs anything; `warned: CODE` nbkube runs it, yet says before that a later step will not see something
(counts as a refusal); `fails: KIND TYPE` a cell stops both the notebook (TYPE) and the pipeline (KIND of
failure); `needs: 3.12` the oldest Python whose syntax it is (older ones must refuse it); `counts: N...` stored
execution counts; `notebook: PATH` where in the project it lies; `slow: yes` imports TensorFlow. In again/, where each
notebook runs twice: `runs: UNIT...` what the second run executes (all else comes from the cache), `then: EXPRESSION`
what holds after it, `first-fails: yes` the first run stops at an error. `#` at the start of a line outside of cells
is a comment.
"""

from __future__ import annotations

import json
import re
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path

CASES = Path(__file__).parent / "cases"
AGAIN = Path(__file__).parent / "again"

CAUSES = {
    "mention": "any mention of a name counted as production",
    "possible-write": "possible writes (if, try, for) not loaded",
    "class-lambda-free": "free variables of classes and lambdas ignored",
    "star-import": "one star import switches everything off",
    "shadowed-builtin": "shadowed builtins never travel",
    "alias": "aliases split across steps and inside one",
    "branch-write": "writes of parallel branches lost without a word",
    "global": "`global` in functions",
    "syntax-forms": "async def, import a.b, match captures, decorators",
    "magics": "magics, shell lines and their captures, % at the start of a line",
    "dynamic": "exec, globals()[...], %run",
    "parameters": "parameters that are negative, lists, annotated, quoted, differ by case, reassigned",
    "serializer": "numpy object arrays and generators saved by the wrong serializer",
    "unstorable": "generators, open files, locks, database connections",
    "random": "random state",
    "process-state": "os.environ, sys.path, cwd, warnings, plot styles",
    "files": "files written by one step and read by another",
    "undefined": "names defined nowhere",
    "history": "_, Out[3], In",
    "count-order": "out-of-order execution counts",
    "subclass": "subclasses of a class from another step",
    "new-syntax": "type parameters, except*, nonlocal",
}
FINDINGS = tuple(f"S{number}" for number in range(1, 40))
ELSEWHERE = {
    "S14": "snapshot identity by (device, inode, size, mtime, ctime): tests/unit/workspace",
    "S34": "when a stored blob is verified: tests/contract, tests/unit/storage",
    "S39": "results of other writers are loaded only from a trusted store: tests/unit/engines",
}
"""Findings about the store, the cache and the command line, which no single notebook shows, and who tests them."""


@dataclass(frozen=True)
class CellText:
    """A code cell: its tags and source."""

    tags: tuple[str, ...]
    source: str


@dataclass(frozen=True)
class Case:
    """One notebook of the table; see the module's text for the fields."""

    name: str
    theme: str
    causes: tuple[str, ...]
    cells: tuple[CellText, ...]
    files: dict[str, str] = field(default_factory=dict)
    expect: str = ""
    varies: tuple[str, ...] = ()
    given: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    refused: str = ""
    warned: str = ""
    fails: tuple[str, ...] = ()
    needs: tuple[int, ...] = ()
    counts: tuple[str, ...] = ()
    notebook: str = ""
    slow: bool = False
    edits: dict[str, str] = field(default_factory=dict)
    runs: tuple[str, ...] = ()
    then: str = ""
    first_fails: bool = False

    def refusal(self) -> str:
        """The code of the diagnostic that nbkube must give on this Python, or ""."""
        return self.refused or ("syntax-error" if sys.version_info < self.needs else "")


def _fields(text: list[str]) -> dict[str, str]:
    pairs = (line.split(":", 1) for line in text if line.strip())
    return {key.strip(): value.strip() for key, value in pairs}


def _pairs(words: str) -> dict[str, float]:
    return {name: float(value) for name, value in (word.split("=") for word in words.split())}


def _parse_case(theme: str, name: str, lines: list[str]) -> Case:
    head: list[str] = []
    blocks: list[tuple[str, list[str]]] = []
    for line in lines:
        if line == "--" or line.startswith("-- "):
            blocks.append((line[2:].strip(), []))
        else:
            (blocks[-1][1] if blocks else head).append(line)
    cells: list[CellText] = []
    files: dict[str, str] = {}
    edits: dict[str, str] = {}
    for title, body in blocks:
        text = "\n".join(body).rstrip("\n")
        if title.startswith("file "):
            files[title[5:]] = text + "\n" if text else ""
        elif title.startswith("then "):
            edits[title[5:]] = text
        else:
            cells.append(CellText(tuple(title.split()), text))
    known = _fields(head)
    given = known.pop("given", "")
    case = Case(
        name=name,
        theme=theme,
        causes=tuple(known.pop("cause").split(", ")),
        cells=tuple(cells),
        files=files,
        expect=known.pop("expect", ""),
        varies=tuple(known.pop("varies", "").split()),
        given=dict([given.split("=", 1)]) if given else {},
        metrics=_pairs(known.pop("metrics", "")),
        refused=known.pop("refused", ""),
        warned=known.pop("warned", ""),
        fails=tuple(known.pop("fails", "").split()),
        needs=tuple(int(part) for part in known.pop("needs", "").split(".") if part),
        counts=tuple(known.pop("counts", "").split()),
        notebook=known.pop("notebook", f"{name}.ipynb"),
        slow=known.pop("slow", "") == "yes",
        edits=edits,
        runs=tuple(known.pop("runs", "").split()),
        then=known.pop("then", ""),
        first_fails=known.pop("first-fails", "") == "yes",
    )
    if known:
        raise ValueError(f"case {name}: unknown line {', '.join(known)}")
    return case


def load_cases(folder: Path = CASES) -> tuple[Case, ...]:
    """Every case of every theme, in the order of the files."""
    cases: list[Case] = []
    for path in sorted(folder.glob("*.txt")):
        parts = re.split(r"^== (.+)$", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
        cases += [
            _parse_case(path.stem, name.strip(), body.strip("\n").split("\n"))
            for name, body in zip(parts[1::2], parts[2::2], strict=True)
        ]
    return tuple(cases)


def notebook_json(case: Case, *, expectation: bool = True, given: bool = False) -> str:
    """The case as the text of an .ipynb file.

    With `expectation` an untagged last cell asserts what the case expects. With `given` the values of the given
    parameters stand in the assignments already, as a person would write them who runs the notebook by hand.
    """
    cells = list(case.cells)
    if expectation and case.expect:
        cells.append(CellText((), f"assert {case.expect}"))
    counts = dict(enumerate(case.counts))
    written: list[dict[str, object]] = [
        {
            "cell_type": "code",
            "id": f"cell-{index + 1}",
            "metadata": {"tags": list(cell.tags)} if cell.tags else {},
            "execution_count": int(counts[index]) if counts.get(index, "-") != "-" else None,
            "outputs": [],
            "source": _with_given(case, cell) if given else cell.source,
        }
        for index, cell in enumerate(cells)
    ]
    metadata = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    return json.dumps({"cells": written, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}, indent=1)


def _with_given(case: Case, cell: CellText) -> str:
    if not {"parameters", "pipeline-parameters"} & set(cell.tags):
        return cell.source
    source = cell.source
    for name, text in case.given.items():
        value = {"true": "True", "false": "False"}.get(text, text)
        literal = value if re.fullmatch(r"[-\d.\[\], ]+|True|False", value) else repr(value)
        source = re.sub(rf"^({name}\b[^=]*= ).*$", lambda m, new=literal: m[1] + new, source, flags=re.MULTILINE)  # type: ignore[misc]
    return source


def edit_project(case: Case, folder: Path) -> Path:
    """Make the case's changes in a project that `write_project` wrote; returns the notebook's path."""
    cells = list(case.cells)
    for title, text in case.edits.items():
        kind, name = title.split(" ", 1)
        if kind == "cell":
            cells[int(name) - 1] = replace(cells[int(name) - 1], source=text)
        else:
            (folder / name).write_text(text + "\n", encoding="utf-8")
    return write_project(replace(case, cells=tuple(cells), files={}), folder, expectation=False)


def write_project(case: Case, folder: Path, *, expectation: bool = True, given: bool = False) -> Path:
    """Write the case's files and its notebook below `folder` (made if needed); returns the notebook's path."""
    for name, text in case.files.items():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
    path = folder / case.notebook
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(notebook_json(case, expectation=expectation, given=given), encoding="utf-8")
    return path
