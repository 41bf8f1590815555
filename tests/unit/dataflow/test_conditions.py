"""Units that run only under a condition: what they bind may be there or not."""

from __future__ import annotations

from nbkube.dataflow import Flow, Unit, analyze
from tests.unit.dataflow.notebooks import cell, edges


def flow(*units: tuple[str, str]) -> Flow:
    """Return the analysis of (source, condition) pairs."""
    return analyze(
        [Unit(f"u{at}", (cell(source, at),), when) for at, (source, when) in enumerate(units, 1)], file="nb.ipynb"
    )


def test_its_condition_is_read_from_whoever_made_the_names() -> None:
    found = flow(("rate = 1", ""), ("limit = 2", ""), ("x = 3", "rate > limit"))
    assert edges(found) == {"1>3 rate", "2>3 limit"}
    assert set(found.units[2].optional_reads) | set(found.units[2].reads) == {"rate", "limit"}


def test_what_it_binds_may_be_there_and_older_values_may_stay() -> None:
    found = flow(("x = 1\ngo = 0", ""), ("x = 2\nfresh = 3", "go"), ("y = x", ""))
    assert set(found.units[1].may_writes) == {"x", "fresh"}
    assert found.units[1].writes == ()
    assert edges(found) == {"1>2 go", "1>3 x", "2>3 x"}
    assert not found.diagnostics


def test_its_imports_are_made_again_and_its_configuration_is_not() -> None:
    found = flow(
        ("import pandas as pd\ngo = 0", ""),
        ("import numpy as np\npd.set_option('display.width', 3)\n%matplotlib inline", "go"),
        ("y = np.pi", ""),
    )
    assert [one.kind for one in found.units[1].replay] == ["import"]
    assert not [one for one in found.diagnostics if one.code == "undefined-name"]
