"""Running a command and taking its time, processor time and peak memory; a table that compares with the bars."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from nbkube.runtime.kernel import adopt_orphans, children

NBKUBE = [sys.executable, "-c", "import sys; from nbkube.cli import main; sys.argv[0] = 'nbkube'; main()"]
"""The command `nbkube` of this interpreter, whether or not it is installed."""


class BenchmarkError(Exception):
    """A command that was to be measured failed."""


@dataclass(frozen=True)
class Sample:
    """One run of a command: seconds of wall clock and of processor, and the largest process in bytes."""

    wall: float
    cpu: float
    peak: int
    output: str


@dataclass(frozen=True)
class Line:
    """One figure; `bar` is the most (or, with `at_least`, the least) it may be."""

    what: str
    value: float
    unit: str
    bar: float | None = None
    at_least: bool = False

    @property
    def passed(self) -> bool:
        """Tell whether the figure keeps its bar."""
        if self.bar is None:
            return True
        return self.value >= self.bar if self.at_least else self.value <= self.bar


def run_once(command: Sequence[str], cwd: Path, env: Mapping[str, str] | None = None) -> Sample:
    """Run a command to its end, and measure until then; the processor time is that of all its descendants.

    A run on this machine belongs to a process that is nobody's child: this process adopts it, and waits for it, too.
    """
    adopt_orphans()
    before = set(children(os.getpid()))
    with tempfile.TemporaryFile() as output:
        started = time.perf_counter()
        process = subprocess.Popen(
            command, cwd=cwd, stdout=output, stderr=subprocess.STDOUT, env=environment() if env is None else dict(env)
        )
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        orphans = [os.wait4(one, 0)[2] for one in _adopted(before)]
        output.seek(0)
        text = output.read().decode(errors="replace")
    if process.returncode:
        raise BenchmarkError(f"{' '.join(command)} ended with {process.returncode}:\n{text[-3000:]}")
    usages = (usage, *orphans)
    cpu = sum(one.ru_utime + one.ru_stime for one in usages)
    return Sample(wall, cpu, max(one.ru_maxrss for one in usages) * 1024, text)


def _adopted(before: Container[int]) -> Iterator[int]:
    """Yield the processes that have become this one's children, and those that become so while they end."""
    while new := [one for one in children(os.getpid()) if one not in before]:
        yield from new


def run_in_turn(commands: Mapping[str, Sequence[str]], cwd: Path, repeat: int) -> dict[str, list[Sample]]:
    """Run several commands in turn, `repeat` times, after one round that is not counted (it warms the caches)."""
    samples: dict[str, list[Sample]] = {name: [] for name in commands}
    for turn in range(repeat + 1):
        for name, command in commands.items():
            sample = run_once(command, cwd)
            if turn:
                samples[name].append(sample)
    return samples


def environment() -> dict[str, str]:
    """Return this environment, with this checkout importable from any folder and byte code kept, as when installed."""
    root = str(Path(__file__).parents[2])
    before = os.environ.get("PYTHONPATH")
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**inherited, "PYTHONPATH": root if not before else f"{root}{os.pathsep}{before}"}


def median_wall(samples: Sequence[Sample]) -> float:
    """Return the median of the wall-clock seconds."""
    return statistics.median(sample.wall for sample in samples)


def median_cpu(samples: Sequence[Sample]) -> float:
    """Return the median of the processor seconds."""
    return statistics.median(sample.cpu for sample in samples)


def show(title: str, lines: Sequence[Line]) -> bool:
    """Print the figures beside their bars; tell whether all are kept."""
    sys.stdout.write(f"\n{title}\n")
    width = max(len(line.what) for line in lines)
    for line in lines:
        bar = "" if line.bar is None else f"{'≥' if line.at_least else '≤'} {line.bar:g} {line.unit}"
        verdict = "" if line.bar is None else ("ok" if line.passed else "MISSED")
        sys.stdout.write(f"  {line.what:{width}}  {line.value:9.3f} {line.unit:3}  {bar:10} {verdict}".rstrip() + "\n")
    sys.stdout.flush()
    return all(line.passed for line in lines)
