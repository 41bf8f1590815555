from __future__ import annotations

import copy
import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nbformat import v4

from nbkube.errors import NotebookError
from nbkube.notebook import read_notebook, set_tags
from nbkube.notebook.edit import edited_text
from tests.unit.documents import code, document, text, written

_PLAIN = (
    '{\n "cells": [\n  {\n   "cell_type": "code",\n   "metadata": %s,\n   "source": []\n  }\n ],\n "nbformat": 4\n}\n'
)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("{}", '{\n    "tags": [\n     "step:a"\n    ]\n   }'),
        ('{\n    "tags": []\n   }', '{\n    "tags": [\n     "step:a"\n    ]\n   }'),
        ('{"tags": ["x", "y"]}', '{"tags": [\n    "step:a"\n   ]}'),
        (
            '{\n    "collapsed": true,\n    "z": 1\n   }',
            '{\n    "collapsed": true,\n    "tags": [\n     "step:a"\n    ],\n    "z": 1\n   }',
        ),
        ('{\n    "z": 1\n   }', '{\n    "tags": [\n     "step:a"\n    ],\n    "z": 1\n   }'),
        ('{\n    "a": 1\n   }', '{\n    "a": 1,\n    "tags": [\n     "step:a"\n    ]\n   }'),
        (
            '{\n    "z": 1,\n    "a": 1\n   }',
            '{\n    "z": 1,\n    "a": 1,\n    "tags": [\n     "step:a"\n    ]\n   }',
        ),
    ],
)
def test_tags_are_written_as_jupyter_writes_them(before: str, after: str) -> None:
    assert edited_text(_PLAIN % before, 0, ["step:a"], None) == _PLAIN % after


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('{"cells":[{"metadata":{}}]}', '{"cells":[{"metadata":{"tags":["a","b"]}}]}'),
        ('{"cells":[{"metadata":{"z":1}}]}', '{"cells":[{"metadata":{"tags":["a","b"],"z":1}}]}'),
        ('{"cells": [{"metadata": {"a": 1}}]}', '{"cells": [{"metadata": {"a": 1, "tags": ["a", "b"]}}]}'),
        ('{"cells": [{"source": ""}]}', '{"cells": [{"metadata": {"tags": ["a", "b"]}, "source": ""}]}'),
        ('{"cells": [{}]}', '{"cells": [{"metadata": {"tags": ["a", "b"]}}]}'),
    ],
)
def test_compact_files_stay_compact(before: str, after: str) -> None:
    assert edited_text(before, 0, ["a", "b"], None) == after


@pytest.mark.parametrize(
    ("before", "options", "after"),
    [
        ('{"nbkube":{"cpu":1}}', {"cpu": 2}, '{"nbkube":{"cpu":2}}'),
        ('{"nbkube":{"cpu":1}}', {}, "{}"),
        ('{"a":1,"nbkube":{"cpu":1}}', {}, '{"a":1}'),
        ('{"nbkube":{"cpu":1},"z":1}', {}, '{"z":1}'),
        ('{"a":1,"nbkube":{},"z":1}', {}, '{"a":1,"z":1}'),
        ('{"z":1}', {}, '{"z":1}'),
        ('{"z":1}', {"env": {"A": "ü"}}, '{"nbkube":{"env":{"A":"ü"}},"z":1}'),
    ],
)
def test_options_are_set_and_taken_away(before: str, options: dict[str, Any], after: str) -> None:
    frame = '{"cells":[{"metadata":%s}]}'
    assert edited_text(frame % before, 0, None, options) == frame % after


def test_emptied_tags_stay_as_an_empty_list() -> None:
    frame = '{"cells":[{"metadata":{"tags":%s}}]}'
    assert edited_text(frame % '["a"]', 0, [], None) == frame % "[]"
    assert edited_text('{"cells":[{"metadata":{}}]}', 0, [], None) == '{"cells":[{"metadata":{}}]}'


def test_a_file_of_escapes_gets_escapes() -> None:
    before = '{"cells":[{"metadata":{},"source":"\\u00fc"}]}'
    assert edited_text(before, 0, ["ü"], None) == before.replace("{},", '{"tags":["\\u00fc"]},')


def test_windows_line_ends_stay() -> None:
    before = (_PLAIN % "{}").replace("\n", "\r\n")
    after = edited_text(before, 0, ["a"], None)
    assert after.replace("\r\n", "\n") == edited_text(_PLAIN % "{}", 0, ["a"], None)
    assert "\n" not in after.replace("\r\n", "")


_TEXT = st.text(st.characters(codec="utf-8"), max_size=12)
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | _TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXT, inner, max_size=3),
    max_leaves=6,
)
_CELLS = st.builds(
    lambda source, metadata, more: code(source, metadata=metadata) | {"outputs": more},
    _TEXT,
    st.dictionaries(_TEXT | st.sampled_from(["tags", "nbkube", "metadata"]), _VALUES, max_size=4),
    st.lists(_VALUES, max_size=2),
)
_STYLES: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {
        "indent": st.sampled_from([None, 1, 2, 4, "\t"]),
        "ensure_ascii": st.booleans(),
        "sort_keys": st.booleans(),
        "separators": st.sampled_from([None, (",", ":"), (", ", " : ")]),
    }
)


@given(
    st.lists(_CELLS, min_size=1, max_size=4),
    st.data(),
    _STYLES,
    st.none() | st.lists(_TEXT, max_size=3, unique=True),
    st.none() | st.dictionaries(_TEXT, _VALUES, max_size=3),
)
def test_nothing_but_the_cell_s_tags_and_options_changes(
    cells: list[dict[str, Any]],
    data: st.DataObject,
    style: dict[str, Any],
    tags: list[str] | None,
    options: dict[str, Any] | None,
) -> None:
    raw = document(*cells)
    index = data.draw(st.integers(0, len(cells) - 1))
    before = json.dumps(raw, **style) + data.draw(st.sampled_from(["", "\n", "\n\n "]))
    after = edited_text(before, index, tags, options)

    wanted = copy.deepcopy(raw)
    metadata = wanted["cells"][index]["metadata"]
    if tags is not None and (tags or "tags" in metadata):
        metadata["tags"] = tags
    if options is not None:
        metadata["nbkube"] = options
        if not options:
            del metadata["nbkube"]
    assert json.loads(after) == wanted
    # Byte for byte: with the metadata of the cell cut out, both texts are the same.
    assert _without_metadata(before, index) == _without_metadata(after, index)
    # What stays keeps its order.
    kept = [key for key in raw["cells"][index]["metadata"] if key not in ("tags", "nbkube")]
    shown = json.loads(after)["cells"][index]["metadata"]
    assert [key for key in shown if key in kept] == (sorted(kept) if style["sort_keys"] else kept)
    # Doing it again changes nothing.
    assert edited_text(after, index, tags, options) == after


def _without_metadata(document_text: str, index: int) -> tuple[str, str]:
    from nbkube.notebook.scan import items, member

    cells = member(document_text, 0, "cells")
    assert cells is not None
    start = list(items(document_text, cells.span[0]))[index][0]
    metadata = member(document_text, start, "metadata")
    assert metadata is not None
    return document_text[: metadata.span[0]], document_text[metadata.span[1] :]


def test_a_cell_is_named_by_number_or_id(tmp_path: Path) -> None:
    path = written(tmp_path, document(text(), code("a = 1"), code("b = 2")))
    assert set_tags(path, 2, ["step:a"])
    assert set_tags(path, "c3", ["step:b"], {"cpu": 2})
    assert set_tags(path, "1", ["toc"])
    cells = read_notebook(path).cells
    assert [cell.tags for cell in cells] == [("step:a",), ("step:b",)]
    assert cells[1].options == {"cpu": 2}


def test_the_same_tags_again_write_nothing(tmp_path: Path) -> None:
    path = written(tmp_path, document(code("a = 1", "step:a")))
    before = path.stat()
    assert not set_tags(path, 1, ["step:a"], {})
    assert path.stat() == before


def test_mode_and_links_stay_and_nothing_is_left_behind(tmp_path: Path) -> None:
    path = written(tmp_path, document(code("a = 1")))
    path.chmod(0o640)
    link = tmp_path / "link.ipynb"
    link.symlink_to(path.name)
    set_tags(link, 1, ["step:a"])
    assert link.is_symlink()
    assert path.stat().st_mode & 0o777 == 0o640
    assert sorted(one.name for one in tmp_path.iterdir()) == ["link.ipynb", "notebook.ipynb"]


@pytest.mark.parametrize(
    ("cell", "says"),
    [
        (0, "has no cell 0. Fix: name a cell by its number from 1 to 2"),
        (3, "has no cell 3"),
        ("9", "has no cell 9"),
        ("c22", "no cell with the id 'c22'. Fix: did you mean c2?"),
        ("-1", "no cell with the id '-1'"),
        ("٢", "no cell with the id"),
    ],
)
def test_cells_that_are_not_there(tmp_path: Path, cell: int | str, says: str) -> None:
    path = written(tmp_path, document(code("a"), code("b")))
    with pytest.raises(NotebookError) as caught:
        set_tags(path, cell, ["step:a"])
    assert says in str(caught.value)


@pytest.mark.parametrize("tag", ["stpe:a", "step:A", "step:", "", "a,b", "a\nb", "import"])
def test_faulty_tags_are_not_written(tmp_path: Path, tag: str) -> None:
    path = written(tmp_path, document(code("a")))
    before = path.read_bytes()
    with pytest.raises(NotebookError):
        set_tags(path, 1, [tag])
    assert path.read_bytes() == before


def test_a_file_that_changed_since_it_was_read_is_left_alone(tmp_path: Path) -> None:
    path = written(tmp_path, document(code("a")))
    digest = read_notebook(path).digest
    other = written(tmp_path, document(code("b"))).read_bytes()
    with pytest.raises(NotebookError, match="was changed by another program"):
        set_tags(path, 1, ["step:a"], digest=digest)
    assert path.read_bytes() == other


def test_a_file_that_changes_while_it_is_edited_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path, document(code("a")))
    other = json.dumps(document(code("b"))).encode()
    real = os.fsync

    def save_then_sync(descriptor: int) -> None:
        path.write_bytes(other)
        real(descriptor)

    monkeypatch.setattr(os, "fsync", save_then_sync)
    with pytest.raises(NotebookError, match="was changed by another program"):
        set_tags(path, 1, ["step:a"])
    assert path.read_bytes() == other
    assert [one.name for one in tmp_path.iterdir()] == ["notebook.ipynb"]


def test_a_notebook_of_version_three_is_only_read(tmp_path: Path) -> None:
    raw = {"nbformat": 3, "nbformat_minor": 0, "metadata": {}, "worksheets": [{"cells": []}]}
    with pytest.raises(NotebookError, match="only read. Fix: open and save it in Jupyter"):
        set_tags(written(tmp_path, raw), 1, ["step:a"])


_JUPYTER_CELLS = st.builds(
    lambda source, metadata, markdown: (v4.new_markdown_cell if markdown else v4.new_code_cell)(
        source, metadata=metadata
    ),
    _TEXT,
    st.dictionaries(_TEXT, _VALUES, max_size=3),
    st.booleans(),
)


@given(
    st.lists(_JUPYTER_CELLS, min_size=1, max_size=4),
    st.data(),
    st.lists(st.sampled_from(["step:a", "imports", "größe", "prev:b"]), min_size=1, max_size=3, unique=True),
    st.dictionaries(st.sampled_from(["cpu", "env", "memory"]), _VALUES, min_size=1, max_size=3),
)
def test_the_file_is_what_jupyter_itself_would_have_written(
    cells: list[Any], data: st.DataObject, tags: list[str], options: dict[str, Any]
) -> None:
    index = data.draw(st.integers(0, len(cells) - 1))
    notebook = v4.new_notebook(cells=cells)
    before = v4.writes(notebook)
    wanted = copy.deepcopy(notebook)
    wanted.cells[index].metadata["tags"] = tags
    # Jupyter sorts keys at every level when it saves.
    wanted.cells[index].metadata["nbkube"] = options
    edited = edited_text(before, index, tags, json.loads(json.dumps(options, sort_keys=True)))
    assert edited == v4.writes(wanted)


def test_an_escaped_control_character_says_nothing_of_other_characters(tmp_path: Path) -> None:
    path = tmp_path / "work.ipynb"
    path.write_text(v4.writes(v4.new_notebook(cells=[v4.new_code_cell("'\x0b'")])))
    set_tags(path, 1, tags=["größe"])
    assert '"größe"' in path.read_text()
