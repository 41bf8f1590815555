from __future__ import annotations

import pytest

from tests.unit.documents import code, sound


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("print(accuracy)", ["accuracy"]),
        ("print('accuracy:', accuracy, loss)", ["accuracy", "loss"]),
        ("print(f'{accuracy:.3f} {loss}')", ["accuracy", "loss"]),
        ("accuracy", ["accuracy"]),
        ("accuracy, loss", ["accuracy", "loss"]),
        ("f1 = 2 * accuracy", ["f1"]),
        ("f1: float = accuracy", ["f1"]),
        ("a, (b, *c) = 1, (2, 3)", ["a", "b"]),
        ("{'accuracy': accuracy, 'more': [loss]}", ["accuracy", "loss"]),
        ("display(accuracy)", ["accuracy"]),
        ("_hidden = 1\nimport os\ndef f():\n    pass\nloss", ["loss"]),
        ("%time print(loss)\nloss", ["loss"]),
        ("for x in [1]:\n    print(x)\nloss", ["loss"]),
        ("loss\nprint(loss)\nloss = loss", ["loss"]),
    ],
)
def test_names_of_metrics(source: str, names: list[str]) -> None:
    built = sound(code("accuracy = 1\nloss = 2", "step:a"), code(source, "pipeline-metrics"))
    assert list(built.metrics) == names


def test_cells_without_a_metric_are_a_warning() -> None:
    built = sound(code("x = 1", "step:a"), code("print('done')", "pipeline-metrics"))
    assert [(one.code, one.place.cell) for one in built.diagnostics] == [("no-metrics", 2)]
