"""What steps forked from a template cost: `python -m tests.benchmarks.warm_steps [STEPS]`.

The engine runs in this process; a step's time is that from the end of the one before to its own. With TensorFlow in the
set-up, forked steps are compared with steps that are started as new interpreters. A pipeline of STEPS (1,000) empty
steps shows what scheduling costs and whether memory grows.
"""

from __future__ import annotations

import importlib.util
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nbkube.engines.local import LocalEngine
from nbkube.notebook import read_notebook
from nbkube.pipeline import build_pipeline
from nbkube.plan import Plan
from nbkube.runtime.kernel import children, command_of
from nbkube.storage import open_store
from tests.benchmarks.measure import Line, show
from tests.building import CellText, write_notebook

WARM = 40
FILES = 1_000, 11_000


@dataclass
class Story:
    """A run: when its steps ended and their cells began, and what was measured when the first step had ended."""

    ends: list[float] = field(default_factory=list)
    begins: list[float] = field(default_factory=list)
    template: int = 0
    memory: list[int] = field(default_factory=list)
    processor: float = 0.0

    def gaps(self) -> list[float]:
        """Return the seconds from step to step."""
        return [end - before for before, end in zip(self.ends, self.ends[1:], strict=False)]

    def starts(self) -> list[float]:
        """Return the seconds from the end of a step to the first cell of the next."""
        return [begin - end for end, begin in zip(self.ends, self.begins[1:], strict=False)]


def resident(process: int | str = "self") -> int:
    """Return the bytes of memory a process holds."""
    return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def template_size() -> int:
    """Return the bytes that the template of the run in this process holds; 0 if there is none."""
    sizes = [resident(one) for one in children(os.getpid()) if "nbkube.runtime template" in command_of(one)]
    return max(sizes, default=0)


def run(cells: Sequence[CellText], files: int = 0, **how: Any) -> Story:
    """Run a notebook in a project of so many small files."""
    story = Story()

    def listen(event: Mapping[str, Any]) -> None:
        if event["event"] == "step-ended":
            story.ends.append(time.perf_counter())
            story.template = max(story.template, template_size())
            story.memory.append(resident())
        elif event["event"] == "cell" and event["state"] == "started":
            story.begins.append(time.perf_counter())

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number in range(files):
            place = folder / "project" / f"part{number // 200}"
            place.mkdir(parents=True, exist_ok=True)
            (place / f"{number}.txt").write_text(f"file {number}")
        notebook = write_notebook(folder / "project" / "work.ipynb", cells)
        plan = Plan.of(build_pipeline(read_notebook(notebook)), notebook)
        engine = LocalEngine(open_store(folder / "store"), folder / "work", plan.files(folder / "files"))
        before = time.process_time()
        run = engine.submit(plan.submission("run", parallel=1, use_cache=False, **how), listen)
        if not run.wait(3600) or run.failure() is not None:
            raise RuntimeError(f"the notebook failed: {run.failure()}")
        story.processor = time.process_time() - before
    return story


def empty_steps(count: int) -> list[CellText]:
    """Return steps that take a number from each other, so that they run one after another."""
    return [("step:s0", "n = 0"), *((f"step:s{number}", f"n = n + {number}") for number in range(1, count))]


def tensorflow_steps(count: int) -> list[CellText]:
    """Return empty steps behind a set-up that imports TensorFlow."""
    first: list[CellText] = [("imports", "import tensorflow as tf"), ("step:s0", "n = 0; tf.version")]
    return [*first, *((f"step:s{number}", f"n = n + {number}; tf.version") for number in range(1, count))]


def warm_lines() -> list[Line]:
    """Measure empty steps in a small and in a large project."""
    few, many = (run(empty_steps(WARM), files) for files in FILES)
    each = statistics.median(few.gaps()[2:])
    further = (statistics.median(many.gaps()[2:]) - each) / (FILES[1] - FILES[0])
    return [
        Line(f"one more empty step, {FILES[0]:,} project files", each * 1e3, "ms", 40),
        Line("each further project file", further * 1e6, "us", 10),
        Line("the template", few.template / (1 << 20), "MiB", 200),
    ]


def tensorflow_lines() -> list[Line]:
    """Compare the start of steps whose set-up imports TensorFlow."""
    forked, spawned = run(tensorflow_steps(6)), run(tensorflow_steps(4), adversarial=True)
    warm, cold = statistics.median(forked.starts()[2:]), statistics.median(spawned.starts()[1:])
    return [
        Line("with TensorFlow: from step to cell, forked", warm * 1e3, "ms"),
        Line("with TensorFlow: from step to cell, new interpreter", cold * 1e3, "ms"),
        Line("times faster", cold / warm, "x", 10, at_least=True),
        Line("the template with TensorFlow", forked.template / (1 << 20), "MiB"),
    ]


def scheduling_lines(count: int) -> list[Line]:
    """Measure a long pipeline."""
    story = run(empty_steps(count))
    tenth = max(count // 10, 1)
    return [
        Line(f"{count:,} steps: one step", statistics.median(story.gaps()) * 1e3, "ms"),
        Line("its scheduling, processor", story.processor / count * 1e3, "ms", 30),
        Line("the last tenth beside the second", _ratio(story.gaps(), tenth), "x", 1.5),
        Line("memory at the end beside a tenth", story.memory[-1] / story.memory[tenth], "x", 1.1),
    ]


def _ratio(gaps: Sequence[float], tenth: int) -> float:
    return statistics.median(gaps[-tenth:]) / statistics.median(gaps[tenth : 2 * tenth])


def main(arguments: Sequence[str] = ()) -> bool:
    """Measure and print; tell whether the bars are kept."""
    parts: list[Callable[[], list[Line]]] = [warm_lines]
    if importlib.util.find_spec("tensorflow"):
        parts.append(tensorflow_lines)
    count = int(arguments[0]) if arguments else 1_000
    lines = [line for part in parts for line in part()] + scheduling_lines(count)
    return show(f"Steps forked from a template ({WARM} steps)", lines)


if __name__ == "__main__":
    sys.exit(not main(sys.argv[1:]))
