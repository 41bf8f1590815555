"""From bytes to a JSON document: strict, and precise about what is wrong."""

from __future__ import annotations

import json
import re
from typing import Any, NoReturn

from nbkube.errors import NotebookError
from nbkube.notebook.scan import line_of, repeated_key
from nbkube.notebook.scripts import is_script, script_document
from nbkube.notebook.source import refuse

MAX_DEPTH = 256
_RESTORE = "open a copy or a checkpoint (.ipynb_checkpoints) and save it again in Jupyter"


_CUT = "ends in the middle: the file was cut off"
_CUT_WORD = re.compile(r"(?:t|tr|tru|f|fa|fal|fals|n|nu|nul|-|\.|[eE][+-]?|N|Na|I\w*)?\s*", re.ASCII)


class _RepeatedKeyError(Exception):
    """Raised inside the decoder when an object holds a key twice."""


class _ConstantError(Exception):
    """Raised inside the decoder at NaN and the infinities."""


def parse_document(path: str, data: bytes) -> dict[str, Any]:
    """Return the JSON object that a notebook file holds, or that a percent script stands for.

    Raises:
        NotebookError: anything but one well-formed JSON object in UTF-8 with unique keys.
    """
    text = decode_text(path, data)
    if is_script(path):
        script = script_document(path, text)
        _require_shallow(path, script)
        return script
    document = _parse(path, text)
    if not isinstance(document, dict):
        message = f"holds a JSON {_kind(document)}, a notebook is a JSON object"
        raise refuse(path, "not-a-notebook", message, "give a notebook file (.ipynb)", 1)
    _require_shallow(path, document)
    return document


def decode_text(path: str, data: bytes) -> str:
    """Return a file's text; only UTF-8 without a byte order mark is a notebook."""
    if not data.strip():
        message = "is empty" if not data else "holds nothing but white space"
        raise refuse(path, "empty-file", message, _RESTORE)
    if data.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\x00" in data[:4]:
        hint = "save it as UTF-8, e.g. `iconv -f UTF-16 -t UTF-8 FILE > NEW.ipynb`"
        raise refuse(path, "not-utf8", "is not UTF-8 text (UTF-16, UTF-32 or binary)", hint)
    if data.startswith(b"\xef\xbb\xbf"):
        hint = "save it as UTF-8 without BOM, e.g. `sed -i '1s/^\\xEF\\xBB\\xBF//' FILE`"
        raise refuse(path, "byte-order-mark", "starts with a byte order mark; Jupyter cannot open it either", hint, 1)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        if error.end == len(data) and error.reason == "unexpected end of data":
            raise refuse(path, "truncated", _CUT, _RESTORE, line) from None
        message = f"is not UTF-8 text: byte 0x{data[error.start]:02x} at offset {error.start}"
        hint = "this is a binary file or has another encoding; save the notebook as UTF-8"
        raise refuse(path, "not-utf8", message, hint, line) from None


def _parse(path: str, text: str, *, unique: bool = True) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_unique if unique else None, parse_constant=_constant)
    except _RepeatedKeyError:
        _parse(path, text, unique=False)  # the rest may hold a worse fault, and is looked at for the place only if not
        key, position = repeated_key(text) or ("?", 0)
        message = f"holds the key {key!r} twice in one object, so its meaning is not clear"
        raise refuse(path, "repeated-key", message, "delete one of the two", line_of(text, position)) from None
    except _ConstantError as error:
        found = re.search(rf"[:,\[]\s*{error}", text)
        position = found.end() if found else 0
        hint = f'write null or a text ("{error}") in its place; Jupyter cannot open it either'
        raise refuse(path, "not-json", f"holds {error}, which is no JSON", hint, line_of(text, position)) from None
    except json.JSONDecodeError as error:
        raise _malformed(path, text, error) from None
    except RecursionError:
        raise _too_deep(path) from None
    except ValueError as error:  # numbers of more digits than Python converts
        raise refuse(path, "not-json", f"holds an impossible number ({error})", _RESTORE) from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _RepeatedKeyError
    return found


def _constant(name: str) -> NoReturn:
    raise _ConstantError(name)


def _malformed(path: str, text: str, error: json.JSONDecodeError) -> NotebookError:
    start = text.lstrip()
    if re.match(r"<(!doctype|html|\?xml|head|body|!--)", start, re.IGNORECASE):
        hint = "download the notebook itself (on GitHub: the Raw button), not the page that shows it"
        return refuse(path, "not-a-notebook", "is a web page (HTML), not a notebook", hint, 1)
    if start.startswith(("<<<<<<<", "=======", ">>>>>>>")) or re.search(r"^(<{7} |>{7} )", text, re.MULTILINE):
        line = line_of(text, max(text.find("<<<<<<<"), 0))
        return refuse(path, "merge-conflict", "holds marks of a git merge conflict", "resolve it (nbdime helps)", line)
    if not start.startswith("{"):
        hint = "give a notebook file (.ipynb); a script becomes one with `jupytext --to notebook FILE`"
        return refuse(path, "not-a-notebook", "is no notebook: it does not start with '{'", hint, error.lineno)
    if _CUT_WORD.fullmatch(text, error.pos) or _in_open_string(error):
        return refuse(path, "truncated", _CUT, _RESTORE, error.lineno)
    if error.msg == "Extra data":
        hint = "delete what follows the closing '}'"
        return refuse(path, "not-json", "goes on after its end", hint, error.lineno)
    message = f"is not well-formed JSON: {error.msg} at column {error.colno}"
    return refuse(path, "not-json", message, _RESTORE, error.lineno)


def _in_open_string(error: json.JSONDecodeError) -> bool:
    if error.msg.startswith("Unterminated string"):
        return True
    return error.msg.startswith("Invalid \\uXXXX escape") and error.pos >= len(error.doc) - 6


def _require_shallow(path: str, document: Any) -> None:
    level = [document]
    for _ in range(MAX_DEPTH):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if outer.__class__ is dict else outer)
            if inner.__class__ in (dict, list)
        ]
        if not level:
            return
    raise _too_deep(path)


def _too_deep(path: str) -> NotebookError:
    return refuse(path, "too-deep", f"is nested more than {MAX_DEPTH} levels deep", "this is no notebook Jupyter wrote")


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    names = {list: "array", str: "string", bool: "boolean", int: "number", float: "number"}
    return names.get(type(value), "value")
