"""Tags, options and magic lines that contradict themselves or are misspelt."""

from __future__ import annotations

import json
from typing import Any

from tests.unit.broken.row import Broken, cells, raw
from tests.unit.documents import Raw, code, document


def _circle(size: int) -> list[Raw]:
    return [code("", f"step:s{at}", f"prev:s{(at + 1) % size}") for at in range(size)]


def _tags(value: Any) -> list[Raw]:
    return [code("a = 1", metadata={"tags": value})]


def _slip(tag: str, meant: str) -> Broken:
    return cells(f"slip-{tag!r}", [code("a = 1", "step:a", tag)], "unknown-tag", f"did you mean {meant}?")


ROWS: list[Broken] = [
    cells("prev-unknown", [code("", "step:load"), code("", "step:b", "prev:laod")], "unknown-step", "mean load?", 2),
    cells("prev-nowhere", [code("", "step:a", "prev:zzz")], "unknown-step", "there are the steps a"),
    cells("prev-self", [code("", "step:a", "prev:a")], "self-cycle", "wait for itself"),
    cells("cycle-2", _circle(2), "cycle", "s0 → s1 → s0"),
    cells("cycle-3", _circle(3), "cycle", "s0 → s1 → s2 → s0"),
    cells("cycle-50", _circle(50), "cycle", "take one of these prev: tags away"),
    cells("prev-later", [code("", "step:a", "prev:b"), code("", "step:b")], "later-step", "move the cells of b above"),
    cells("prev-on-setup", [code("1", "prev:a"), code("", "step:a")], "prev-without-step", "a tag step:NAME too"),
    cells("prev-empty", [code("", "step:a", "prev:")], "bad-name", "needs a name"),
    cells("prev-upper", [code("", "step:a"), code("", "step:b", "prev:A")], "bad-name", "write a", 2),
    cells("two-steps", [code("", "step:a", "step:b")], "conflicting-tags", "step:a and the tag step:b"),
    cells("step-and-block", [code("", "step:a", "block:b")], "conflicting-tags", "keep one of the two"),
    cells("step-and-imports", [code("", "step:a", "imports")], "conflicting-tags", "different steps"),
    cells("step-and-parameters", [code("", "parameters", "step:a")], "conflicting-tags", "different steps"),
    cells("step-and-checks", [code("", "step:a", "checks")], "conflicting-tags", "different steps"),
    cells("step-and-metrics", [code("", "step:a", "pipeline-metrics")], "conflicting-tags", "different steps"),
    cells("metrics-and-checks", [code("", "checks", "pipeline-metrics")], "conflicting-tags", "different steps"),
    cells("tag-and-magic", [code("%%step b\n", "step:a")], "conflicting-tags", "the line %%step b"),
    cells("three-kinds", [code("", "step:a", "step:b", "imports")], "conflicting-tags", "keep one"),
    cells(
        "limits-differ",
        [code("", "step:a", "limit:cpu:1"), code("", "step:a", "limit:cpu:2")],
        "conflicting-option", "'1' in the tag limit:cpu:1 (cell 1) and '2' in the tag limit:cpu:2", 2,
    ),
    cells(
        "magic-and-metadata-differ",
        [code("%%step a --memory 1Gi\n", options={"memory": "2Gi"})],
        "conflicting-option", "'2Gi' in its metadata 'nbkube' and '1Gi' in its line %%step",
    ),
    cells(
        "images-differ", [code("", "step:a", "image:a", options={"image": "b"})],
        "conflicting-option", "'b' in its metadata",
    ),
    cells("unknown-option", [code("", "step:a", options={"memry": "1Gi"})], "unknown-option", "did you mean memory?"),
    cells("unknown-flag", [code("%%step a --gpus 1\n")], "unknown-option", "did you mean gpu?"),
    cells("unknown-limit", [code("", "step:a", "limit:gpu:1")], "unknown-option", "limit:nvidia.com/gpu:1?"),
    cells("forbidden-option", [code("", "step:a", options={"service-account": "x"})], "unknown-option", "choose from"),
    cells("options-list", [code("", "step:a", options=["cpu"])], "bad-options", "not a JSON object"),
    cells("options-text", [code("", "step:a", options="cpu=2")], "bad-options", '"nbkube": {"cpu": "2"}'),
    cells("magic-without-name", [code("%%step --cpu 2\n")], "bad-magic", "names no step"),
    cells("magic-empty", [code("%%step\na = 1")], "bad-magic", "write %%step NAME"),
    cells("magic-open-quote", [code("%%step a --env 'A=1\n")], "bad-magic", "close the quote"),
    cells("magic-bare-word", [code("%%step a cpu=2\n")], "bad-magic", "options start with --"),
    cells("magic-without-value", [code("%%step a --cpu\n")], "bad-option", "has no value"),
    cells("magic-control-characters", [code("%%step a\0\x1b[31m\n1")], "bad-name", "write a-31m"),
    cells("magic-late", [code("# first\n%%step a\n1", "step:a")], "late-magic", "first line of its cell"),
    cells("magic-misspelt", [code("%%stpe a\n1")], "unknown-magic", "did you mean %%step?"),
    cells("tags-text", _tags("step:a"), "bad-tag", '"tags": ["step:a"]'),
    cells("tags-object", _tags({"step": "a"}), "bad-tag", "its tags are not a list"),
    cells("tags-null", _tags(None), "bad-tag", "its tags are not a list"),
    cells("tag-number", _tags([1]), "bad-tag", "the tag 1 is not a text"),
    cells("tag-null", _tags(["step:a", None]), "bad-tag", "write tags in quotes"),
    cells("tag-list", _tags([["step:a"]]), "bad-tag", "is not a text"),
    raw("tag-surrogate", json.dumps(document(*_tags(["step:\udc80"]))).encode(), "lone-surrogate", "retype the tag", 1),
    _slip("stpe:a", "step:a"),
    _slip("Step:a", "step:a"),
    _slip(" step:a", "step:a"),
    cells("slip-space", [code("", "step: a")], "bad-name", "write a"),
    _slip("step a", "step:a"),
    _slip("perv:a", "prev:a"),
    _slip("blok:a", "block:a"),
    _slip("limt:cpu:1", "limit:cpu:1"),
    _slip("Imports", "imports"),
    _slip("import", "imports"),
    _slip("skip ", "skip"),
    _slip("parameter", "parameters"),
    _slip("pipeline_metrics", "pipeline-metrics"),
    _slip("check", "checks"),
    cells("kale-notebook", [code("", "notebook:other")], "kale-notebook", "put the cells of that notebook"),
    cells("cache-maybe", [code("", "step:a", "cache:maybe")], "bad-option", "write cache:enabled"),
    cells("secret-short", [code("", "step:a", "secret:s3")], "bad-option", "write secret:NAME:KEY:VARIABLE"),
    cells("limit-without-amount", [code("", "step:a", "limit:memory")], "bad-option", "write e.g. limit:memory:4Gi"),
    cells("label-bad", [code("", "step:a", "label:a b:c")], "bad-option", "key of a label"),
    cells("annotation-lines", [code("", "step:a", "annotation:a:b\nc")], "bad-option", "one line"),
    cells("only-skipped", [code("1", "skip"), code("2", "skip")], "no-code", "take a tag skip away", None),
    cells("too-many-steps", [code("1", f"step:s{n}") for n in range(1001)], "too-many-steps", "limit is 1000", None),
]  # fmt: skip
