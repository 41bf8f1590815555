from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import textwrap
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbkube.errors import Diagnostic, NotebookError
from nbkube.notebook import parse_notebook, read_notebook
from nbkube.notebook.read import MAX_CELLS
from nbkube.pipeline import build_pipeline
from tests.unit.documents import code, document, encoded, messages, parsed, text, written


def test_a_notebook_is_its_code_cells_numbered_among_all_cells(tmp_path: Path) -> None:
    path = written(tmp_path, document(text(), code("a = 1", "step:load"), text(), code("b = 2", "step:train", "x")))
    notebook = read_notebook(path)
    assert [(cell.number, cell.code_number, cell.id) for cell in notebook.cells] == [(2, 1, "c2"), (4, 2, "c4")]
    assert [cell.source for cell in notebook.cells] == ["a = 1", "b = 2"]
    assert notebook.cells[1].tags == ("step:train", "x")
    assert notebook.name == "notebook"
    assert notebook.path == str(path)


def test_the_digest_is_that_of_the_bytes_read(tmp_path: Path) -> None:
    path = written(tmp_path, document(code("a = 1")))
    assert read_notebook(path).digest == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("source", ["a = 1\nb = 2\n", ["a = 1\n", "b = 2\n"]])
def test_a_source_is_a_text_or_a_list_of_texts(source: Any) -> None:
    assert parsed(code(source)).cells[0].source == "a = 1\nb = 2\n"


@pytest.mark.parametrize(
    ("source", "magic", "rest", "first_line"),
    [
        ("%%step train --cpu 2\nx = 1", "train --cpu 2", "x = 1", 2),
        ("%%step train", "train", "", 1),
        ("%%step\nx", "", "x", 2),
        ("\n \n%%step a\nx", "a", "x", 4),
        ("%%step a\r\nx\r\ny", "a", "x\r\ny", 2),
        ("%%step a\n%%time\nx", "a", "%%time\nx", 2),
        ("%%time\n%%step a\nx", None, "%%time\n%%step a\nx", 1),
        ("x = '''\n%%step a\n'''", None, "x = '''\n%%step a\n'''", 1),
    ],
)
def test_the_line_of_the_step_magic_is_taken_off(source: str, magic: str | None, rest: str, first_line: int) -> None:
    cell = parsed(code(source)).cells[0]
    assert (cell.magic, cell.source, cell.first_line) == (magic, rest, first_line)


def test_a_step_magic_below_the_first_line_is_named() -> None:
    found = parsed(code("# training\n\n%%step train\nx = 1")).diagnostics
    assert "must be the first line" in messages(found)
    assert found[0].place.line == 3


def test_options_are_kept_as_they_are() -> None:
    assert parsed(code("x", "step:a", options={"cpu": 2})).cells[0].options == {"cpu": 2}


def test_version_three_is_converted_while_reading() -> None:
    raw = {
        "metadata": {"name": "old"},
        "nbformat": 3,
        "nbformat_minor": 0,
        "worksheets": [
            {
                "cells": [
                    {"cell_type": "heading", "level": 1, "metadata": {}, "source": "Title"},
                    {
                        "cell_type": "code",
                        "input": ["a = 1\n", "a"],
                        "language": "python",
                        "metadata": {},
                        "outputs": [],
                    },
                    {"cell_type": "code", "input": "ls", "language": "bash", "metadata": {}, "outputs": []},
                ]
            }
        ],
    }
    notebook = parse_notebook("old.ipynb", encoded(raw), "")
    assert notebook.nbformat == (3, 0)
    assert [(cell.number, cell.source) for cell in notebook.cells] == [(2, "a = 1\na"), (3, "%%bash\nls")]


@pytest.mark.parametrize("minor", range(6))
def test_all_minor_versions_of_four_are_read(minor: int) -> None:
    assert parsed(code("a = 1"), minor=minor).nbformat == (4, minor)


def test_a_later_minor_version_is_read_as_its_cells_stay_the_same() -> None:
    assert parsed(code("a = 1"), minor=9).cells[0].source == "a = 1"


def test_missing_ids_are_a_warning() -> None:
    raw = document(code("a"), code("b"))
    for cell in raw["cells"]:
        del cell["id"]
    notebook = parse_notebook("n.ipynb", encoded(raw), "")
    assert [one.severity for one in notebook.diagnostics] == ["warning"]
    assert [cell.id for cell in notebook.cells] == ["", ""]


def test_what_jupyter_leaves_out_is_no_fault() -> None:
    raw = {"cells": [{"cell_type": "code", "source": "a = 1"}], "nbformat": 4, "nbformat_minor": 4}
    notebook = parse_notebook("n.ipynb", encoded(raw), "")
    assert notebook.diagnostics == ()
    assert notebook.cells[0].source == "a = 1"


@pytest.mark.parametrize(
    "metadata",
    [
        {},
        {"kernelspec": {"name": "python3", "language": "python"}},
        {"kernelspec": {"name": "conda-env-mine-py"}},
        {"kernelspec": {"name": "julia-env", "language": "python"}},
        {"language_info": {"name": "ipython", "version": "3.12"}},
        {"kernelspec": None, "language_info": []},
    ],
)
def test_python_notebooks_are_known(metadata: Any) -> None:
    assert parsed(code("a = 1"), metadata=metadata).cells


@pytest.mark.parametrize(
    ("metadata", "language"),
    [
        ({"kernelspec": {"name": "ir", "language": "R"}}, "R"),
        ({"kernelspec": {"name": "ir"}}, "R"),
        ({"kernelspec": {"name": "julia-1.11"}}, "Julia"),
        ({"kernelspec": {"name": "x"}, "language_info": {"name": "scala"}}, "scala"),
        ({"kernelspec": {"name": "sagemath", "language": "sage"}, "language_info": {"name": "python"}}, "sage"),
    ],
)
def test_notebooks_of_other_languages_are_refused(metadata: Any, language: str) -> None:
    with pytest.raises(NotebookError, match=f"is a notebook for {language}"):
        parsed(code("a = 1"), metadata=metadata)


def test_a_tag_on_a_text_cell_is_a_warning() -> None:
    found = parsed(text(metadata={"tags": ["step:load", "toc"]}), code("a")).diagnostics
    assert [(one.severity, one.code, one.place.cell) for one in found] == [("warning", "tag-on-text", 1)]


def test_all_faults_of_cells_are_reported_at_once() -> None:
    found = parsed(
        code("a", metadata={"tags": ["step:a", 3]}),
        code("b") | {"source": 7},
        code("b", metadata={"nbkube": []}),
        code("c", outputs={}),
        text(attachments=[]),
        code("d", cell_type="cod"),
    ).diagnostics
    codes = ["bad-tag", "bad-source", "bad-options", "bad-output", "bad-attachments", "bad-cell"]
    assert [one.code for one in found] == codes
    assert [one.place.cell for one in found] == [1, 2, 3, 4, 5, 6]


def test_too_many_cells_are_refused() -> None:
    with pytest.raises(NotebookError, match="10,001 cells"):
        parsed(*[code("a")] * (MAX_CELLS + 1))


def test_a_file_over_the_limit_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "large.ipynb"
    with path.open("wb") as file:
        file.truncate(200 * 2**20)
    with pytest.raises(NotebookError, match="200 MiB; the limit is 64 MiB"):
        read_notebook(path)


def test_a_pipe_is_refused_without_waiting(tmp_path: Path) -> None:
    path = tmp_path / "pipe.ipynb"
    os.mkfifo(path)
    with pytest.raises(NotebookError, match="is a pipe"):
        read_notebook(path)


def test_a_file_nobody_may_read_is_named(tmp_path: Path) -> None:
    path = written(tmp_path, document(code("a = 1")))
    path.chmod(0)
    tmp_path.chmod(0o755)
    # Root may read everything, so the reading is done by a process that is nobody.
    program = """
        import os, sys
        from nbkube.errors import Diagnostic, NotebookError
        from nbkube.notebook import read_notebook
        folder = os.open(os.path.dirname(sys.argv[1]), os.O_RDONLY)
        os.fchdir(folder)
        if os.geteuid() == 0:
            os.setuid(65534)
        try:
            read_notebook(os.path.basename(sys.argv[1]))
        except NotebookError as error:
            print(error)
    """
    assert "notebook.ipynb: you may not read it. Fix: run `chmod u+r`" in _output(program, path)


def test_a_file_saved_all_the_time_is_read_whole(tmp_path: Path) -> None:
    versions = [encoded(document(code(f"a = {number}" * (1 + 400 * number)))) for number in range(2)]
    path = written(tmp_path, versions[0])
    stop = threading.Event()

    def save() -> None:
        while not stop.is_set():
            for data in versions:
                beside = tmp_path / "saving"
                beside.write_bytes(data)
                beside.replace(path)

    thread = threading.Thread(target=save)
    thread.start()
    try:
        digests = {read_notebook(path).digest for _ in range(100)}
    finally:
        stop.set()
        thread.join()
    assert digests <= {hashlib.sha256(data).hexdigest() for data in versions}


def test_reading_writes_nothing_and_imports_no_heavy_library(tmp_path: Path) -> None:
    path = written(tmp_path, document(code("import os\nos.mkdir('made')", "step:a")))
    program = """
        import sys
        from nbkube.notebook import read_notebook
        from nbkube.pipeline import build_pipeline, describe
        describe(build_pipeline(read_notebook(sys.argv[1])))
        print([name for name in ("nbformat", "IPython", "numpy", "jsonschema", "asyncio") if name in sys.modules])
    """
    assert _output(program, path).strip() == "[]"
    assert [one.name for one in tmp_path.iterdir()] == ["notebook.ipynb"]


def _output(program: str, path: Path) -> str:
    command = [sys.executable, "-c", textwrap.dedent(program), str(path)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
_KEYS = st.sampled_from(["cell_type", "metadata", "source", "outputs", "id", "attachments", "input"])
_CELLS = st.lists(
    st.dictionaries(_KEYS, _JSON | st.sampled_from(["code", "markdown", "%%step a --cpu x"]), max_size=6) | _JSON,
    max_size=4,
)


_DOCUMENTS = st.fixed_dictionaries(
    {"cells": _CELLS, "nbformat": st.integers(2, 5) | _JSON}, optional={"metadata": _JSON, "nbformat_minor": _JSON}
)


@given(_JSON | _DOCUMENTS)
def test_any_json_is_read_or_refused(raw: Any) -> None:
    data = json.dumps(raw).encode()
    found = _faults(data)
    assert found is None or found
    assert all(one.hint and one.message for one in found or ())


def _faults(data: bytes) -> tuple[Diagnostic, ...] | None:
    """Return why the bytes are refused, or None if a pipeline can be made of them, whatever its faults."""
    try:
        notebook = parse_notebook("any.ipynb", data, "")
    except NotebookError as error:
        return error.diagnostics
    assert all(one.hint and one.message for one in build_pipeline(notebook).diagnostics)
    return None


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    with pytest.raises(NotebookError):
        parse_notebook("any.ipynb", data, "")


def test_a_notebook_cut_off_anywhere_is_called_cut_off() -> None:
    whole = encoded(
        document(code('print("a\\n", 1.5e3)\nü = [True, None]', "step:a", options={"n": [-0.5, None, True]}))
    )
    for end in range(1, len(whole) - 2):
        with pytest.raises(NotebookError, match="ends in the middle"):
            parse_notebook("n.ipynb", whole[:end], "")
