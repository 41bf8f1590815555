"""Reading a notebook file: `read_notebook`."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import msgspec

from nbkube.errors import Diagnostic, NotebookError, Place, Severity
from nbkube.notebook.document import parse_document
from nbkube.notebook.languages import foreign_language
from nbkube.notebook.model import Cell, Notebook
from nbkube.notebook.source import read_bytes, refuse
from nbkube.notebook.tags import is_structural
from nbkube.notebook.versions import cells_of

MAX_CELLS = 10_000
_CELL_ID = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_MAGIC = re.compile(r"(?:[ \t]*\r?\n)*%%step(?=\s|\Z)([^\r\n]*)(?:\r?\n|\r|\Z)")
_LATE_MAGIC = re.compile(r"(?:[ \t]*(?:#[^\n]*)?\n)+%%step(?=\s|\Z)")
_LIKE_MAGIC = re.compile(r"\s*%%(stpe|steps|setp|stap|ste|tep|Step|STEP)(?=\s|\Z)")


def read_notebook(path: str | os.PathLike[str]) -> Notebook:
    """Read a notebook file; reads it once, writes nothing, runs nothing.

    Faults of single cells that leave the rest readable are kept in `Notebook.diagnostics`, so that `build_pipeline`
    can report them together with all others.

    Raises:
        NotebookError: the file is no notebook of nbformat 3 or 4 for Python.
    """
    name = os.fspath(path)
    content = read_bytes(name)
    return parse_notebook(name, content.data, content.digest)


def parse_notebook(path: str, data: bytes, digest: str) -> Notebook:
    """Return the notebook that the bytes of the file `path` hold."""
    document = parse_document(path, data)
    version, raw_cells = cells_of(path, document)
    if len(raw_cells) > MAX_CELLS:
        message = f"holds {len(raw_cells):,} cells; the limit is {MAX_CELLS:,}"
        raise refuse(path, "too-many-cells", message, "split the notebook")
    metadata = _metadata(path, document)
    _require_python(path, metadata)
    reader = _CellReader(path, version)
    cells = reader.read_all(raw_cells)
    return Notebook(
        path=path,
        name=Path(path).stem,
        digest=digest,
        cells=cells,
        kernel=_kernel(metadata),
        metadata=metadata,
        nbformat=version,
        diagnostics=(*_version_notes(path, metadata), *reader.diagnostics),
    )


def _metadata(path: str, document: dict[str, Any]) -> dict[str, Any]:
    metadata = document.get("metadata", {})
    if not isinstance(metadata, dict):
        hint = 'write "metadata": {} there, or restore an earlier copy'
        raise refuse(path, "bad-metadata", "its metadata is not a JSON object", hint)
    if not _is_text(metadata):
        raise refuse(path, "lone-surrogate", "its metadata holds a broken character (lone surrogate)", "retype it")
    return metadata


def _kernel(metadata: dict[str, Any]) -> str:
    spec = metadata.get("kernelspec")
    name = spec.get("name") if isinstance(spec, dict) else None
    return name if isinstance(name, str) else ""


def _require_python(path: str, metadata: dict[str, Any]) -> None:
    language = foreign_language(metadata)
    if language:
        shown = language if language.isprintable() and len(language) <= 40 else repr(language[:40])
        message = f"is a notebook for {shown}; pipelines are made from Python notebooks"
        raise refuse(path, "not-python", message, "choose a Python kernel (Kernel, Change Kernel) and save")


def _version_notes(path: str, metadata: dict[str, Any]) -> list[Diagnostic]:
    info = metadata.get("language_info")
    version = info.get("version") if isinstance(info, dict) else None
    if isinstance(version, str) and version.startswith("2."):
        message = f"was last saved with Python {version}; its cells run as Python 3"
        hint = "run it once in a Python 3 kernel and save it"
        return [Diagnostic("warning", "python-2", Place(path), message, hint)]
    return []


def _is_text(value: Any) -> bool:
    """Tell whether plain data can be encoded: `\\ud800` in JSON makes a text that cannot."""
    if isinstance(value, str) and value.isascii():
        return True
    try:
        msgspec.json.encode(value)
    except UnicodeEncodeError:
        return False
    return True


class _CellReader:
    """Reads raw cells one by one and collects what is wrong with them."""

    def __init__(self, path: str, version: tuple[int, int]) -> None:
        self.diagnostics: list[Diagnostic] = []
        self._path = path
        self._has_ids = version >= (4, 5)
        self._place = Place(path)
        self._first_with_id: dict[str, int] = {}
        self._without_id: list[int] = []

    def read_all(self, raw_cells: list[Any]) -> tuple[Cell, ...]:
        """Return the code cells; a cell that is no cell at all ends the reading with all faults found so far."""
        cells: list[Cell] = []
        broken = False
        for number, raw in enumerate(raw_cells, 1):
            self._place = Place(self._path, number)
            if not isinstance(raw, dict):
                self._fault("bad-cell", "this cell is not a JSON object", "delete it, or restore an earlier copy")
                broken = True
                continue
            cell = self._read(raw, number, len(cells) + 1)
            if cell is not None:
                cells.append(cell)
        self._note_missing_ids()
        if broken:
            raise NotebookError(diagnostics=self.diagnostics)
        return tuple(cells)

    def _read(self, raw: dict[str, Any], number: int, code_number: int) -> Cell | None:
        identity = self._id(raw, number)
        self._place = Place(self._path, number, identity)
        kind = raw.get("cell_type")
        metadata = raw.get("metadata", {})
        if not isinstance(metadata, dict):
            self._fault("bad-metadata", "its metadata is not a JSON object", 'write "metadata": {} there')
            metadata = {}
        tags = self._tags(metadata)
        source = self._source(raw)
        if kind != "code":
            self._other(raw, kind, tags)
            return None
        self._outputs(raw.get("outputs", []))
        return self._code_cell(number, code_number, identity, source, tags, metadata)

    def _code_cell(
        self, number: int, code_number: int, identity: str, source: str, tags: tuple[str, ...], metadata: dict[str, Any]
    ) -> Cell:
        options = metadata.get("nbkube", {})
        if not isinstance(options, dict):
            hint = 'write an object there, e.g. "nbkube": {"cpu": "2"}'
            self._fault("bad-options", "its metadata 'nbkube' is not a JSON object", hint)
            options = {}
        elif options and not _is_text(options):
            self._fault("lone-surrogate", "its options hold a broken character (lone surrogate)", "retype them")
            options = {}
        magic, first_line = None, 1
        if "%%" in source:
            magic, source, first_line = self._magic(source)
        return Cell(number, code_number, identity, source, tags, options, magic, first_line)

    def _magic(self, source: str) -> tuple[str | None, str, int]:
        """Split off the line `%%step …`; return its text, the rest and the line of the cell where the rest begins."""
        match = _MAGIC.match(source)
        if match:
            return match.group(1).strip(), source[match.end() :], source.count("\n", 0, match.end()) + 1
        late = _LATE_MAGIC.match(source)
        if late:
            line = source.count("\n", 0, late.end()) + 1
            hint = "move the line %%step … to the top of the cell"
            self._fault("late-magic", "%%step must be the first line of its cell", hint, line=line)
        like = _LIKE_MAGIC.match(source)
        if like:
            hint = f"did you mean %%step? Unknown is %%{like.group(1)}"
            self._fault("unknown-magic", f"%%{like.group(1)} is no known magic", hint, line=1)
        return None, source, 1

    def _id(self, raw: dict[str, Any], number: int) -> str:
        identity = raw.get("id")
        valid = isinstance(identity, str) and _CELL_ID.fullmatch(identity)
        if not self._has_ids:
            return identity if valid and identity else ""
        if identity is None:
            self._without_id.append(number)
            return ""
        if not valid:
            shown = repr(identity)
            message = f"its id {shown if len(shown) <= 30 else shown[:27] + '…'} is not 1-64 letters, digits, - or _"
            self._fault("bad-id", message, "delete the id and save the notebook in Jupyter, which makes a new one")
            return ""
        earlier = self._first_with_id.setdefault(identity, number)
        if earlier != number:
            message = f"its id {identity!r} is also that of cell {earlier}"
            self._fault("repeated-id", message, "delete one of the ids and save the notebook in Jupyter")
        return str(identity)

    def _note_missing_ids(self) -> None:
        if self._without_id:
            place = Place(self._path, self._without_id[0])
            message = f"{len(self._without_id)} cell(s) have no id, which nbformat 4.5 asks for"
            hint = "save the notebook in Jupyter, which adds them"
            self.diagnostics.append(Diagnostic("warning", "missing-id", place, message, hint))

    def _source(self, raw: dict[str, Any]) -> str:
        source = raw.get("source")
        if isinstance(source, list) and all(isinstance(line, str) for line in source):
            source = "".join(source)
        if not isinstance(source, str):
            kind = "missing" if source is None else "neither a text nor a list of texts"
            self._fault("bad-source", f"its source is {kind}", 'write "source": [] there, or restore an earlier copy')
            return ""
        if not _is_text(source):
            hint = "retype the character; it is written \\ud8.. to \\udf.. in the file"
            self._fault("lone-surrogate", "its source holds a broken character (lone surrogate)", hint)
            return ""
        return source

    def _tags(self, metadata: dict[str, Any]) -> tuple[str, ...]:
        tags = metadata.get("tags", ())
        if isinstance(tags, list):
            for tag in tags:
                if not isinstance(tag, str):
                    self._fault("bad-tag", f"the tag {tag!r} is not a text", 'write tags in quotes: ["step:NAME"]')
                elif not _is_text(tag):
                    self._fault("lone-surrogate", "a tag holds a broken character (lone surrogate)", "retype the tag")
            return tuple(dict.fromkeys(tag for tag in tags if isinstance(tag, str) and _is_text(tag)))
        if tags != ():
            hint = (
                f'write a list: "tags": ["{tags}"]' if isinstance(tags, str) else 'write a list: "tags": ["step:NAME"]'
            )
            self._fault("bad-tag", "its tags are not a list", hint)
        return ()

    def _other(self, raw: dict[str, Any], kind: object, tags: tuple[str, ...]) -> None:
        if kind not in ("markdown", "raw"):
            hint = 'cell_type is one of "code", "markdown", "raw"'
            self._fault("bad-cell", f"its type is {kind!r}, which is no type of cell", hint)
        attachments = raw.get("attachments", {})
        if not isinstance(attachments, dict) or not all(isinstance(one, dict) for one in attachments.values()):
            self._fault("bad-attachments", "its attachments are no objects", 'write "attachments": {} there')
        ours = [tag for tag in tags if is_structural(tag)]
        if ours and kind in ("markdown", "raw"):
            hint = "put it on the code cell below"
            self._fault("tag-on-text", f"the tag {ours[0]!r} on a {kind} cell has no effect", hint, "warning")

    def _outputs(self, outputs: object) -> None:
        hint = "clear this cell's outputs in Jupyter and save"
        if not isinstance(outputs, list):
            self._fault("bad-output", "its outputs are not a list", hint)
            return
        for output in outputs:
            if not isinstance(output, dict) or not isinstance(output.get("output_type"), str):
                self._fault("bad-output", "one of its outputs is no output object", hint)
                return
            if not isinstance(output.get("data", {}), dict):
                self._fault("bad-output", "the data of one of its outputs is not an object of MIME types", hint)
                return

    def _fault(self, code: str, message: str, hint: str, severity: Severity = "error", line: int | None = None) -> None:
        place = Place(self._place.file, self._place.cell, self._place.cell_id, line)
        self.diagnostics.append(Diagnostic(severity, code, place, message, hint))
