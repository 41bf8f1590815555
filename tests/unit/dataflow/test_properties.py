"""What holds for any code: analysis never raises, layout never counts, escapes keep their lines."""

from __future__ import annotations

import ast
import io
import tokenize
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import assume, given, settings

import nbkube
from nbkube.dataflow import Unit, analyze, normalise, parse_cell
from nbkube.dataflow.escapes import transform
from tests.unit.dataflow.notebooks import cell
from tests.unit.dataflow.test_cells import ROWS

NAMES = st.sampled_from(["a", "b", "df", "f", "list", "_", "np", "self", "x1"])
ATOMS = st.one_of(
    NAMES,
    st.sampled_from(["1", "-1", "'s'", "None", "f'{a}'", "...", "(yield)", "lambda x, *y, z=a: b", "[]", "{**a}"]),
)


def _compound(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(
        st.builds("({} + {})".format, inner, inner),
        st.builds("({} and not {})".format, inner, inner),
        st.builds("{}.append({})".format, NAMES, inner),
        st.builds("{}({}, *{}, k={})".format, NAMES, inner, inner, inner),
        st.builds("[{} for {} in {} if {}]".format, inner, NAMES, inner, inner),
        st.builds("{{{}: {} for {} in {}}}".format, inner, inner, NAMES, inner),
        st.builds("({} := {})".format, NAMES, inner),
        st.builds("({} if {} else {})".format, inner, inner, inner),
        st.builds("{}[{}:{}]".format, NAMES, inner, inner),
        st.builds("({}, *{})".format, inner, inner),
        st.builds("(lambda {}: {})".format, NAMES, inner),
        st.builds("(await {})".format, inner),
    )


EXPRESSIONS = st.recursive(ATOMS, _compound, max_leaves=6)
SIMPLE = st.one_of(
    EXPRESSIONS,
    st.builds("{} = {}".format, NAMES, EXPRESSIONS),
    st.builds("{}, ({}, *{}) = {}".format, NAMES, NAMES, NAMES, EXPRESSIONS),
    st.builds("{}.x[{}] = {}".format, NAMES, EXPRESSIONS, EXPRESSIONS),
    st.builds("{} += {}".format, NAMES, EXPRESSIONS),
    st.builds("{}: {} = {}".format, NAMES, EXPRESSIONS, EXPRESSIONS),
    st.builds("del {}, {}[0]".format, NAMES, NAMES),
    st.builds("import {}.x, {} as {}".format, NAMES, NAMES, NAMES),
    st.builds("from {} import {} as {}, x".format, NAMES, NAMES, NAMES),
    st.builds("from {} import *".format, NAMES),
    st.builds("global {}".format, NAMES),
    st.builds("nonlocal {}".format, NAMES),
    st.builds("return {}".format, EXPRESSIONS),
    st.builds("raise {} from {}".format, EXPRESSIONS, EXPRESSIONS),
    st.builds("assert {}, {}".format, EXPRESSIONS, EXPRESSIONS),
    st.sampled_from(["break", "continue", "pass", "return"]),
)


def _indented(lines: list[str]) -> str:
    return "\n".join("    " + line for one in lines for line in one.split("\n"))


def _block(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    body = st.lists(inner, min_size=1, max_size=3).map(_indented)
    return st.one_of(
        st.builds("if {}:\n{}\nelse:\n{}".format, EXPRESSIONS, body, body),
        st.builds("for {} in {}:\n{}\nelse:\n{}".format, NAMES, EXPRESSIONS, body, body),
        st.builds("while {}:\n{}".format, EXPRESSIONS, body),
        st.builds("while True:\n{}".format, body),
        st.builds(
            "try:\n{}\nexcept {} as {}:\n{}\nelse:\n{}\nfinally:\n{}".format, body, NAMES, NAMES, body, body, body
        ),
        st.builds("try:\n{}\nexcept* {}:\n{}".format, body, NAMES, body),
        st.builds("with {} as {}, {}:\n{}".format, EXPRESSIONS, NAMES, EXPRESSIONS, body),
        st.builds("@{}\ndef {}({}, b={}):\n{}".format, NAMES, NAMES, NAMES, EXPRESSIONS, body),
        st.builds("async def {}(*args, **kw):\n{}".format, NAMES, body),
        st.builds("class {}({}):\n{}".format, NAMES, NAMES, body),
        st.builds(
            "match {}:\n  case [{}, *_]:\n{}\n  case {{'k': {}, **r}}:\n{}".format,
            EXPRESSIONS,
            NAMES,
            body,
            NAMES,
            body,
        ),
    )


PROGRAMS = st.lists(st.recursive(SIMPLE, _block, max_leaves=8), min_size=1, max_size=5).map("\n".join)


@settings(max_examples=60, deadline=None)
@given(st.lists(PROGRAMS, min_size=1, max_size=4))
def test_analysis_never_raises(texts: list[str]) -> None:
    units = [Unit(f"u{at}", (cell(text, at),)) for at, text in enumerate(texts, 1)]
    found = analyze(units, file="nb.ipynb")
    assert len(found.units) == len(found.after) == len(texts)
    for at, (unit, after) in enumerate(zip(found.units, found.after, strict=True)):
        assert not set(unit.reads) & set(unit.optional_reads)
        assert set(unit.mutates) <= set(unit.reads) | set(unit.optional_reads)
        assert not set(unit.writes) & (set(unit.may_writes) | set(unit.deletes))
        assert all(0 <= one < at for one in after)
        assert {edge.producer for edge in found.edges if edge.consumer == at} <= set(after)


@settings(max_examples=60, deadline=None)
@given(st.text(alphabet="ab%!?=()[]{}'\"#\\ \n\t:,.$@1", max_size=60))
def test_no_text_breaks_the_analysis(text: str) -> None:
    found = analyze([Unit("u", (cell(text),))], file="nb.ipynb")
    errors = [one for one in found.diagnostics if one.code == "syntax-error"]
    assert bool(errors) == (parse_cell(cell(text)).tree is None)
    normalise(cell(text))


@settings(max_examples=50, deadline=None)
@given(
    st.lists(
        st.sampled_from(
            ["x = 1", "!ls", "%time x", "y = !ls", "z = (1,", "2)", "'''", "# %no", "if x:", "    pass", ""]
        )
    )
)
def test_lines_are_kept(lines: list[str]) -> None:
    source = "\n".join(lines)
    changed = transform(source).source
    assert len(changed.split("\n")) == len(source.split("\n"))


@settings(max_examples=50, deadline=None)
@given(PROGRAMS)
def test_comments_and_blank_lines_do_not_count(text: str) -> None:
    assume(parse_cell(cell(text)).tree is not None)
    assert normalise(cell(text)) == normalise(cell(relaid(text)))


def relaid(text: str) -> str:
    """The same tokens with other comments and blank lines."""
    try:
        ends = {
            token.start[0]
            for token in tokenize.generate_tokens(io.StringIO(text).readline)
            if token.type == tokenize.NEWLINE
        }
    except (tokenize.TokenError, IndentationError):
        return text
    lines = text.split("\n")
    return "\n".join(f"{line}   # note {at}\n\n" if at in ends else line for at, line in enumerate(lines, 1))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.title)
def test_layout_of_the_table_does_not_count(row: tuple[str, str]) -> None:
    source = cell(row[1])
    tree = parse_cell(source).tree
    assert tree is not None
    if not any(mark in row[1] for mark in "%!?"):
        assert normalise(source) == normalise(cell(relaid(row[1]))) == normalise(cell(ast.unparse(tree)))


def test_real_code_is_analysed() -> None:
    for path in sorted(Path(nbkube.__file__).parent.rglob("*.py")):
        text = path.read_text(encoding="utf-8").replace("__file__", "__name__")
        found = analyze([Unit("u", (cell(text),))], file=path.name)
        assert not [one for one in found.diagnostics if one.severity == "error"], path


@pytest.mark.parametrize(
    "text",
    [
        "x = " + "(" * 150 + "1" + ")" * 150,
        "x = " + " + ".join(["1"] * 5000),
        "x = " + "[" * 90 + "]" * 90,
        "a" + ".b" * 2000,
        "f" + "()" * 2000,
        "\n".join(" " * at + "if x:" for at in range(80)) + "\n" + " " * 80 + "y = 1",
        "x = " + "-" * 3000 + "1",
        "x = " + "not " * 3000 + "y",
        "if x: pass\n" + "elif y: pass\n" * 1500,
    ],
    ids=["brackets", "sum", "lists", "attributes", "calls", "blocks", "minus", "not", "elif"],
)
def test_deep_code(text: str) -> None:
    analyze([Unit("u", (cell(text),)), Unit("v", (cell("x = 1\nz = x", 2),))], file="nb.ipynb")
