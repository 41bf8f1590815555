"""`verify --engine argo` for every case of the table, some at a time: `python -m tests.cluster.all_cases FILE`.

The outcome of each case is a line of FILE (JSON); cases that are there with an outcome other than `failed` are not run
again, so that a run that was broken off goes on. The bench has to be up. At the end it prints how many are equal,
refused before they run or warned of as the table says, and the names of all others; with any, the exit code is 1.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import sys
import tempfile
import time
import traceback
from collections import Counter
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path

from nbkube.errors import NbkubeError, NotebookError
from tests.cluster import bench as running
from tests.cluster import layout, lifecycle
from tests.cluster.api import Api
from tests.cluster.bench import Bench
from tests.cluster.namespaces import make_namespace, remove_namespace
from tests.cluster.projects import project, same_libraries
from tests.notebooks.table import Case, load_cases, write_project

EXPECTED = ("equal", "refused", "warned")
NOT_IN_THE_IMAGE = ("networkx",)
"""What notebooks of the table import and the ready image lacks: nbkube builds the steps' image then."""


def outcome(case: Case, bench: Bench, namespace: str) -> dict[str, object]:
    """Verify a case; return its name, what came of it, how long it took and what differed."""
    started = time.monotonic()
    found, details = "failed", [""]
    api = Api(bench.kubeconfig)
    image = bench.images.tensorflow if case.slow else bench.images.base
    with (
        tempfile.TemporaryDirectory() as folder,
        project(Path(folder) / "project", bench, api, namespace, image) as mine,
        same_libraries(Path(folder) / "hidden"),
    ):
        if any(name in cell.source for cell in case.cells for name in NOT_IN_THE_IMAGE):
            mine.configure_building()
        settings = mine.folder / "nbkube.toml"
        profile = settings.read_text("utf-8")
        notebook = write_project(case, mine.folder)
        settings.write_text(profile, "utf-8")  # one case marks its project's folder with an empty one
        warned = [one.code for one in mine.client().check(notebook)] if case.warned else []
        try:
            verdict = mine.client().verify(notebook, parameters=case.given, engine="argo")
            unequal = "warned" if case.warned in warned else "unequal"
            found, details = "equal" if verdict.equal else unequal, [str(one) for one in verdict.differences]
        except NotebookError as error:
            codes = [one.code for one in error.diagnostics if one.severity == "error"]
            found, details = "refused" if codes == [case.refusal()] else "failed", codes
        except NbkubeError as error:
            details = [f"{type(error).__name__}: {error}"]
        except Exception:  # noqa: BLE001 - told with the others
            details = [traceback.format_exc()]
    return {"name": case.name, "outcome": found, "seconds": round(time.monotonic() - started, 1), "details": details}


def _known(path: Path) -> dict[str, dict[str, object]]:
    lines = path.read_text().splitlines() if path.exists() else []
    return {one["name"]: one for one in map(json.loads, lines)}


def _say(*words: object) -> None:
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


def main(arguments: list[str]) -> int:
    """Run the cases that have no outcome yet, and sum up."""
    parser = argparse.ArgumentParser(prog="tests.cluster.all_cases", description=__doc__)
    parser.add_argument("file", type=Path, help="the outcomes; made if needed")
    parser.add_argument("--jobs", type=int, default=3, help="cases at a time")
    parser.add_argument("--only", nargs="*", help="names of cases, which are run again in any case")
    given = parser.parse_args(arguments)
    bench = running.replace_images(running.read(), lifecycle.load_image(layout.CHECKOUT))
    api, namespace = Api(bench.kubeconfig), f"test-{secrets.token_hex(4)}"
    make_namespace(api, namespace, bench)
    known = _known(given.file)
    cases = load_cases()
    if given.only:
        todo = [one for one in cases if one.name in given.only]
    else:
        todo = [one for one in cases if known.get(one.name, {}).get("outcome") not in (*EXPECTED, "unequal")]
    os.environ["PYTHONWARNINGS"] = "ignore"
    try:
        with ProcessPoolExecutor(given.jobs, get_context("spawn")) as pool, given.file.open("a") as file:
            work = [pool.submit(outcome, one, bench, namespace) for one in todo]
            for done, one in enumerate(as_completed(work), 1):
                found = one.result()
                file.write(json.dumps(found) + "\n")
                file.flush()
                _say(f"{done} of {len(todo)}", found["outcome"], found["name"], f"{found['seconds']} s")
    finally:
        remove_namespace(api, namespace)
    known = {name: one for name, one in _known(given.file).items() if name in {case.name for case in cases}}
    _say(dict(Counter(str(one["outcome"]) for one in known.values())), f"of {len(cases)} cases")
    others = [case for case in known.values() if case["outcome"] not in EXPECTED]
    for case in others:
        _say(case["outcome"], case["name"], case["details"])
    return int(bool(others) or len(known) < len(cases))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
