"""Code that cannot become a pipeline, and notebooks of other languages."""

from __future__ import annotations

from typing import Any

from tests.unit.broken.row import Broken, cells, raw
from tests.unit.documents import code, document


def _syntax(name: str, source: str) -> Broken:
    return cells(name, [code("a = 1", "step:a"), code(source, "step:b")], "syntax-error", "not valid Python", 2)


def _kernel(name: str, language: str, says: str, **info: Any) -> Broken:
    metadata = {"kernelspec": {"name": name, "language": language, "display_name": name}, **info}
    return raw(f"kernel-{name}", document(code("1", "step:a"), metadata=metadata), "not-python", says)


ROWS: list[Broken] = [
    _syntax("open-bracket", "print((1)"),
    _syntax("half-a-function", "def f(:\n    pass"),
    _syntax("bad-indent", "if True:\nx = 1"),
    _syntax("tabs-and-spaces", "if True:\n\tx = 1\n        y = 2"),
    _syntax("python-2-print", "print 'hello'"),
    _syntax("open-string", "x = 'abc"),
    _syntax("stray-break", "x = = 2"),
    _syntax("merge-marks", "<<<<<<< HEAD\nx = 1\n======="),
    _syntax("assign-to-call", "f() = 1"),
    _syntax("smart-quotes", "x = “abc”"),
    cells("undefined", [code("x = nowhere", "step:a")], "undefined-name", "`nowhere` is not defined"),
    cells(
        "misspelt", [code("features = 1", "step:a"), code("print(feature)", "step:b")],
        "undefined-name", "Did you mean `features`?", 2,
    ),
    cells(
        "used-too-early", [code("print(x)", "step:a"), code("x = 1", "step:b")],
        "undefined-name", "used before it is defined",
    ),
    cells(
        "deleted", [code("x = 1\ndel x", "step:a"), code("print(x)", "step:b")],
        "deleted-name", "deleted by `del`", 2,
    ),
    cells("defined-in-a-skipped-cell", [code("x = 1", "skip"), code("y = x", "step:a")], "undefined-name", "`x`", 2),
    cells("input", [code("name = input()", "step:a")], "input", "Make the answer a parameter"),
    cells("getpass", [code("import getpass\nk = getpass.getpass()", "step:a")], "input", "waits for a person"),
    _kernel("ir", "R", "is a notebook for R"),
    _kernel("julia-1.11", "julia", "is a notebook for julia"),
    _kernel("bash", "bash", "choose a Python kernel"),
    _kernel("javascript", "", "is a notebook for JavaScript"),
    _kernel("x", "", "is a notebook for scala", language_info={"name": "scala"}),
]  # fmt: skip
