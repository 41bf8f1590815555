"""The frozen types of a model."""

from __future__ import annotations

import hashlib
import re
from typing import Any, Literal

import msgspec

from nbkube.errors import NotFoundError

Format = Literal["sklearn", "keras", "tensorflow", "xgboost", "lightgbm", "onnx", "python", "pickle"]
CODE: frozenset[str] = frozenset({"python", "pickle"})
"""Formats that run whatever their files say when they are loaded: served only with a person's consent."""

NAME = re.compile(r"[a-z]([-a-z0-9]{0,38}[a-z0-9])?\Z")
"""Names of models: such a name is also that of Kubernetes objects and a part of URLs."""

Layout = Literal["tensors", "columns", "list"]


class Tensor(msgspec.Struct, frozen=True, omit_defaults=True):
    """An input or output: `datatype` as the Open Inference Protocol names it, `shape` with -1 for any length.

    `text`: elements of datatype BYTES are texts; otherwise they are handed over as bytes (pictures, say).
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    text: bool = True


class Signature(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a model takes and gives.

    `batched`: the first axis of everything counts examples that have nothing to do with each other, so that requests
    may be joined. `layout` says how the model itself is called: with tensors, with a table whose columns are the
    inputs, or with a list of the examples. `optional` outputs are computed only for who asks for them.
    """

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    optional: tuple[Tensor, ...] = ()
    batched: bool = True
    layout: Layout = "tensors"


class ModelFile(msgspec.Struct, frozen=True):
    """A file of a model: POSIX path relative to the model's folder, sha256 of its bytes, their number."""

    path: str
    digest: str
    size: int


class ModelVersion(msgspec.Struct, frozen=True, omit_defaults=True):
    """One version of a model; never changed. `digest` stands for its format and for every byte that serving it loads;
    `identity` is the same for drafts that do the same, however their files were packed.

    `example` and `answer` are the `inputs` and `outputs` of a request in the Open Inference Protocol and of its reply.
    `files` are the model's own; `objects` are stored values that a `python` model loads by their digest.
    `made_from` tells one result of a step, asked for with one option, from another. `libraries` are the versions of
    the distributions it was made with. `created` counts seconds since 1970.
    """

    name: str
    version: int
    format: Format
    files: tuple[ModelFile, ...]
    signature: Signature
    identity: str
    objects: tuple[ModelFile, ...] = ()
    example: tuple[dict[str, Any], ...] = ()
    answer: tuple[dict[str, Any], ...] = ()
    metrics: dict[str, Any] = {}
    run: str = ""
    step: str = ""
    source: str = ""
    made_from: str = ""
    created: float = 0.0
    libraries: dict[str, str] = {}
    removed: bool = False

    @property
    def digest(self) -> str:
        """The sha256 of the format and of the digests of all files."""
        parts = [self.format, [[one.path, one.digest] for one in (*self.files, *self.objects)]]
        return hashlib.sha256(msgspec.json.encode(parts)).hexdigest()

    @property
    def size(self) -> int:
        """Bytes of all that is fetched to serve it."""
        return sum(one.size for one in (*self.files, *self.objects))

    @property
    def runs_code(self) -> bool:
        """Whether loading it runs what its files say."""
        return self.format in CODE


def check_model_name(name: str) -> str:
    """Return a model's name, or raise `NotFoundError` for a text that can name none."""
    if not NAME.match(name):
        raise NotFoundError(
            f"{name[:60]!r} cannot name a model: use 1 to 40 lower-case letters, digits and -, the first a letter."
        )
    return name
