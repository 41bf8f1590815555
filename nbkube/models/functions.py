"""A function of a notebook as a model: its code, the names it looks up, the imports of the cells before it.

The file `function.json` names stored values by digest (see `nbkube.state`); they are loaded when the function looks
them up, so that only what it needs is read.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from nbkube.decoding import from_json
from nbkube.models.formats import ModelError
from nbkube.models.loaders import Predictor, table
from nbkube.models.model import Signature
from nbkube.models.tensors import Array
from nbkube.runtime.program import ReplayProgram
from nbkube.state.model import OutputRef
from nbkube.state.namespace import Namespace, install_main
from nbkube.storage.model import ObjectStore


class FunctionModel(msgspec.Struct, frozen=True, omit_defaults=True):
    """What `function.json` holds: the function's name, the values it may look up, statements that run before."""

    entry: str
    bindings: dict[str, OutputRef]
    replay: tuple[ReplayProgram, ...] = ()
    env: dict[str, str] = {}


def load_function(path: Path, store: ObjectStore, signature: Signature | None) -> Predictor:
    """Return the function as a predictor; its modules lie beside `function.json`."""
    model = from_json(path.read_bytes(), FunctionModel)
    sys.path.insert(0, str(path.parent))
    space = restored(model, store, str(path.parent))
    return function(space[model.entry], signature)


def restored(model: FunctionModel, store: ObjectStore, root: str) -> Namespace:
    """Return a namespace, the process's own, in which a function's statements have run and its names can be had.

    Raises:
        ModelError: a statement fails here.
    """
    from IPython.core.inputtransformer2 import TransformerManager

    os.environ.update(model.env)
    space = Namespace(model.bindings, store, root=root)
    install_main(space)
    transform = TransformerManager().transform_cell
    for statement in model.replay:
        source = transform(statement.source)
        if "get_ipython()" in source:
            continue  # a magic: about what a notebook shows
        try:
            exec(compile(source, f"<cell {statement.cell}>", "exec"), space)
        except Exception as error:
            line = statement.source.splitlines()[0]
            raise ModelError(f"`{line}`, which it needs, fails here: {type(error).__name__}: {error}") from error
    for name in model.bindings:
        # What the statements have bound stays only where no later cell has bound it to something else.
        if ":" not in name and name in dict.keys(space) and model.bindings[name].kind == "blob":
            dict.__delitem__(space, name)
    return space


def function(call: Callable[..., Any], signature: Signature | None) -> Predictor:
    """Return a function as a predictor.

    It is called with one argument (an array, a list, or a table, as in its example), or with one for each input by
    its name. What it returns is the output, or a dict of outputs by name. It may be a coroutine function.
    """
    parameters = [
        one.name
        for one in inspect.signature(call).parameters.values()
        if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD) and one.default is one.empty
    ]

    def run(inputs: Mapping[str, Array], _: frozenset[str]) -> dict[str, Any]:
        layout = signature.layout if signature else "tensors"
        if layout == "columns":
            found = call(table(inputs, ()))
        elif len(inputs) == 1 and len(parameters) <= 1:
            value = next(iter(inputs.values()))
            found = call(value.tolist() if layout == "list" else value)
        else:
            found = call(**{name: value.tolist() if layout == "list" else value for name, value in inputs.items()})
        if inspect.isawaitable(found):
            found = asyncio.run(_awaited(found))
        return dict(found) if isinstance(found, dict) else {"output": found}

    return Predictor(run)


async def _awaited(value: Any) -> Any:
    return await value
