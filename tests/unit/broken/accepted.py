"""Notebooks that look odd and are not broken: they must be read without an error."""

from __future__ import annotations

from typing import Any

from tests.unit.documents import Raw, code, document, text


def _one(source: str, *tags: str) -> Raw:
    return document(code(source, *(tags or ("step:a",))))


def _source(value: Any) -> Raw:
    return document(code("", "step:a") | {"source": value})


def _minor(minor: int) -> Raw:
    return document(code("a = 1", "step:a"), minor=minor)


_KALE = {
    "autosnapshot": True,
    "docker_image": "gcr.io/team/kale:v0.5",
    "experiment": {"id": "", "name": "Titanic"},
    "experiment_name": "Titanic",
    "katib_metadata": {"objective": {}},
    "katib_run": False,
    "pipeline_description": "Predict",
    "pipeline_name": "titanic-ml",
    "snapshot_volumes": False,
    "steps_defaults": ["label:access:true"],
    "volumes": [{"mount_point": "/home", "name": "ws", "size": 5, "size_type": "Gi", "snapshot": False, "type": "pvc"}],
}

ACCEPTED: dict[str, Any] = {
    **{f"minor-{minor}": _minor(minor) for minor in range(8)},
    "source-text": _source("a = 1\nb = a"),
    "source-list": _source(["a = 1\n", "b = a"]),
    "source-empty-list": _source([]),
    "version-3": {
        "nbformat": 3, "nbformat_minor": 0, "metadata": {"name": ""},
        "worksheets": [{"cells": [{"cell_type": "code", "input": ["a = 1"], "language": "python", "outputs": []}]}],
    },
    "attachments": document(text(attachments={"a.png": {"image/png": "iVBO"}}), code("a = 1", "step:a")),
    "outputs": document(
        code("a", "parameters") | {"source": "a = 1"},
        code("a", "step:a", outputs=[{"output_type": "execute_result", "data": {"text/plain": "1"}, "metadata": {}}]),
    ),
    "raw-cell": document({"cell_type": "raw", "metadata": {}, "source": "---"}, code("a = 1", "step:a")),
    "duplicate-tags": _one("a = 1", "step:a", "step:a"),
    "kernel-unknown": document(code("a = 1", "step:a"), metadata={"kernelspec": {"name": "mine", "display_name": "M"}}),
    "kernel-none": document(code("a = 1", "step:a"), metadata={"kernelspec": None}),
    "python-2": document(code("a = 1", "step:a"), metadata={"language_info": {"name": "python", "version": "2.7"}}),
    "bash": _one("%%bash\necho {{a}} $(ls) '"),
    "pip": _one("!pip install 'x>=1'"),
    "percent-pip": _one("%pip install x"),
    "run-file": _one("%run other.py\nprint(from_other)"),
    "shell-output": _one("files = !ls\nprint(files)"),
    "matplotlib": _one("%matplotlib inline\nimport math"),
    "time-cell": _one("%%time\na = 1"),
    "writefile": _one("%%writefile a.txt\n{{{ not python"),
    "html-cell": _one("%%html\n<b>bold</b>"),
    "await": _one("import asyncio\nawait asyncio.sleep(0)"),
    "question-mark": _one("import os\nos.path?"),
    "star-import": _one("from math import *\nprint(sqrt(pi))"),
    "exec": _one("exec('b = 1')\nprint(b)"),
    "maybe-defined": _one("try:\n    import nothing_here as n\nexcept ImportError:\n    n = None\nprint(n)"),
    "windows-lines": _one("a = 1\r\nb = a\r\n"),
    "template-text": _one("a = '{{workflow.name}}'"),
    "nothing-but-comments": _one("# a\n# b"),
    "one-untagged-cell": document(code("a = 1")),
    "skip-and-step": document(code("a = 1", "step:a"), code("b = (", "step:b", "skip")),
    "foreign-tags": _one("a = 1", "step:a", "remove-input", "toc", "hide-cell", "raises-exception", "level:2"),
    "many-equal-limits": document(
        code("a = 1", "step:a", "limit:cpu:2"), code("%%step a --cpu 2\nb = a", options={"cpu": 2})
    ),
    "kale-0.5": document(
        code("import math", "imports"),
        code("N = 20", "pipeline-parameters"),
        code("def f(x):\n    return x", "functions"),
        code("x = f(N)", "block:load_data", "annotation:a.b/c:d:e", "label:x:y", "limit:cpu:2"),
        code("y = x"),
        code("", "block:"),
        code("boom(", "skip"),
        code("z = y", "block:train_model", "prev:load_data"),
        code("print(z)", "pipeline-metrics"),
        metadata={"kubeflow_notebook": _KALE},
        minor=2,
    ),
    "kale-0.1": document(
        code("import os", "block:imports"),
        code("a = 1", "block:sum"),
        code("b = a", "block:cumsum", "prev:sum"),
        code("print(b)"),
        code("import os", "block:imports"),
        code("print(os.listdir())", "prev:sum:cumsum", "block:os"),
        minor=2,
    ),
    "papermill": document(code("n = 1", "parameters"), code("n = 2", "injected-parameters"), code("print(n)")),
}  # fmt: skip
