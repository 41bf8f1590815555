"""Where a live kernel is not what its notebook says."""

from __future__ import annotations

import ast
import sys
import types
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from nbkube.dataflow.normal import normalise
from nbkube.dataflow.parse import parse_cell
from nbkube.notebook.model import Cell
from nbkube.pipeline import Pipeline
from nbkube.state.code import code_digest
from nbkube.state.ignore import NEVER_DATA

_SHOWN = 5


def differences(
    pipeline: Pipeline, first: int, inputs: Sequence[str], variables: Mapping[str, Any], root: Path, flags: int
) -> Iterator[str]:
    """Yield a sentence for each difference between a kernel and the cells before the unit `first`.

    Args:
        pipeline: the notebook as it is saved.
        first: the unit that a run is to begin with.
        inputs: what the kernel has executed, in order.
        variables: the kernel's variables.
        root: the project's folder, whose modules are compared with their files.
        flags: what `from __future__ import …` has set in the kernel.
    """
    cells = [cell for step in pipeline.steps[:first] for cell in step.unit.cells]
    done = [_normal(Cell(number, number, "", text)) for number, text in enumerate(inputs)]
    written = {_normal(cell): cell for cell in cells}
    missing = [str(cell.number) for text, cell in written.items() if text.strip() and text not in done]
    if missing:
        yield f"cells {_listed(missing)} have not been run here as they are written"
    others = [text for text, one in zip(inputs, done, strict=True) if one not in written and _counts(text)]
    if others:
        shown = [f"`{text.strip().splitlines()[0][:60]}`" for text in others]
        yield f"what has been run here and is in no cell before: {_listed(shown)}"
    order = [written[text].number for text in done if text in written]
    if order != sorted(order):
        yield f"cells have been run in the order {_listed(list(map(str, order)), 12)}"
    changed = sorted(name for name, code in _definitions(cells, flags) if _is_other(variables.get(name), code))
    if changed:
        yield f"the kernel's {_listed(changed)} is not the one that the cells define; the run takes the kernel's"
    stale = sorted(name for name, module in list(sys.modules.items()) if _is_stale(module, root))
    if stale:
        yield f"the module {_listed(stale)} is not what its file says now; the run takes the file"


def _normal(cell: Cell) -> str:
    return normalise(cell, exact=False)


def _counts(text: str) -> bool:
    """Tell whether an executed cell may have changed anything: not a look at a value, not one of our own commands."""
    if text.lstrip().startswith(("%nbkube", "%load_ext nbkube", "%reload_ext nbkube")):
        return False
    tree = parse_cell(Cell(1, 1, "", text)).tree
    if tree is None:
        return True
    plain = (ast.Name, ast.Attribute, ast.Subscript, ast.Constant)
    return not all(isinstance(one, ast.Expr) and isinstance(one.value, plain) for one in tree.body)


def _definitions(cells: Sequence[Cell], flags: int) -> Iterator[tuple[str, types.CodeType]]:
    """Yield the functions that cells define at their top, the last of each name, compiled."""
    last: dict[str, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef] = {}
    for cell in cells:
        tree = parse_cell(cell).tree
        for node in tree.body if tree is not None else ():
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                last[node.name] = node
    for name, node in last.items():
        try:
            module = compile(ast.Module([node], []), "<cell>", "exec", flags, dont_inherit=True)
        except (SyntaxError, ValueError):
            continue
        for constant in module.co_consts:
            if isinstance(constant, types.CodeType) and constant.co_name == name:
                yield name, constant


def _is_other(value: object, code: types.CodeType) -> bool:
    """Tell whether a kernel's function, or a method of its class, has other code than what the cells say."""
    if isinstance(value, type):
        inner = {one.co_name: one for one in code.co_consts if isinstance(one, types.CodeType)}
        own = {name: one for name, one in vars(value).items() if isinstance(one, types.FunctionType)}
        return any(name not in own or _is_other(own[name], one) for name, one in inner.items() if name[:1] != "<")
    while value is not None and not isinstance(value, types.FunctionType) and hasattr(value, "__wrapped__"):
        value = value.__wrapped__
    return isinstance(value, types.FunctionType) and code_digest(value.__code__) != code_digest(code)


def _is_stale(module: object, root: Path) -> bool:
    """Tell whether a module of the project has functions that its file does not define so."""
    file = getattr(module, "__file__", None)
    if not isinstance(file, str) or not file.endswith(".py"):
        return False
    path = Path(file)
    if root not in path.parents or NEVER_DATA.intersection(path.relative_to(root).parts) or not path.exists():
        return False
    try:
        code = compile(path.read_bytes(), file, "exec", dont_inherit=True)
    except (SyntaxError, ValueError, OSError):
        return True
    written = {one.co_name: one for one in code.co_consts if isinstance(one, types.CodeType)}
    own = {
        name: one
        for name, one in vars(module).items()
        if isinstance(one, types.FunctionType | type)
        and getattr(one, "__module__", "") == getattr(module, "__name__", "")
    }
    return any(name not in own or _is_other(own[name], one) for name, one in written.items() if name[:1] != "<") or any(
        name not in written for name, one in own.items() if isinstance(one, types.FunctionType) and one.__name__ == name
    )


def _listed(names: Sequence[str], most: int = _SHOWN) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
