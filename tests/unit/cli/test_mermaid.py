"""The graph as a Mermaid diagram."""

from __future__ import annotations

import re

from msgspec.structs import replace

from nbkube.cli.mermaid import mermaid
from nbkube.pipeline.model import Observed
from tests.unit.cli.test_show import PIPELINE


def test_boxes_and_arrows() -> None:
    assert mermaid(PIPELINE).splitlines() == [
        "flowchart TD",
        '    s1["load"]',
        '    s2["tree"]',
        '    s3["svc"]',
        '    s4["save"]',
        '    s5["tree.2"]',
        '    s1 -- "X, y" --> s2',
        '    s1 -- "X" --> s3',
        '    s2 -- "tree" --> s4',
        '    s3 -- "svc" --> s4',
        '    s1 -- "X" --> s4',
        "    s4 -.-> s5",
    ]


def test_files_seen_in_a_run_are_arrows_too() -> None:
    load, tree, *others = PIPELINE.steps
    seen = replace(tree, observed=Observed("run", files={"a b.csv": "load"}))
    drawn = mermaid(replace(PIPELINE, steps=(load, seen, *others)))
    assert '    s1 -- "X, y, a b.csv" --> s2' in drawn


def test_a_name_cannot_end_its_label() -> None:
    load, tree, *others = PIPELINE.steps
    bad = '"] --> s9; click s1 "javascript:x" `<b>|#|</b>`\n    s9["'
    drawn = mermaid(replace(PIPELINE, steps=(load, replace(tree, inputs={bad: "load"}), *others)))
    line = next(line for line in drawn.splitlines() if line.startswith("    s1 -- ") and line.endswith("--> s2"))
    label = re.fullmatch(r'    s1 -- "([^"]*)" --> s2', line)
    assert label is not None
    assert not set(label.group(1)) & set('<>`|"')
    assert len(drawn.splitlines()) == len(mermaid(PIPELINE).splitlines())
