from __future__ import annotations

import statistics
import time
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbkube.errors import NotebookError
from nbkube.pipeline import Pipeline, build_pipeline, check, describe, from_json, to_json
from tests.unit.documents import code, faults, messages, parsed, pipeline, sound, text


def _units(built: Pipeline) -> list[tuple[str, str, list[int]]]:
    return [(step.name, step.kind, [cell.number for cell in step.unit.cells]) for step in built.steps]


@pytest.mark.parametrize(
    ("cells", "units"),
    [
        ([code("a = 1")], [("setup", "setup", [1])]),
        ([code("a = 1", "step:a"), code("b = 1"), text(), code("c = 1")], [("a", "step", [1, 2, 4])]),
        (
            [
                code("a = 1"),
                code("b = 1", "imports"),
                code("c = 1", "step:a"),
                code("d = 1", "functions"),
                code("e = 1"),
            ],
            [("setup", "setup", [1, 2]), ("a", "step", [3]), ("setup.2", "setup", [4]), ("a.2", "step", [5])],
        ),
        (
            [code("a = 1", "step:a"), code("b = 1", "step:b"), code("c = 1", "step:a"), code("d = 1", "step:a")],
            [("a", "step", [1]), ("b", "step", [2]), ("a.2", "step", [3, 4])],
        ),
        (
            [code("a = 1", "step:a"), code("b = a", "skip"), code("c = a"), code("d = a", "step:b", "skip")],
            [("a", "step", [1, 3])],
        ),
        (
            [
                code("a = 1", "step:a"),
                code("print(a)", "pipeline-metrics"),
                code("assert a", "checks"),
                code("a", "checks"),
            ],
            [("a", "step", [1]), ("metrics", "metrics", [2]), ("checks", "checks", [3, 4])],
        ),
        (
            [code("assert 1", "checks"), code("%%step a\nb = 1"), code("assert b", "checks")],
            [("checks", "checks", [1]), ("a", "step", [2]), ("checks.2", "checks", [3])],
        ),
        (
            [
                code("a = 1", "step:a"),
                code("a", "pipeline-metrics"),
                code(""),
                code("b = 1"),
                code("1", "checks"),
                code(""),
            ],
            [("a", "step", [1]), ("metrics", "metrics", [2, 3]), ("a.2", "step", [4]), ("checks", "checks", [5, 6])],
        ),
        ([code("assert 1", "checks"), code("b = 1")], [("checks", "checks", [1]), ("setup", "setup", [2])]),
        ([code("# nothing\n\n"), code("a = 1", "step:a"), code("")], [("a", "step", [2, 3])]),
        (
            [code("a = 1", "block:a_b"), code("b = 1", "block:"), code("c = 1", "step:a_b")],
            [("a-b", "step", [1, 2, 3])],
        ),
        (
            [code("a = 1"), code("b = 1", "step:setup"), code("c = 1", "step:a", "prev:setup")],
            [("setup", "setup", [1, 2]), ("a", "step", [3])],
        ),
        (
            [code("a = 1", "step:metrics"), code("a", "pipeline-metrics")],
            [("metrics", "step", [1]), ("metrics.2", "metrics", [2])],
        ),
        ([code("a = 1", "block:imports"), code("b = 1", "block:a")], [("setup", "setup", [1]), ("a", "step", [2])]),
    ],
)
def test_cells_become_units(cells: list[dict[str, Any]], units: list[tuple[str, str, list[int]]]) -> None:
    assert _units(sound(*cells)) == units


def test_edges_come_from_names() -> None:
    built = sound(
        code("import os", "imports"),
        code("a = 1", "step:load"),
        code("b = a", "step:left"),
        code("c = a", "step:right"),
        code("d = b + c", "step:join"),
    )
    steps = {step.name: step for step in built.steps}
    assert steps["left"].after == ("load",)
    assert steps["right"].after == ("load",)
    assert steps["join"].inputs == {"b": "left", "c": "right"}
    assert steps["load"].outputs == ("a",)


def test_prev_adds_an_edge() -> None:
    built = sound(code("a = 1", "step:a"), code("b = 1", "step:b"), code("c = 1", "step:c", "prev:a", "prev:b"))
    assert built.steps[2].prev == ("a", "b")
    assert set(built.steps[2].after) == {"a", "b"}


def test_prev_on_a_step_s_later_part_waits_for_the_step_between() -> None:
    built = sound(code("a = 1", "step:a"), code("b = 1", "step:b"), code("c = 1", "step:a", "prev:b"))
    assert built.steps[2].prev == ("b",)


@pytest.mark.parametrize(
    ("cells", "found", "says"),
    [
        ([code("", "step:a", "prev:b")], [("unknown-step", 1)], "no such step. Fix: there are the steps a"),
        ([code("", "step:load"), code("", "step:b", "prev:laod")], [("unknown-step", 2)], "did you mean load?"),
        ([code("", "step:a", "prev:a")], [("self-cycle", 1)], "wait for itself"),
        ([code("", "step:a", "prev:b"), code("", "step:b")], [("later-step", 1)], "comes later in the notebook"),
        ([code("", "step:a", "prev:b"), code("", "step:b", "prev:a")], [("cycle", 1)], "a → b → a"),
        ([code("1", "prev:a"), code("", "step:a")], [("prev-without-step", 1)], "set-up cell"),
        ([code("", "step:a", "step:b")], [("conflicting-tags", 1)], "the tag step:a and the tag step:b"),
        ([code("", "step:a", "imports")], [("conflicting-tags", 1)], "different steps"),
        ([code("", "checks", "pipeline-metrics")], [("conflicting-tags", 1)], "different steps"),
        ([code("%%step b\n", "step:a")], [("conflicting-tags", 1)], "the tag step:a and the line %%step b"),
        ([code("", "step:a_b"), code("", "step:a-b")], [("name-collision", 2)], "'a_b' and 'a-b'"),
        ([code("", "step:A"), code("", "step:B!")], [("bad-name", 1), ("bad-name", 2)], "upper-case"),
        ([text()], [("no-code", None)], "no code cell"),
        ([code("1", "skip")], [("no-code", None)], "no code cell"),
    ],
)
def test_faults_of_tags(cells: list[dict[str, Any]], found: list[tuple[str, int]], says: str) -> None:
    built = pipeline(*cells)
    assert faults(built) == found
    assert says in messages(built.diagnostics)


def test_a_long_cycle_is_reported_once() -> None:
    cells = [code("", f"step:s{n}", f"prev:s{(n + 1) % 50}") for n in range(50)]
    found = [one for one in pipeline(*cells).diagnostics if one.code == "cycle"]
    assert len(found) == 1
    assert "more" in found[0].message


def test_all_faults_are_reported_at_once_in_the_order_of_places() -> None:
    built = pipeline(
        code("x = nowhere", "step:a", 3, "prev:b", options={"cpu": "2Gib", "foo": 1}),  # type: ignore[arg-type]
        code("def f(:\n  pass", "stpe:b"),
        code("n = 1", "parameters"),
        parameters={"n": "x", "k": 1},
    )
    assert [one for one, _ in faults(built)] == [
        "unknown-parameter", "bad-tag", "unknown-option", "bad-option", "unknown-step", "unknown-tag", "syntax-error",
        "bad-parameter",
    ]  # fmt: skip
    with pytest.raises(NotebookError) as caught:
        check(built)
    assert caught.value.diagnostics == built.diagnostics


def test_check_lets_warnings_pass() -> None:
    check(sound(code("a = 1")))


def test_an_untagged_notebook_is_one_step_with_a_warning() -> None:
    built = sound(code("a = 1"), code("b = a"))
    assert [one.code for one in built.diagnostics] == ["no-steps"]


def test_more_than_500_steps_are_refused() -> None:
    assert ("too-many-steps", None) in faults(pipeline(*[code("1", f"step:s{n}") for n in range(1001)]))


def test_the_name_is_kale_s_or_the_file_s() -> None:
    kale = {"kubeflow_notebook": {"pipeline_name": "candies-sharing", "docker_image": "", "autosnapshot": True}}
    assert sound(code("a = 1", "step:a"), metadata=kale).name == "candies-sharing"
    assert sound(code("a = 1", "step:a")).name == "notebook"


_RICH = (
    code("import os", "imports"),
    code("rate = -0.5  # learning rate\nshape = (2, 3)\nnames = {'a'}\nempty = None", "parameters"),
    code("%%step load --cpu 2 --memory 4Gi --gpu 1 --env A=b --timeout 90s --toleration gpu:NoSchedule\nx = rate"),
    code("y = x", "step:train", "label:a:b", "secret:s:k:V"),
    code("x += y", "step:load"),
    code("score = x\nprint(score)", "pipeline-metrics"),
)


def test_a_pipeline_goes_through_json_unchanged() -> None:
    built = sound(*_RICH, parameters={"rate": "2", "shape": [1, 2]})
    again = from_json(to_json(built))
    assert again == built
    assert again.parameters[1].default == (2, 3)
    assert again.values == {"rate": 2.0, "shape": (1, 2)}


def test_values_that_json_has_no_form_for_go_through_json_too() -> None:
    built = sound(*_RICH, parameters={"names": "{'b', 'c'}"})
    assert from_json(to_json(built)).values == {"names": {"b", "c"}}


def test_what_is_no_pipeline_is_refused() -> None:
    with pytest.raises(msgspec.ValidationError):
        from_json(b'{"name": 3}')


def test_describe_has_one_row_per_step() -> None:
    shown = describe(sound(*_RICH))
    assert list(shown) == ["name", "parameters", "metrics", "steps", "diagnostics"]
    assert shown["parameters"][:2] == [
        {"name": "rate", "type": "float", "default": -0.5, "help": "learning rate"},
        {"name": "shape", "type": "tuple", "default": [2, 3], "help": ""},
    ]
    assert shown["metrics"] == ["score"]
    assert [row["name"] for row in shown["steps"]] == ["setup", "load", "train", "metrics"]
    load = shown["steps"][1]
    assert list(load) == ["name", "cells", "after", "inputs", "outputs", "resources", "options", "observed"]
    assert load["cells"] == [3, 5]
    assert load["inputs"] == [{"name": "rate", "from": "setup"}, {"name": "y", "from": "train"}]
    assert load["outputs"] == ["x"]
    assert load["resources"] == {"cpu": "2", "memory": "4Gi", "gpu": {"nvidia.com/gpu": 1}}
    assert load["options"] == {
        "env": {"A": "b"}, "timeout": 90.0, "toleration": [{"key": "gpu", "effect": "NoSchedule"}],
    }  # fmt: skip
    assert msgspec.json.decode(msgspec.json.encode(shown)) == shown


def test_building_leaves_the_notebook_as_it_is() -> None:
    notebook = parsed(*_RICH)
    before = msgspec.json.encode(notebook)
    build_pipeline(notebook, {"rate": "3"}, {"load": {"cpu": 4}})
    assert msgspec.json.encode(notebook) == before


_SOURCES = st.sampled_from(
    ["a = 1", "b = a", "print(a, b)", "del a", "def f():\n    return a", "f()", "a += 1", "from x import *", "(", "",
     "%%step one --cpu 2\na = 2", "%%step two\n%%time\nb = 3", "!ls {a}", "exec('b = 2')", "# words"]
)  # fmt: skip
_TAGS = st.sampled_from(
    ["step:one", "step:two", "block:three", "prev:one", "prev:two", "imports", "functions", "parameters", "checks",
     "pipeline-metrics", "skip", "toc", "limit:cpu:1", "step:Bad", "stpe:one", "block:", "step:setup", "step:metrics"]
)  # fmt: skip


@given(st.lists(st.tuples(_SOURCES, st.lists(_TAGS, max_size=2, unique=True)), max_size=8))
def test_every_cell_has_one_place_and_order_runs_forward(rows: list[tuple[str, list[str]]]) -> None:
    built = pipeline(*[code(source, *tags) for source, tags in rows])
    names = [step.name for step in built.steps]
    assert len(set(names)) == len(names)
    placed = [cell.number for step in built.steps for cell in step.unit.cells]
    assert placed == sorted(set(placed))
    kept = {number for number, (_, tags) in enumerate(rows, 1) if "skip" not in tags}
    left_out = kept - set(placed)
    # Only cells without tags and code may be left out, and only before the first that has some.
    assert all(rows[number - 1][0] in ("", "# words") and number < min(placed, default=99) for number in left_out)
    for at, step in enumerate(built.steps):
        assert set(step.after) <= set(names[:at])
        assert set(step.prev) <= set(step.after)
        assert set(step.inputs.values()) <= set(names[:at])
    assert [one.name for one in built.flow.units] == names
    assert from_json(to_json(built)) == built
    assert {row["name"] for row in describe(built)["steps"]} == {step.step for step in built.steps}


def test_reading_and_building_34_cells_takes_at_most_30_milliseconds() -> None:
    cells = [code("import os", "imports"), code("n = 3", "parameters")]
    for number in range(32):
        source = "x# = [n * j for j in range(#)]\ndef f#(a):\n    return a + n\ny# = f#(1)".replace("#", str(number))
        cells.append(code(source, *([f"step:s{number // 4}"] if number % 4 == 0 else [])))
    seconds = []
    for _ in range(9):
        start = time.process_time()
        build_pipeline(parsed(*cells))
        seconds.append(time.process_time() - start)
    assert statistics.median(seconds) <= 0.03


def test_options_without_effect_are_told() -> None:
    built = pipeline(code("seeds = [1, 2]", "parameters"), code("%%step train --map seeds --workers 2\nx = seeds"))
    told = [(one.severity, one.code, one.message.split(" in its")[0]) for one in built.diagnostics]
    assert told == [("warning", "no-effect-yet", f"option {name}") for name in ("map", "workers")]
