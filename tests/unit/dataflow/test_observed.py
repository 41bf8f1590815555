"""Analysis against execution: random programs are run, and what they do must be what was foretold."""

from __future__ import annotations

import builtins
import textwrap
from random import Random
from typing import Any

import hypothesis.strategies as st
from hypothesis import given, settings

from nbkube.dataflow import UnitFlow
from tests.unit.dataflow.notebooks import flow

START = "a, b, c = [1], [[2], 3], {'k': [4]}\nd, n = b, 5\ndef f(x):\n    return x\ndef g(x, y=[]):\n    return y"
NAMES = ("a", "b", "c", "d", "n", "e")
VALUES = (
    "1", "[N]", "N", "[N, N]", "{'k': N}", "f(N)", "g(N)", "list(N)", "[x for x in N]", "(N or N)", "N[0]",
    "len(N)", "(N if n else N)", "str(N)", "N", "(lambda: N)()", "[N for _ in range(n % 3)]",
)  # fmt: skip
SIMPLE = (
    "N = V", "N = V", "N, N = N, N", "N.append(V)", "N[0] = V", "N['k'] = V", "N += [1]", "del N", "N = M = V",
    "f(N)", "g(N)", "g(N, N)", "print(N)", "N.sort()", "(N := V)", "assert N", "N[0].append(1)", "N: int = V",
)  # fmt: skip
BLOCKS = (
    "if N:\n@\nelse:\n@", "if n % 2:\n@", "for N in range(3):\n@", "for N in list(N):\n@",
    "for N in range(2):\n@\n    break", "while n % 7:\n@\n    break", "while True:\n@\n    break",
    "try:\n@\nexcept (TypeError, KeyError) as e:\n@", "try:\n@\nfinally:\n    n = 1",
    "try:\n@\nexcept (TypeError, AttributeError, KeyError, IndexError):\n    pass\nelse:\n@",
    "def f(x):\n    global N\n@\n    return x", "def g(x, y=[]):\n    y.append(x)\n    return N",
    "def f(x):\n    x[0] = N\n    return x", "def f(x):\n    N.append(x)\n    return N",
    "match N:\n  case [N, *_]:\n@\n  case _:\n@", "with open('/dev/null') as e:\n@",
    "for N in tuple(N):\n    if N:\n        continue\n@\nelse:\n@",
    "class g:\n    def __init__(self, x, y=1):\n        self.x = N\n",
)  # fmt: skip


def program(random: Random, depth: int = 2) -> str:
    """A few statements over few names, most of which can be executed."""
    lines: list[str] = []
    for _ in range(random.randint(1, 3)):
        if depth and random.random() < 0.45:
            for line in random.choice(BLOCKS).split("\n"):
                lines.append(textwrap.indent(program(random, depth - 1), "    ") if line == "@" else line)
        else:
            lines.append(random.choice(SIMPLE))
    text = "\n".join(lines)
    for mark, choices in (("V", VALUES), ("N", NAMES), ("M", NAMES)):
        parts = text.split(mark)
        text = "".join(part + random.choice(choices) for part in parts[:-1]) + parts[-1]
    return text


class Recorder(dict[str, Any]):
    """The namespace of one unit: values of earlier ones are handed over, and noted, when first looked up."""

    def __init__(self) -> None:
        super().__init__()
        self.earlier: dict[str, Any] = {}
        self.reads: set[str] = set()

    def __missing__(self, name: str) -> Any:
        if name not in self.earlier:
            raise KeyError(name)
        self.reads.add(name)
        self[name] = self.earlier[name]
        return self[name]

    def __delitem__(self, name: str) -> None:
        super().__delitem__(name)
        self.earlier.pop(name, None)

    def next_unit(self) -> dict[str, str]:
        """Make what is bound now the past; every name with its value as text."""
        self.earlier.update(self)
        for name in ("__builtins__", "__annotations__"):
            self.earlier.pop(name, None)
        self.clear()
        self.reads.clear()
        super().__setitem__("__builtins__", builtins)
        return {name: _text(value) for name, value in self.earlier.items()}


def _text(value: Any) -> str:
    return repr(value) if isinstance(value, list | dict | tuple | int | str) else ""


def check(found: UnitFlow, code: str, namespace: Recorder) -> bool:
    """Run one unit and compare; whether it ended well."""
    before = namespace.next_unit()
    earlier = dict(namespace.earlier)
    failed = False
    try:
        exec(compile(code, "cell", "exec"), namespace)
    except (NameError, TypeError, AttributeError, KeyError, IndexError, AssertionError, ValueError, RecursionError):
        failed = True
    known = {*found.reads, *found.optional_reads}
    bound = {name for name, value in namespace.items() if name not in earlier or value is not earlier[name]}
    bound -= {"__builtins__", "__annotations__"}
    may = {*found.writes, *found.may_writes, *found.deletes}
    assert namespace.reads <= known
    changed = {name for name, text in before.items() if name not in bound and _text(earlier[name]) != text}
    assert changed <= {*found.mutates, *may}
    if not failed:
        assert bound <= may
        assert set(found.reads) <= namespace.reads
        assert set(found.writes) <= set(namespace)
        assert not set(found.deletes) & set(namespace)
        for name in found.deletes:
            namespace.earlier.pop(name, None)
    return not failed


@settings(max_examples=400, deadline=None, derandomize=True)
@given(st.integers(0, 2**32))
def test_what_runs_was_foretold(seed: int) -> None:
    random = Random(seed)
    texts = [START, *(program(random) for _ in range(3))]
    try:
        for text in texts:
            compile(text, "cell", "exec")
    except SyntaxError:
        return
    namespace = Recorder()
    for found, text in zip(flow(*texts).units, texts, strict=True):
        if not check(found, text, namespace):
            break
