"""A pipeline is drawn so that a person sees what runs when, and why."""

from __future__ import annotations

import pytest

from nbkube.cli.pipelines import cell_ranges, draw_pipeline, flow_lines, options_text
from nbkube.dataflow.model import Flow, Unit
from nbkube.errors import Place
from nbkube.notebook.model import Cell, Notebook
from nbkube.pipeline.model import Parameter, Pipeline, Step, StepOptions


def step(
    name: str, cells: list[int], after: tuple[str, ...] = (), inputs: dict[str, str] | None = None, memory: str = ""
) -> Step:
    unit = Unit(name, tuple(Cell(number, number, "", "") for number in cells))
    options = StepOptions(memory=memory)
    return Step(name, name.partition(".")[0], "step", unit, options, after=after, inputs=inputs or {})


STEPS = (
    step("load", [1, 2, 3]),
    step("tree", [4], ("load",), {"X": "load", "y": "load"}, memory="4Gi"),
    step("svc", [5, 7], ("load",), {"X": "load"}),
    step("save", [8], ("load", "tree", "svc"), {"tree": "tree", "svc": "svc", "X": "load"}),
    step("tree.2", [9], ("load", "tree", "svc", "save")),
)
PIPELINE = Pipeline(
    "digits",
    Notebook("digits.ipynb", "digits", "", ()),
    STEPS,
    (Parameter("seed", "int", 7, "where draws start", Place("digits.ipynb", 1)),),
    ("accuracy",),
    Flow((), (), ()),
)


def test_cells_are_shown_as_ranges() -> None:
    assert cell_ranges([1, 2, 3, 5, 7, 8]) == "1-3, 5, 7-8"
    assert cell_ranges([]) == ""


def test_options_are_shown_as_typed() -> None:
    options = StepOptions(cpu="2", env={"A": "1", "B": "2"}, gpu={"nvidia.com/gpu": 1}, retries=2, cache=False)
    assert options_text(options) == "cpu=2 gpu=nvidia.com/gpu=1 env=A=1,B=2 retries=2 cache=no"


def test_the_flow_names_what_each_edge_carries() -> None:
    assert flow_lines(PIPELINE) == [
        "    load ┬─ X, y ─▸ tree",
        "         ├─ X ─▸ svc",
        "         └─ X ─▸ save",
        "    tree ── tree ─▸ save",
        "     svc ── svc ─▸ save",
        "    save ── (order) ─▸ tree.2",
    ]


def test_everything_is_drawn(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    draw_pipeline(PIPELINE)
    shown = capsys.readouterr().out
    assert shown.startswith("digits: 4 steps, 8 code cells\n")
    for text in ("seed", "where draws start", "memory=4Gi", "1-3", "5, 7", "4, 9", "Metrics: accuracy", "─▸"):
        assert text in shown, text
    assert "\x1b" not in shown


@pytest.mark.parametrize("width", [20, 40, 80])
def test_tables_fit_narrow_terminals(
    width: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    draw_pipeline(PIPELINE)
    table = capsys.readouterr().out.partition("Metrics")[0]
    assert max(map(len, table.splitlines()[1:])) <= width


def test_names_from_a_notebook_cannot_act_on_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    evil = Pipeline("x\x1b]0;t\x07", PIPELINE.notebook, (step("a\x1b[2J", [1]),), (), ("m\x1b[2J",), Flow((), (), ()))
    draw_pipeline(evil)
    assert "\x1b" not in capsys.readouterr().out
