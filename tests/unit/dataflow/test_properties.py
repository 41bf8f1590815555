"""What holds for any code: analysis never raises, layout never counts, escapes keep their lines."""

from __future__ import annotations

import ast
import io
import re
import textwrap
import tokenize
from pathlib import Path
from random import Random

import hypothesis.strategies as st
import pytest
from hypothesis import assume, given, settings

import nbkube
from nbkube.dataflow import Unit, analyze, normalise, parse_cell
from nbkube.dataflow.escapes import transform
from tests.unit.dataflow.notebooks import cell
from tests.unit.dataflow.test_cells import ROWS

NAMES = ("a", "b", "df", "f", "list", "_", "np", "self", "x1")
ATOMS = ("1", "-1", "'s'", "None", "f'{N}'", "...", "(yield)", "lambda x, *y, z=N: b", "[]", "{**N}", "N", "N", "N")
COMPOUND = (
    "(E + E)", "(E and not E)", "N.append(E)", "N(E, *E, k=E)", "[E for N in E if E]", "{E: E for N in E}", "(N := E)",
    "(E if E else E)", "N[E:E]", "(E, *E)", "(lambda N: E)", "(await N)", "N.x", "N.fit(E).y",
)  # fmt: skip
SIMPLE = (
    "E", "N = E", "N, (N, *N) = E", "N.x[E] = E", "N += E", "N: E = E", "del N, N[0]", "import N.x, N as N",
    "from N import N as N, x", "from N import *", "global N", "nonlocal N", "return E", "raise E from E",
    "assert E, E", "break", "continue", "pass", "return",
)  # fmt: skip
BLOCKS = (
    "if E:\n@\nelse:\n@", "for N in E:\n@\nelse:\n@", "while E:\n@", "while True:\n@",
    "try:\n@\nexcept N as N:\n@\nelse:\n@\nfinally:\n@", "try:\n@\nexcept* N:\n@", "with E as N, E:\n@",
    "@N\ndef N(N, b=E):\n@", "async def N(*args, **kw):\n@", "class N(N):\n@", "def N(x):\n@\nN(E)",
    "match E:\n  case [N, *_]:\n@\n  case {'k': N, **r}:\n@",
)  # fmt: skip


def expression(random: Random, depth: int) -> str:
    """An expression of the templates above."""
    template = random.choice(COMPOUND if depth and random.random() < 0.6 else ATOMS)
    return fill(template, random, depth - 1)


def fill(template: str, random: Random, depth: int) -> str:
    """A template with its N (names) and E (expressions) filled in."""
    words = re.split(r"\b([NE])\b", template)
    for at, word in enumerate(words):
        if word == "N":
            words[at] = random.choice(NAMES)
        elif word == "E":
            words[at] = expression(random, max(depth, 0))
    return "".join(words)


def block(random: Random, depth: int) -> str:
    """Some statements, some of them with blocks inside."""
    statements = []
    for _ in range(random.randint(1, 3)):
        if depth == 0 or random.random() < 0.6:
            statements.append(fill(random.choice(SIMPLE), random, 2))
            continue
        lines = fill(random.choice(BLOCKS), random, 2).split("\n")
        statements.extend(textwrap.indent(block(random, depth - 1), "    ") if line == "@" else line for line in lines)
    return "\n".join(statements)


PROGRAMS = st.integers(0, 2**32).map(lambda seed: block(Random(seed), 3))


@settings(max_examples=400, deadline=None)
@given(st.lists(PROGRAMS, min_size=1, max_size=4))
def test_analysis_never_raises(texts: list[str]) -> None:
    units = [Unit(f"u{at}", (cell(text, at),)) for at, text in enumerate(texts, 1)]
    found = analyze(units, file="nb.ipynb")
    assert len(found.units) == len(found.after) == len(texts)
    assert found == analyze(units, file="nb.ipynb")
    waited: list[set[int]] = []
    for at, (unit, after) in enumerate(zip(found.units, found.after, strict=True)):
        assert not set(unit.reads) & set(unit.optional_reads)
        assert set(unit.mutates) <= set(unit.reads) | set(unit.optional_reads)
        assert not set(unit.writes) & (set(unit.may_writes) | set(unit.deletes))
        assert all(0 <= one < at for one in after)
        waited.append({*after}.union(*(waited[one] for one in after)))
        assert {edge.producer for edge in found.edges if edge.consumer == at} <= waited[at]


@settings(max_examples=400, deadline=None)
@given(st.text(alphabet="ab%!?=()[]{}'\"#\\ \n\t:,.$@1", max_size=60))
def test_no_text_breaks_the_analysis(text: str) -> None:
    found = analyze([Unit("u", (cell(text),))], file="nb.ipynb")
    errors = [one for one in found.diagnostics if one.code == "syntax-error"]
    assert bool(errors) == (parse_cell(cell(text)).tree is None)
    normalise(cell(text))


@settings(max_examples=200, deadline=None)
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


@settings(max_examples=200, deadline=None)
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
