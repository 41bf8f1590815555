from __future__ import annotations

import pytest

from nbkube.notebook.tags import read_tags


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("step:train", "step", "train"),
        ("block:train", "step", "train"),
        ("step:create_matrix", "step", "create-matrix"),
        ("prev:load", "prev", "load"),
        ("imports", "imports", ""),
        ("functions", "functions", ""),
        ("parameters", "parameters", ""),
        ("pipeline-parameters", "parameters", ""),
        ("injected-parameters", "parameters", ""),
        ("pipeline-metrics", "metrics", ""),
        ("checks", "checks", ""),
        ("skip", "skip", ""),
        ("block:imports", "imports", ""),
        ("block:skip", "skip", ""),
        ("block:", "join", ""),
        ("limit:nvidia.com/gpu:2", "option", "nvidia.com/gpu:2"),
        ("image:ghcr.io/team/train:1", "option", "ghcr.io/team/train:1"),
        ("label:a:b", "option", "a:b"),
        ("annotation:a:b", "option", "a:b"),
        ("secret:s3:key:KEY", "option", "s3:key:KEY"),
        ("cache:disabled", "option", "disabled"),
    ],
)
def test_known_tags(text: str, kind: str, value: str) -> None:
    known, faults = read_tags([text])
    assert faults == ()
    assert [(one.kind, one.value) for one in known] == [(kind, value)]


def test_one_prev_tag_may_name_several_steps() -> None:
    assert [one.value for one in read_tags(["prev:sum:cumsum"])[0]] == ["sum", "cumsum"]


@pytest.mark.parametrize(
    "text",
    [
        "remove-input", "hide-output", "raises-exception", "slideshow", "skip-execution", "solution", "test", "toc",
        "nbval-skip", "stem:biology", "exercise", "level:1", "title:steps", "no-execute", "table", "",
    ],
)  # fmt: skip
def test_tags_of_other_tools_are_left_alone(text: str) -> None:
    assert read_tags([text]) == ((), ())


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("stpe:train", "step:train"),
        ("Step:train", "step:train"),
        ("STEP:train", "step:train"),
        (" step:train", "step:train"),
        ("step :train", "step:train"),
        ("steps:train", "step:train"),
        ("step train", "step:train"),
        ("step=train", "step:train"),
        ("blok:train", "block:train"),
        ("perv:load", "prev:load"),
        ("limt:cpu:2", "limit:cpu:2"),
        ("import", "imports"),
        ("Imports", "imports"),
        ("imports ", "imports"),
        ("function", "functions"),
        ("parameter", "parameters"),
        ("params", "parameters"),
        ("pipeline_parameters", "pipeline-parameters"),
        ("pipeline metrics", "pipeline-metrics"),
        ("metrics", "pipeline-metrics"),
        ("check", "checks"),
        ("Skip", "skip"),
        ("skip:", "skip"),
    ],
)
def test_slips_are_errors_that_say_what_was_meant(text: str, meant: str) -> None:
    known, faults = read_tags([text])
    assert known == ()
    assert [(one.severity, one.hint) for one in faults] == [("error", f"did you mean {meant}?")]


@pytest.mark.parametrize(("text", "meant"), [("step-1", "step:1"), ("block/train", "block:train")])
def test_tags_that_may_be_meant_are_warnings(text: str, meant: str) -> None:
    known, faults = read_tags([text])
    assert known == ()
    assert [(one.severity, one.hint) for one in faults] == [("warning", f"write {meant} if a step is meant")]


@pytest.mark.parametrize("text", ["step", "step:", "prev", "block", "image:", "limit:"])
def test_a_tag_without_its_name_says_how_it_is_written(text: str) -> None:
    faults = read_tags([text])[1]
    assert [one.severity for one in faults] == ["error"]
    assert "write " in faults[0].hint


def test_kale_s_notebook_tag_is_refused_and_its_report_tag_has_no_effect() -> None:
    faults = read_tags(["notebook:other", "report:enabled"])[1]
    assert [(one.severity, one.code) for one in faults] == [("error", "kale-notebook"), ("info", "kale-report")]
