"""Runs the case table through Kale and counts what comes out right.

    NBKUBE_KALE_PYTHON=PATH python -m tests.notebooks.kale [CASE...]     writes tests/notebooks/KALE.md

PATH is the Python of an environment with `kubeflow-kale`, numpy, pandas and scikit-learn. Kale's own command is
not needed: its processor and compiler are called as the command does. The generated steps then run one after the
other on this machine: each in a process of its own with an empty marshal folder and a fresh copy of the project's
files, as pods have, with the artifacts copied between them as Kubeflow Pipelines would. The code blocks run in an
IPython shell. What the last step holds in the end is compared, variable by variable, with the same notebook run in
one process of the same environment.

Kindness to Kale: names of its own tag language are used (`step:go-on` becomes `step:goon`, `parameters`
`pipeline-parameters`, `checks` a step), and the order edges that it cannot find itself are written as `prev:` tags.
"""

from __future__ import annotations

import ast
import asyncio
import contextlib
import datetime
import importlib
import importlib.metadata
import inspect
import json
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from tests.notebooks.table import Case, load_cases, notebook_json, write_project

REPORT = Path(__file__).with_name("KALE.md")
SECONDS = 60
OUTCOMES = ("right", "wrong", "fails in a step", "fails to compile")


# --- a value as text: equal texts mean equal values with equal sharing inside ---------------------------------------


def describe(value: Any, seen: dict[int, int], depth: int = 0) -> str:
    """Return a value as text that shows type, content and which objects are the same one."""
    if value is None or isinstance(value, bool | int | float | complex | str | bytes):
        return f"{type(value).__name__}:{value!r}"
    if id(value) in seen:
        return f"@{seen[id(value)]}"
    seen[id(value)] = len(seen)
    if depth > 50:
        return "..."
    kind = type(value).__name__
    if isinstance(value, dict):
        pairs = [f"{describe(k, seen, depth + 1)}={describe(v, seen, depth + 1)}" for k, v in value.items()]
        return f"{kind}{{{', '.join(pairs)}}}"
    if isinstance(value, list | tuple):
        return f"{kind}[{', '.join(describe(one, seen, depth + 1) for one in value)}]"
    if isinstance(value, set | frozenset):
        return f"{kind}({sorted(describe(one, {}, depth + 1) for one in value)})"
    if callable(value) or inspect.ismodule(value):
        return f"{kind} {getattr(value, '__name__', '')}"
    if hasattr(value, "to_dict") and hasattr(value, "index"):
        return f"{kind} {value.to_dict()!r}"
    if hasattr(value, "tolist"):
        return f"{kind} {getattr(value, 'dtype', '')} {value.tolist()!r}"
    state = getattr(value, "__dict__", None)
    return f"{kind} {describe(dict(state), seen, depth + 1)}" if state else kind


# --- processes ------------------------------------------------------------------------------------------------------


def in_child(work: Callable[[], Any], log: Path) -> Any:
    """Run `work` in a forked process with its output in `log`; return its JSON-able result, or None if it died."""
    readable, writable = os.pipe()
    child = os.fork()
    if child == 0:
        _child(work, log, writable)
    os.close(writable)
    data = b""
    try:
        while True:
            if not select.select([readable], [], [], SECONDS)[0]:
                os.kill(child, signal.SIGKILL)
                break
            part = os.read(readable, 1 << 16)
            if not part:
                break
            data += part
    finally:
        os.close(readable)
        os.waitpid(child, 0)
    try:
        return json.loads(data)
    except ValueError:
        return None


def _child(work: Callable[[], Any], log: Path, writable: int) -> NoReturn:
    with log.open("ab") as sink:
        os.dup2(sink.fileno(), 1)
        os.dup2(sink.fileno(), 2)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    try:
        text = json.dumps(work())
        os.write(writable, text.encode())
    except BaseException:  # noqa: BLE001  # whatever ends a step is its outcome
        traceback.print_exc()
    sys.stdout.flush()
    os._exit(0)


def run_blocks(blocks: list[str], wanted: list[str] | None) -> dict[str, str]:
    """Execute code blocks in a fresh IPython shell; return the wanted (or all) variables as texts."""
    shell_type = importlib.import_module("IPython.core.interactiveshell").InteractiveShell
    module = type(sys)("__main__")
    sys.modules["__main__"] = module
    # dill remembers which module was `__main__` when it was imported: here, too, that must be the user's.
    for name in [one for one in sys.modules if one.partition(".")[0] == "dill"]:
        del sys.modules[name]
    shell = shell_type.instance(user_module=module)
    shell.history_manager.enabled = False
    sys.path.insert(0, "")
    before = set(shell.user_ns)

    async def work() -> None:
        for block in blocks:
            done = await shell.run_cell_async(block, store_history=True, transformed_cell=shell.transform_cell(block))
            done.raise_error()

    asyncio.run(work())
    names = wanted if wanted is not None else sorted(n for n in set(shell.user_ns) - before if n[0] != "_")
    return {name: describe(shell.user_ns[name], {}) for name in names if name in shell.user_ns}


# --- one case -------------------------------------------------------------------------------------------------------


def kale_notebook(case: Case) -> str:
    """Return the case in Kale's tag language, with the order of its steps written down."""
    notebook = json.loads(notebook_json(case, expectation=False))
    notebook["metadata"]["kubeflow_notebook"] = {"pipeline_name": "case", "experiment_name": "case"}
    before = ""
    met: set[str] = set()
    for cell in notebook["cells"]:
        tags = []
        for tag in cell["metadata"].get("tags", []):
            known = {"parameters": "pipeline-parameters", "checks": "step:checks"}.get(tag, tag)
            known = known.replace("-", "") if known.startswith("step:") else known
            tags.append(known)
            if known.startswith("step:"):
                name = known.removeprefix("step:")
                if before and name not in met:
                    tags.append(f"prev:{before}")
                met.add(name)
                before = name
        cell["metadata"]["tags"] = tags
    return json.dumps(notebook)


def compile_case(case: Case, folder: Path) -> list[str]:
    """Have Kale compile the case to `folder`/.kale; return the names of its steps in order."""
    os.chdir(folder)
    path = folder / "case.ipynb"
    path.write_text(kale_notebook(case))
    processor = importlib.import_module("kale.processors").NotebookProcessor(str(path), {"pipeline_name": "case"})
    pipeline = processor.run()
    compiler = importlib.import_module("kale.compiler").Compiler(pipeline, processor.get_imports_and_functions())
    script = compiler.compile()
    importlib.import_module("kale.common.kfputils").compile_pipeline(script, "case")
    return [step.name for step in pipeline.steps]


def reference(case: Case, folder: Path) -> dict[str, str]:
    """Run the notebook in one process; return its variables as texts."""
    path = write_project(case, folder, expectation=False, given=True)
    os.chdir(path.parent)
    cells = json.loads(path.read_text())["cells"]
    return run_blocks([c["source"] for c in cells if "skip" not in c["metadata"].get("tags", [])], None)


class _Artifact:
    """Stands for one artifact of Kubeflow Pipelines: a path and metadata that travel."""

    def __init__(self, stem: Path) -> None:
        self.path = str(stem)
        self._meta = stem.with_suffix(".json")
        self.metadata = json.loads(self._meta.read_text()) if self._meta.exists() else {}

    def keep(self) -> None:
        self._meta.write_text(json.dumps(self.metadata))

    def log_metric(self, name: str, value: float) -> None:
        self.metadata[name] = value


def run_step(case: Case, script: Path, step: str, folder: Path, wanted: list[str] | None) -> dict[str, str]:
    """Run one generated step as its pod would; return its wanted variables as texts."""
    project = folder / f"files-{step}"
    path = write_project(case, project, expectation=False)
    artifacts = folder / "artifacts"
    artifacts.mkdir(exist_ok=True)
    os.chdir(path.parent)
    # One path in all steps, as in pods, but each finds it empty.
    marshal = folder / "marshal"
    shutil.rmtree(marshal, ignore_errors=True)
    text = script.read_text().replace("/tmp/marshal", str(marshal))
    space: dict[str, Any] = {"__name__": "generated"}
    exec(compile(text, str(script), "exec", dont_inherit=True), space)
    left: dict[str, str] = {}

    def run_code(blocks: tuple[str, ...]) -> str:
        left.update(run_blocks([inspect.cleandoc("\n" + block) for block in blocks], wanted))
        return ""

    vars(importlib.import_module("kale.common.jputils"))["run_code"] = run_code
    metrics = str(folder / f"metrics-{step}.json")
    vars(importlib.import_module("kale.common.kfputils"))["KFP_UI_METRICS_FILE_PATH"] = metrics
    inputs = _call_of_step(text, step)
    given: dict[str, Any] = {}
    for argument in inspect.signature(space[f"{step}_step"].python_func).parameters:
        source = inputs.get(argument)
        if argument in inputs and not isinstance(source, _Output):
            given[argument] = _parameter(case, argument, source)
        else:
            stem = f"{source.task}-{source.name}" if isinstance(source, _Output) else f"{step}-{argument}"
            given[argument] = _Artifact(artifacts / stem)
    space[f"{step}_step"].python_func(**given)
    for one in given.values():
        if isinstance(one, _Artifact):
            one.keep()
    return left


class _Output:
    def __init__(self, task: str, name: str) -> None:
        self.task, self.name = task, name


def _call_of_step(text: str, step: str) -> dict[str, Any]:
    """Return how the generated pipeline calls the step: argument -> default of a parameter, or an output."""
    tree = ast.parse(text)
    pipeline = next(n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef) and n.name == "auto_generated_pipeline")
    names = [one.arg for one in pipeline.args.args]
    defaults = dict(zip(names, [ast.literal_eval(one) for one in pipeline.args.defaults], strict=True))
    call = next(
        n for n in ast.walk(pipeline) if isinstance(n, ast.Call) and getattr(n.func, "id", "") == f"{step}_step"
    )
    found: dict[str, Any] = {}
    for keyword in call.keywords:
        match = re.fullmatch(r"(\w+)_task\.outputs\['(\w+)'\]", ast.unparse(keyword.value))
        found[str(keyword.arg)] = _Output(match[1], match[2]) if match else defaults[ast.unparse(keyword.value)]
    return found


def _parameter(case: Case, name: str, default: Any) -> Any:
    for given, text in case.given.items():
        if given.lower() == name:
            return text if isinstance(default, str) else json.loads(text)
    return default


def outcome_of(case: Case) -> tuple[str, str]:
    """Return one of OUTCOMES and a word about it."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        log = folder / "log"
        steps = in_child(lambda: compile_case(case, folder), log)
        if steps is None:
            return ("right", "refused") if case.refusal() else ("fails to compile", _last_line(log))
        right = in_child(lambda: reference(case, folder / "notebook"), folder / "notebook.log")
        if right is None and not (case.fails or case.refusal()):
            return "not counted", _last_line(folder / "notebook.log")
        script = next((folder / ".kale").glob("*.kale.py"))
        last: dict[str, str] | None = {}
        for step in steps:
            wanted = sorted(name for name in right or {} if name not in case.varies) if step == steps[-1] else []
            last = in_child(lambda s=step, w=wanted: run_step(case, script, s, folder, w), log)  # type: ignore[misc]
            if last is None:
                return ("right", "fails too") if case.fails else ("fails in a step", f"{step}: {_last_line(log)}")
        if case.fails or case.refusal():
            return "wrong", "ran to the end"
        return _compare(case, right or {}, last or {})


def _compare(case: Case, right: dict[str, str], last: dict[str, str]) -> tuple[str, str]:
    if "result" in right and "result" not in last:
        return "wrong", "result is missing"
    for name, text in last.items():
        if text != right[name]:
            return "wrong", f"{name}: {text[:60]}, not {right[name][:60]}"
    return "right", ""


def _last_line(log: Path) -> str:
    lines = (
        [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()] if log.exists() else []
    )
    errors = [line for line in lines if re.match(r"[\w.]*(Error|Exception|Exit|Interrupt)\b", line)]
    found = (errors or lines or ["no message"])[-1]
    return re.sub(r"/\S*/", "", found)[:110]


# --- the report -----------------------------------------------------------------------------------------------------


def inside(names: list[str]) -> None:
    """Run in Kale's environment: print one JSON line per case."""
    with contextlib.redirect_stdout(sys.stderr):
        for module in ("kale.processors", "kale.compiler", "kale.common.kfputils", "kfp.compiler", "IPython.core"):
            importlib.import_module(module)
        for module in ("numpy", "pandas", "sklearn.pipeline"):
            importlib.import_module(module)
    print(json.dumps(["version", importlib.metadata.version("kubeflow-kale")]), flush=True)  # noqa: T201
    for case in load_cases():
        if not names or case.name in names:
            print(json.dumps([case.name, *outcome_of(case)]), flush=True)  # noqa: T201


def main(names: list[str]) -> None:
    """Start the run in Kale's environment and write the report."""
    python = os.environ.get("NBKUBE_KALE_PYTHON") or sys.exit(
        "Set NBKUBE_KALE_PYTHON to a Python that has kubeflow-kale."
    )
    command = [python, "-W", "ignore", "-m", "tests.notebooks.kale", "--inside", *names]
    root = Path(__file__).parents[2]
    with tempfile.TemporaryDirectory() as home:
        environment = {**os.environ, "PYTHONPATH": str(root), "HOME": home, "IPYTHONDIR": home}
        rows: list[list[str]] = []
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment, cwd=root)
        for line in process.stdout or ():
            rows.append(json.loads(line))
            print(*rows[-1], sep=" | ", flush=True)  # noqa: T201
    if process.wait() == 0 and not names:
        REPORT.write_text(report(rows[0][1], rows[1:]), encoding="utf-8")


def report(version: str, rows: list[list[str]]) -> str:
    """Return the table as Markdown."""
    counts = Counter(row[1] for row in rows)
    themes = {case.name: case.theme for case in load_cases()}
    failed = sum(counts[one] for one in OUTCOMES[1:])
    missing = len(themes) - len(rows)
    lines = [
        f"# The case table under Kale {version}",
        "",
        f"Made on {datetime.date.today()} by `python -m tests.notebooks.kale`, whose text says how. "
        f"Of {len(rows)} cases Kale gets {counts['right']} right and {failed} not: "
        + ", ".join(f"{one} {counts[one]}" for one in OUTCOMES[1:])
        + f". Not counted, as its environment lacks a library they need: {counts['not counted']}."
        + (f" {missing} more cases have not been run." if missing else ""),
        "",
        "| theme | case | outcome | |",
        "|---|---|---|---|",
    ]
    lines += [f"| {themes[n]} | {n} | {outcome} | {_cell(word)} |" for n, outcome, word in rows]
    return "\n".join(lines) + "\n"


def _cell(word: str) -> str:
    return word.replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--inside"]:
        shutil.rmtree(Path(".kale"), ignore_errors=True)
        inside(sys.argv[2:])
    else:
        main(sys.argv[1:])
