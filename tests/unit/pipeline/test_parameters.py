from __future__ import annotations

import ast
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbkube.errors import NotebookError, Place
from nbkube.pipeline import Parameter, parse_parameter
from tests.unit.documents import code, faults, messages, pipeline, sound


def _parameter(kind: str, default: Any = None) -> Parameter:
    return Parameter("p", kind, default, "", Place("n.ipynb", 1))


@pytest.mark.parametrize(
    ("source", "kind", "default"),
    [
        ("p = 3", "int", 3),
        ("p = -3", "int", -3),
        ("p = 0.5", "float", 0.5),
        ("p = -1e-3", "float", -0.001),
        ("p = True", "bool", True),
        ("p = 'a'", "str", "a"),
        ("p = None", "none", None),
        ("p = [1, [2], 'x']", "list", [1, [2], "x"]),
        ("p = {'a': [1]}", "dict", {"a": [1]}),
        ("p = (1, 2)", "tuple", (1, 2)),
        ("p: float = 1", "float", 1),
        ("p: int = None", "int", None),
        ("from typing import Optional\np: Optional[int] = None", "int", None),
        ("p: list[int] = [1]", "list", [1]),
        ("p: 'dict' = {}", "dict", {}),
        ("p = {1, 2}", "any", "{1, 2}"),
        ("p = b'x'", "any", "b'x'"),
        ("p = 2j", "any", "2j"),
        ("p = {1: 2}", "any", "{1: 2}"),
        ("p = 1e999", "any", "inf"),
        ("p = '\\ud800'", "any", "'\\ud800'"),
        ("p = 10**0 if False else 1", None, None),
        ("p = 100000000000000000000", "int", 10**20),
    ],
)
def test_literals_are_parameters(source: str, kind: str | None, default: Any) -> None:
    found = sound(code(source, "parameters")).parameters
    assert [(one.name, one.type, one.default) for one in found] == ([("p", kind, default)] if kind else [])


def test_names_order_help_and_places() -> None:
    source = "# learning rate\n# of the optimizer\nrate = 0.1\nepochs = 3  # rounds\n\nN = n = 2\na, b = 1, 'x'"
    built = sound(code("%%step setup-it\nz = 1"), code(source, "pipeline-parameters"))
    assert [(one.name, one.help) for one in built.parameters] == [
        ("rate", "learning rate of the optimizer"), ("epochs", "rounds"), ("N", ""), ("n", ""), ("a", ""), ("b", ""),
    ]  # fmt: skip
    assert [one.place.line for one in built.parameters] == [3, 4, 6, 6, 7, 7]
    assert {one.place.cell for one in built.parameters} == {2}


def test_the_cell_that_papermill_injects_counts_last() -> None:
    built = sound(code("n = 1  # size", "parameters"), code("n = 5", "injected-parameters"))
    assert [(one.name, one.default, one.help) for one in built.parameters] == [("n", 5, "size")]


def test_a_given_value_replaces_the_literal_where_it_stands() -> None:
    built = sound(code("n = 1  # size\nm = n * 2", "parameters"), code("print(n, m)", "step:a"), parameters={"n": "7"})
    assert built.steps[0].unit.cells[0].source == "n = 7  # size\nm = n * 2"
    assert built.values == {"n": 7}
    assert built.parameters[0].default == 1


@pytest.mark.parametrize(
    ("kind", "default", "text", "value"),
    [
        ("int", 1, "-5", -5),
        ("int", 1, " 1_000 ", 1000),
        ("int", None, "null", None),
        ("float", 0.1, "1", 1.0),
        ("float", 0.1, "-1e-3", -0.001),
        ("bool", True, "false", False),
        ("bool", True, "YES", True),
        ("str", "", "5", "5"),
        ("str", "", " a ", " a "),
        ("str", "", "", ""),
        ("str", "", "{{workflow.name}}", "{{workflow.name}}"),
        ("str", "", "'; rm -rf /; '", "'; rm -rf /; '"),
        ("str", "", "a\0b\n\"\"\"'''\\", "a\0b\n\"\"\"'''\\"),
        ("str", "", "x" * 2**20, "x" * 2**20),
        ("list", [], "[1, 'a', null]".replace("'", '"'), [1, "a", None]),
        ("list", [], "['a', -1]", ["a", -1]),
        ("dict", {}, '{"a": {"b": true}}', {"a": {"b": True}}),
        ("tuple", (1,), "(1, 2)", (1, 2)),
        ("tuple", (1,), "[1, 2]", (1, 2)),
        ("none", None, "3", 3),
        ("none", None, "some text", "some text"),
        ("any", "{1}", "{1, 2}", {1, 2}),
        ("any", "b'a'", "b'x'", b"x"),
    ],
)
def test_texts_are_read_by_the_parameter_s_type(kind: str, default: Any, text: str, value: Any) -> None:
    assert parse_parameter(_parameter(kind, default), text) == value


@pytest.mark.parametrize(
    ("kind", "default", "text", "says"),
    [
        ("int", 1, "1.5", "'1.5' is not a whole number"),
        ("int", 1, "two", "give a whole number such as 10"),
        ("int", 1, "", "not a whole number"),
        ("int", 1, "٣", "not a whole number"),
        ("int", 1, "9" * 5000, "is too long"),
        ("int", 1, "null", "not a whole number"),
        ("float", 0.1, "nan", "not a number"),
        ("float", 0.1, "1e999", "too large"),
        ("float", 0.1, "0,5", "not a number"),
        ("bool", True, "2", "neither true nor false"),
        ("bool", True, "", "neither true nor false"),
        ("list", [], "5", "is of type int, wanted is list"),
        ("list", [], "[1", "neither JSON nor a Python literal"),
        ("list", [], "[NaN]", "neither JSON nor a Python literal"),
        ("list", [], "[" * 5000, "neither JSON nor a Python literal"),
        ("list", [], "__import__('os').system('true')", "neither JSON nor a Python literal"),
        ("dict", {}, "[]", "is of type list, wanted is dict"),
        ("tuple", (), "1", "wanted is tuple"),
        ("any", "{1}", "[1", "give a Python literal such as '{1}'"),
        ("any", "b'a'", "1", "wanted is bytes"),
        ("str", "", "\udcff", "not UTF-8"),
    ],
)
def test_texts_that_do_not_fit_say_what_is_wanted(kind: str, default: Any, text: str, says: str) -> None:
    with pytest.raises(NotebookError) as caught:
        parse_parameter(_parameter(kind, default), text)
    assert says in str(caught.value)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("source", "value", "says"),
    [
        ("p = 1", [1], "is of type list, wanted is int"),
        ("p = 1", None, "is of type null, wanted is int"),
        ("p = 1", True, "is of type bool, wanted is int"),
        ("p = 1", 1.0, "is of type float, wanted is int"),
        ("p = 0.5", float("inf"), "wanted is float"),
        ("p = 'a'", 1, "is of type int, wanted is str"),
        ("p = [1]", {"a": 1}, "is of type dict, wanted is list"),
        ("p = True", 1, "is of type int, wanted is bool"),
    ],
)
def test_values_of_another_type_are_refused(source: str, value: Any, says: str) -> None:
    built = pipeline(code(source, "parameters"), parameters={"p": value})
    assert faults(built) == [("bad-parameter", 1)]
    assert says in messages(built.diagnostics)


@pytest.mark.parametrize(
    ("source", "value", "wanted"),
    [("p = 0.5", 2, 2.0), ("p = (1,)", [1, 2], (1, 2)), ("p = [1]", ["a"], ["a"]), ("p = {1}", [2], {2})],
)
def test_values_that_fit_are_taken(source: str, value: Any, wanted: Any) -> None:
    assert sound(code(source, "parameters"), parameters={"p": value}).values == {"p": wanted}


@pytest.mark.parametrize(
    ("given_values", "hint"),
    [
        ({"epoch": "1"}, "did you mean epochs?"),
        ({"Epochs": "1"}, "did you mean epochs?"),
        ({"import": "1"}, "it has epochs, n"),
        ({"": "1"}, "it has epochs, n"),
        ({"m": "1"}, "give the parameters it is computed from"),
    ],
)
def test_names_that_are_no_parameter(given_values: dict[str, str], hint: str) -> None:
    built = pipeline(code("epochs = 1\nn = 2\nm = n * 2", "parameters"), parameters=given_values)
    assert [one.hint for one in built.diagnostics if one.severity == "error"][0].startswith(hint)


def test_parameters_that_differ_by_case_are_two() -> None:
    built = sound(code("n = 1\nN = 2", "parameters"), parameters={"N": "5"})
    assert built.steps[0].unit.cells[0].source == "n = 1\nN = 5"


def test_an_annotation_that_does_not_fit_is_a_warning() -> None:
    built = sound(code("p: int = 'a'", "parameters"))
    assert built.parameters[0].type == "str"
    assert [one.code for one in built.diagnostics] == ["no-steps", "parameter-type"]


@given(st.text())
def test_any_text_given_for_a_text_is_data(text: str) -> None:
    built = pipeline(code("p = 'x'  # help\nq = p", "parameters"), parameters={"p": text})
    if faults(built):
        assert any("\ud800" <= char <= "\udfff" for char in text)
        return
    tree = ast.parse(built.steps[0].unit.cells[0].source)
    assert isinstance(tree.body[0], ast.Assign)
    assert ast.literal_eval(tree.body[0].value) == text


@given(st.sampled_from(["int", "float", "bool", "list", "dict", "tuple", "none"]), st.text(max_size=20))
def test_any_text_is_read_or_refused(kind: str, text: str) -> None:
    default = {"int": 1, "float": 1.0, "bool": True, "list": [], "dict": {}, "tuple": ()}.get(kind)
    said = ""
    value: Any = None
    try:
        value = parse_parameter(_parameter(kind, default), text)
    except NotebookError as error:
        said = str(error)
    assert "Fix: give" in said or kind == "none" or type(value).__name__ == kind
