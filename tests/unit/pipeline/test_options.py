from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbkube.errors import Place
from nbkube.pipeline import OPTIONS, StepOptions, check_options, option_schema
from nbkube.pipeline.model import Secret, Toleration, Volume
from nbkube.pipeline.options import parse_magic
from tests.unit.documents import code, faults, messages, pipeline, sound

_ROWS: list[tuple[str, Any, str, StepOptions]] = [
    ("cpu", "2", "--cpu 2", StepOptions(cpu="2")),
    ("cpu", 2, "--cpu=2", StepOptions(cpu="2")),
    ("cpu", 0.5, "--cpu 0.5", StepOptions(cpu="0.5")),
    ("memory", "4Gi", "--memory 4Gi", StepOptions(memory="4Gi")),
    ("gpu", 1, "--gpu 1", StepOptions(gpu={"nvidia.com/gpu": 1})),
    ("gpu", "amd.com/gpu=2", "--gpu amd.com/gpu=2", StepOptions(gpu={"amd.com/gpu": 2})),
    ("gpu", {"amd.com/gpu": 2}, "--gpu amd.com/gpu=2", StepOptions(gpu={"amd.com/gpu": 2})),
    ("gpu-type", "NVIDIA-A100", "--gpu-type NVIDIA-A100", StepOptions(gpu_type="NVIDIA-A100")),
    ("image", "ghcr.io/a/b:1", "--image ghcr.io/a/b:1", StepOptions(image="ghcr.io/a/b:1")),
    ("image", "localhost:5000/a", "--image localhost:5000/a", StepOptions(image="localhost:5000/a")),
    ("env", {"A": "b", "C": 1}, "--env A=b --env C=1", StepOptions(env={"A": "b", "C": "1"})),
    ("env", ["A=b=c", "D="], "--env A=b=c --env D=", StepOptions(env={"A": "b=c", "D": ""})),
    ("env", "A=b c", "--env 'A=b c'", StepOptions(env={"A": "b c"})),
    ("secret", "s3", "--secret s3", StepOptions(secret=(Secret("s3"),))),
    ("secret", ["s:/k", "b"], "--secret s:/k --secret b", StepOptions(secret=(Secret("s", "/k"), Secret("b")))),
    ("volume", "data:/data", "--volume data:/data", StepOptions(volume=(Volume("/data", "data"),))),
    ("volume", "new:1Gi:/x", "--volume new:1Gi:/x", StepOptions(volume=(Volume("/x", size="1Gi"),))),
    (
        "volume",
        ["new:1Gi:fast:/x"],
        "--volume new:1Gi:fast:/x",
        StepOptions(volume=(Volume("/x", size="1Gi", storage_class="fast"),)),
    ),
    ("node-selector", {"a.b/c": "d"}, "--node-selector a.b/c=d", StepOptions(node_selector={"a.b/c": "d"})),
    ("toleration", "gpu", "--toleration gpu", StepOptions(toleration=(Toleration("gpu"),))),
    (
        "toleration",
        ["a=b:NoExecute", "c:NoSchedule"],
        "--toleration a=b:NoExecute --toleration c:NoSchedule",
        StepOptions(toleration=(Toleration("a", "b", "NoExecute"), Toleration("c", None, "NoSchedule"))),
    ),
    ("retries", 2, "--retries 2", StepOptions(retries=2)),
    ("timeout", "1h30m", "--timeout 1h30m", StepOptions(timeout=5400)),
    ("cache", False, "--cache false", StepOptions(cache=False)),
    ("cache", "no", "--no-cache", StepOptions(cache=False)),
    ("when", "n > 1 and not m", "--when 'n > 1 and not m'", StepOptions(when="n > 1 and not m")),
    ("map", "xs", "--map xs", StepOptions(map="xs")),
    ("after-failure", True, "--after-failure", StepOptions(after_failure=True)),
    ("workers", 2, "--workers 2", StepOptions(workers=2)),
    ("ps", 1, "--ps 1", StepOptions(ps=1)),
    ("chief", True, "--chief --cpu 1", StepOptions(chief=True, cpu="1")),
    ("framework", "pytorch", "--framework pytorch", StepOptions(framework="pytorch")),
    ("model", "digits", "--model digits", StepOptions(model="digits")),
]


@pytest.mark.parametrize(("name", "value", "line", "wanted"), _ROWS)
def test_metadata_and_magic_mean_the_same(name: str, value: Any, line: str, wanted: StepOptions) -> None:
    setup = code("n = 2\nm = 0\nxs = [1]", "parameters")
    given_values = {name: value} | ({"cpu": 1} if wanted.cpu and name == "chief" else {})
    by_metadata = sound(setup, code("x = 1", "step:a", options=given_values)).steps[1].options
    by_magic = sound(setup, code(f"%%step a {line}\nx = 1")).steps[1].options
    by_caller = sound(setup, code("x = 1", "step:a"), given={"a": given_values}).steps[1].options
    assert by_metadata == by_magic == by_caller == wanted


def test_every_option_has_a_row_above() -> None:
    assert {name for name, *_ in _ROWS} == set(OPTIONS)


@pytest.mark.parametrize(
    ("tag", "wanted"),
    [
        ("limit:cpu:2", StepOptions(cpu="2")),
        ("limit:memory:8Gi", StepOptions(memory="8Gi")),
        ("limit:nvidia.com/gpu:2", StepOptions(gpu={"nvidia.com/gpu": 2})),
        ("image:ghcr.io/a/b:1", StepOptions(image="ghcr.io/a/b:1")),
        ("label:a.b/c:d", StepOptions(labels={"a.b/c": "d"})),
        ("annotation:a:b:c d", StepOptions(annotations={"a": "b:c d"})),
        ("secret:s3:access.key:KEY", StepOptions(secret=(Secret("s3", key="access.key", env="KEY"),))),
        ("cache:enabled", StepOptions()),
        ("cache:disabled", StepOptions(cache=False)),
    ],
)
def test_option_tags_of_kale(tag: str, wanted: StepOptions) -> None:
    assert sound(code("x = 1", "step:a", tag)).steps[0].options == wanted


def test_limits_of_kale_that_nothing_can_hold_are_a_warning() -> None:
    built = sound(code("x = 1", "step:a", "limit:ephemeral-storage:1Gi"))
    assert [one.code for one in built.diagnostics] == ["ignored-limit"]


def test_options_of_every_cell_of_a_step_count_for_all_its_units() -> None:
    built = sound(
        code("x = 1", "step:a", options={"cpu": 1}),
        code("y = 1", "step:b"),
        code("%%step a --memory 1Gi\nz = x"),
    )
    assert [step.options for step in built.steps] == [
        StepOptions(cpu="1", memory="1Gi"), StepOptions(), StepOptions(cpu="1", memory="1Gi"),
    ]  # fmt: skip


def test_the_same_value_in_two_places_is_no_conflict() -> None:
    built = sound(code("%%step a --cpu 2\nx = 1", "step:a", "limit:cpu:2", options={"cpu": "2"}))
    assert built.steps[0].options.cpu == "2"


@pytest.mark.parametrize(
    ("cells", "first", "second"),
    [
        ([code("%%step a --cpu 2\nx = 1", options={"cpu": 3})], "'3' in its metadata", "'2' in its line %%step"),
        ([code("x = 1", "step:a", "limit:cpu:2", options={"cpu": 3})], "'3' in its metadata", "the tag limit:cpu:2"),
        ([code("%%step a --cpu 2 --cpu 4\nx = 1")], "'2' in its line %%step", "'4' in its line %%step"),
        ([code("x = 1", "step:a", options={"env": ["A=1", "A=2"]})], "env A is 'A=1'", "'A=2'"),
        ([code("x = 1", "step:a", options={"volume": ["a:/d", "b:/d"]})], "'a:/d'", "'b:/d'"),
        (
            [code("%%step a --timeout 1h\nx = 1"), code("y = 1", "step:a", options={"timeout": "2h"})],
            "'1h' in its line %%step (cell 1)",
            "'2h' in its metadata",
        ),
    ],
)
def test_sources_that_disagree_are_both_named(cells: list[dict[str, Any]], first: str, second: str) -> None:
    built = pipeline(*cells)
    assert [one for one, _ in faults(built)] == ["conflicting-option"]
    assert first in messages(built.diagnostics)
    assert second in messages(built.diagnostics)


def test_options_given_for_a_run_replace_those_of_the_notebook() -> None:
    cell = code("%%step a --cpu 2 --memory 1Gi\nx = 1", "limit:cpu:2")
    built = sound(cell, given={"a": {"cpu": "4"}})
    assert built.steps[0].options == StepOptions(cpu="4", memory="1Gi")
    assert "the option cpu is '2' in its line %%step; this run has '4'" in messages(built.diagnostics)
    assert {one.severity for one in built.diagnostics} == {"info"}


def test_options_for_an_unknown_step_are_an_error() -> None:
    built = pipeline(code("x = 1", "step:train"), given={"trian": {"cpu": 1}})
    assert "'trian', which is no step. Fix: did you mean train?" in messages(built.diagnostics)


def test_defaults_of_kale_hold_for_steps_that_say_nothing_else() -> None:
    settings = {"steps_defaults": ["limit:cpu:2", "label:a:b", "no-such"], "volumes": [{"type": "pvc"}]}
    built = sound(
        code("import os"),
        code("x = 1", "step:a"),
        code("%%step b --cpu 4\ny = 1"),
        metadata={"kubeflow_notebook": settings},
    )
    assert [step.options.cpu for step in built.steps] == ["", "2", "4"]
    assert built.steps[2].options.labels == {"a": "b"}
    assert [one.code for one in built.diagnostics] == ["kale-volumes"]


@pytest.mark.parametrize(
    ("name", "value", "hint"),
    [
        ("cpus", 2, "did you mean cpu?"),
        ("gpu_type", "a", "did you mean gpu-type?"),
        ("CPU", 2, "did you mean cpu?"),
        ("mem", "1Gi", "did you mean memory?"),
        ("service-account", "admin", "choose from cpu, memory"),
        ("namespace", "x", "choose from"),
        ("labels", {"a": "b"}, "choose from"),
        ("cpu", True, "write CORES"),
        ("cpu", [1], "write CORES"),
        ("cpu", None, "write CORES"),
        ("cpu", {"a": 1}, "write CORES"),
        ("env", {"A": {}}, "write NAME=VALUE"),
        ("env", [["A=b"]], "write NAME=VALUE"),
        ("env", {"1A": "b"}, "write A=b"),
        ("env", {"A": "\0"}, "take the character out"),
        ("chief", 1, "write true or false"),
        ("retries", -1, "write e.g. 2"),
        ("retries", 1.5, "write e.g. 2"),
        ("retries", 1000, "write e.g. 2"),
        ("image", "My/Image", "write my/image"),
        ("image", "a b", "write [HOST/]NAME[:TAG]"),
        ("image", "a:", "write [HOST/]NAME[:TAG]"),
        ("image", "a@sha256:12", "write [HOST/]NAME[:TAG]"),
        ("image", "", "write [HOST/]NAME[:TAG]"),
        ("gpu-type", "Tesla T4", "write Tesla-T4"),
        ("secret", "My_Secret", "write my-secret"),
        ("secret", "a:keys", "write a path such as /keys"),
        ("secret", "a:/x/../../etc", "write a path such as /data"),
        ("volume", "a", "write PVC:PATH"),
        ("volume", "new:1GiB:/x", "write 1Gi"),
        ("volume", "a:/etc", "write a path such as /data"),
        ("node-selector", "a", "write KEY=VALUE"),
        ("node-selector", {"a b": "c"}, "use letters, digits"),
        ("toleration", "a:noschedule", "did you mean NoSchedule?"),
        ("toleration", "a b", "write KEY"),
        ("timeout", 90, "say the unit"),
        ("when", "f(x)", "write a comparison"),
        ("when", "x = 1", "write a comparison"),
        ("when", "x.y > 1", "write a comparison"),
        ("when", "", "write a comparison"),
        ("map", "a b", "write the name of a list"),
        ("map", "import", "write the name of a list"),
        ("framework", "torch", "did you mean pytorch?"),
        ("framework", "tensorflw", "did you mean tensorflow?"),
        ("framework", "caffe", "write one of tensorflow, pytorch"),
        ("model", "My Model", "write my-model"),
        ("cache", "maybe", "write true or false"),
    ],
)
def test_faulty_options_say_what_to_write(name: str, value: Any, hint: str) -> None:
    built = pipeline(code("x = 1", "step:a", options={name: value}))
    assert len(faults(built)) == 1
    assert hint in built.diagnostics[0].hint
    assert built.diagnostics[0].place.cell == 1


def test_a_condition_must_use_known_names() -> None:
    cells = [code("acc = 0.5", "step:a"), code("x = 1", "step:b", options={"when": "accc > 0.9", "map": "acc_list"})]
    built = pipeline(*cells)
    assert faults(built) == [("unknown-name", 2)] * 2
    assert "did you mean acc?" in messages(built.diagnostics)


def test_a_map_over_a_number_is_an_error() -> None:
    built = pipeline(code("n = 3", "parameters"), code("x = 1", "step:b", options={"map": "n"}))
    assert "the parameter n is of type int" in messages(built.diagnostics)


def test_pytorch_has_no_parameter_servers() -> None:
    built = pipeline(code("%%step a --framework pytorch --ps 1 --workers 2\nx = 1"))
    assert "PyTorch has no parameter servers" in messages(built.diagnostics)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("train --cpu", "the option --cpu in its line %%step has no value. Fix: write --cpu CORES"),
        ("train --cpu --gpu 1", "the option --cpu in its line %%step has no value"),
        ("train cpu=2", "'cpu=2' in its line %%step is no option"),
        ("train -c 2", "'-c' in its line %%step is no option"),
        ("train --env 'A=b", "a quote that is not closed"),
        ("train --nocache", "did you mean cache?"),
        ("--cpu 2", "names no step"),
        ("", "names no step"),
        ("Train", "upper-case"),
    ],
)
def test_faulty_magic_lines(line: str, says: str) -> None:
    built = pipeline(code(f"%%step {line}\nx = 1"))
    assert says in messages(built.diagnostics)


def test_a_magic_line_needs_no_name_where_a_tag_gives_one() -> None:
    assert sound(code("%%step --cpu 2\nx = 1", "step:a")).steps[0].options.cpu == "2"


def test_the_schema_is_closed_and_holds_every_option() -> None:
    schema = option_schema()
    assert schema["additionalProperties"] is False
    assert set(schema["properties"]) == set(OPTIONS)
    assert json.loads(json.dumps(schema)) == schema


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, value, *_ in _ROWS if value != "no"])
def test_the_schema_takes_what_the_parsers_take(name: str, value: Any) -> None:
    jsonschema.validate({name: value}, option_schema())


@pytest.mark.parametrize("faulty", [{"foo": 1}, {"cpu": []}, {"cpu": "2x"}, {"retries": -1}, {"chief": 1}, {"gpu": 99}])
def test_the_schema_refuses_what_the_parsers_refuse(faulty: dict[str, Any]) -> None:
    assert check_options(faulty)[1]
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(faulty, option_schema())


def test_check_options_is_the_same_schema_for_forms() -> None:
    options, found = check_options({"cpu": 2, "memry": "1Gi"})
    assert options == StepOptions(cpu="2")
    assert [one.hint for one in found] == ["did you mean memory?"]


@given(st.text(max_size=60))
def test_any_magic_line_is_read_or_refused(line: str) -> None:
    name, settings, found = parse_magic(line, Place("n"))
    assert all(one.option in OPTIONS for one in settings)
    assert all(one.hint for one in found)
    assert not line.strip() or name or settings or found


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=5,
)


@given(st.dictionaries(st.sampled_from(sorted(OPTIONS)) | st.text(max_size=6), _VALUES, max_size=4))
def test_any_object_makes_options_or_faults(given_values: dict[str, Any]) -> None:
    options, found = check_options(given_values)
    assert isinstance(options, StepOptions)
    assert all(one.hint and one.message for one in found)
