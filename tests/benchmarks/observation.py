"""What observing a run costs: `python -m tests.benchmarks.observation`.

Every process of a run of the examples is started with timers around all that observes: the watched look-ups of paths,
the comparison of loaded values before and after, and the taking of access times and files after a step. Their sum is
compared with the processor time of the whole run. The timers' own cost is counted as observation, so the figure is an
upper bound.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from tests.benchmarks.measure import NBKUBE, Line, environment, run_once, show

EXAMPLES = Path(__file__).parents[2] / "examples"

TIMERS = """
import atexit, functools, importlib.abc, os, sys, threading, time

WATCHED = {
    "nbkube.runtime.observation": {"Observation": ["start", "into"]},
    "nbkube.runtime.modules": {"Modules": ["watch", "remember"]},
    "nbkube.runtime.looks": {"Looks": ["found", "read", "absent", "written", "moved"]},
    "nbkube.state.mutation": {"": ["take_baseline", "is_changed"]},
    "nbkube.state.workspace": {"Workspace": ["observe"]},
}
spent, here = {}, threading.local()


def timed(function, name):
    @functools.wraps(function)
    def wrapper(*given, **named):
        if getattr(here, "inside", False):
            return function(*given, **named)
        here.inside = True
        started = time.thread_time()
        try:
            return function(*given, **named)
        finally:
            spent[name] = spent.get(name, 0.0) + time.thread_time() - started
            here.inside = False
            if name == "Observation.into":
                write()  # step processes may end without running exit handlers
    return wrapper


def write():
    with open(os.path.join(os.environ["NBKUBE_TIMERS"], f"{os.getpid()}"), "w") as file:
        file.writelines(f"{name} {seconds}\\n" for name, seconds in spent.items())


class Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name not in WATCHED:
            return None
        for finder in sys.meta_path:
            spec = None if finder is self else finder.find_spec(name, path, target)
            if spec is not None:
                execute = spec.loader.exec_module
                spec.loader.exec_module = lambda module: (execute(module), self.watch(module))[0]
                return spec
        return None

    def watch(self, module):
        for owner, names in WATCHED[module.__name__].items():
            holder = getattr(module, owner) if owner else module
            for name in names:
                setattr(holder, name, timed(getattr(holder, name), f"{owner or 'values'}.{name}"))


sys.meta_path.insert(0, Finder())
atexit.register(write)
"""


def measure(name: str, parameters: Mapping[str, str]) -> list[Line]:
    """Run one example without cache; return its figures."""
    with tempfile.TemporaryDirectory() as folder:
        timers, results = Path(folder, "timers"), Path(folder, "results")
        timers.mkdir()
        results.mkdir()
        (timers / "sitecustomize.py").write_text(TIMERS)
        project = Path(folder, "project")
        project.mkdir()
        notebook = shutil.copy(EXAMPLES / name / f"{name}.ipynb", project)
        env = environment()
        env |= {"PYTHONPATH": f"{timers}{os.pathsep}{env['PYTHONPATH']}", "NBKUBE_TIMERS": str(results)}
        given = [part for key, value in parameters.items() for part in ("-p", f"{key}={value}")]
        sample = run_once([*NBKUBE, "run", str(notebook), "--no-cache", *given], project, env)
        spent: dict[str, float] = {}
        for file in results.iterdir():
            for line in file.read_text().splitlines():
                part, seconds = line.split()
                spent[part] = spent.get(part, 0.0) + float(seconds)
    total = sum(spent.values())
    return [
        Line(f"{name}: processor time of the run", sample.cpu, "s"),
        *(Line(f"  {part}", 1000 * seconds, "ms") for part, seconds in sorted(spent.items())),
        Line(f"{name}: observation", 100 * total / sample.cpu, "%", 3),
    ]


def main() -> bool:
    """Measure and print; tell whether the bars are kept."""
    lines = measure("digits", {}) + measure("diabetes", {})
    data = os.environ.get("NBKUBE_TEST_DATA")
    if data:
        lines += measure("sentiment", {"data": data, "reviews": "4000", "encoder": "tfidf"})
    else:
        sys.stdout.write("\nNBKUBE_TEST_DATA is not set: the sentiment example is left out.\n")
    return show("Cost of observation", lines)


if __name__ == "__main__":
    sys.exit(not main())
