"""JSON that is not the notebook format."""

from __future__ import annotations

import json
from typing import Any

from tests.unit.broken.row import Broken, cells, raw
from tests.unit.documents import code, document, text


def _without(key: str) -> dict[str, Any]:
    found = document(code("a = 1"))
    del found[key]
    return found


def _old(**more: Any) -> dict[str, Any]:
    return {"nbformat": 3, "nbformat_minor": 0, "metadata": {}, "worksheets": [{"cells": []}]} | more


def _escaped(found: Any) -> bytes:
    return json.dumps(found).encode()


_PNG = {"output_type": "display_data", "metadata": {}, "data": "iVBORw0"}

ROWS: list[Broken] = [
    raw("empty-object", {}, "not-a-notebook", "it has no 'nbformat'. Fix: give a notebook file"),
    raw("no-nbformat", _without("nbformat"), "not-a-notebook", 'write "nbformat": 4'),
    raw("nbformat-text", document(nbformat="4"), "bad-version", "nbformat is '4'"),
    raw("nbformat-fraction", document(nbformat=4.5), "bad-version", "nbformat is 4.5"),
    raw("nbformat-true", document(nbformat=True), "bad-version", "nbformat is True"),
    raw("nbformat-null", document(nbformat=None), "not-a-notebook", "no 'nbformat'"),
    raw("nbformat-5", document(nbformat=5), "future-version", "newer Jupyter"),
    raw("nbformat-100", document(nbformat=100), "future-version", "update nbkube"),
    raw("nbformat-2", document(nbformat=2), "old-version", "the oldest that is read is 3"),
    raw("nbformat-1", document(nbformat=1), "old-version", "jupyter nbconvert"),
    raw("nbformat-0", document(nbformat=0), "old-version", "nbformat 0"),
    raw("nbformat-negative", document(nbformat=-4), "old-version", "nbformat -4"),
    raw("minor-text", document(nbformat_minor="5"), "bad-version", "nbformat_minor is '5'"),
    raw("minor-negative", document(nbformat_minor=-1), "bad-version", "nbformat_minor is -1"),
    raw("no-cells", _without("cells"), "bad-cells", "no list 'cells'"),
    raw("cells-object", document(cells={}), "bad-cells", "'cells' are not a list"),
    raw("cells-text", document(cells="print(1)"), "bad-cells", "'cells' are not a list"),
    raw("cells-null", document(cells=None), "bad-cells", "no list 'cells'"),
    raw("metadata-list", document(code("a = 1"), metadata=[]), "bad-metadata", "metadata is not a JSON object"),
    raw("metadata-text", document(code("a = 1"), metadata="x"), "bad-metadata", 'write "metadata": {}'),
    cells("cell-text", [code("a = 1"), "print(1)"], "bad-cell", "this cell is not a JSON object", 2),
    cells("cell-null", [None], "bad-cell", "this cell is not a JSON object"),
    cells("cell-list", [code("a = 1"), code("b = 1"), []], "bad-cell", "restore an earlier copy", 3),
    cells("cell-without-type", [code("a = 1"), {"source": "a", "metadata": {}}], "bad-cell", "its type is None", 2),
    cells("cell-type-heading", [code("a = 1"), text(cell_type="heading")], "bad-cell", "its type is 'heading'", 2),
    cells("cell-type-number", [code("a = 1"), code("b", cell_type=1)], "bad-cell", "its type is 1", 2),
    cells("no-source", [code("a = 1"), {"cell_type": "code", "metadata": {}}], "bad-source", "source is missing", 2),
    cells("source-number", [code("a = 1"), code("") | {"source": 7}], "bad-source", "neither a text nor a list", 2),
    cells("source-mixed", [code("a = 1"), code("") | {"source": ["a", 1]}], "bad-source", "neither a text", 2),
    cells("source-object", [code("a = 1"), code("") | {"source": {}}], "bad-source", "neither a text", 2),
    raw("source-surrogate", _escaped(document(code("a = '\ud800'"))), "lone-surrogate", "broken character", 1),
    raw("metadata-surrogate", _escaped(document(code("1"), metadata={"t": "\udc00"})), "lone-surrogate", "retype it"),
    cells("cell-metadata-list", [code("a = 1", metadata=[])], "bad-metadata", "metadata is not a JSON object"),
    cells("outputs-object", [code("a = 1", outputs={})], "bad-output", "outputs are not a list"),
    cells("outputs-null", [code("a = 1", outputs=None)], "bad-output", "outputs are not a list"),
    cells("output-text", [code("a = 1", outputs=["1"])], "bad-output", "no output object"),
    cells("output-without-type", [code("a = 1", outputs=[{"text": "1"}])], "bad-output", "clear this cell's outputs"),
    cells("mime-bundle-text", [code("a = 1", outputs=[_PNG])], "bad-output", "object of MIME types"),
    cells("attachments-list", [text(attachments=[]), code("a = 1")], "bad-attachments", "attachments are no objects"),
    cells("attachment-text", [text(attachments={"a": "b"}), code("a = 1")], "bad-attachments", "no objects"),
    cells("id-twice", [code("a = 1", id="x"), code("b = 1", id="x")], "repeated-id", "also that of cell 1", 2),
    cells("id-overlong", [code("a = 1", id="x" * 65)], "bad-id", "1-64 letters"),
    cells("id-empty", [code("a = 1", id="")], "bad-id", "1-64 letters"),
    cells("id-number", [code("a = 1", id=7)], "bad-id", "its id 7 is not"),
    cells("id-with-spaces", [code("a = 1", id="a b")], "bad-id", "save the notebook in Jupyter"),
    cells("id-hostile", [code("a = 1", id="<img src=x>")], "bad-id", "letters, digits"),
    raw("old-without-worksheets", _old(worksheets=None), "bad-cells", "no list of 'worksheets'"),
    raw("old-worksheet-text", _old(worksheets=["x"]), "bad-cells", "no list of 'worksheets'"),
    raw("old-cells-object", _old(worksheets=[{"cells": {}}]), "bad-cells", "'cells' are not a list"),
    raw("old-cell-text", _old(worksheets=[{"cells": ["x"]}]), "bad-cell", "not a JSON object", 1),
    raw("old-without-cells", _old(), "no-code", "no code cell to run"),
    raw("no-code-cells", document(text()), "no-code", "write a code cell"),
    raw("too-many-cells", document(*[text()] * 10_001), "too-many-cells", "10,001 cells; the limit is 10,000"),
]
