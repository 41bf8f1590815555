"""Carries out an Argo Workflow on this machine: its pods are ordinary processes, started with the same arguments.

It walks the graph by the rules of Argo's controller as far as our Workflows use them: `depends`, `when`, retries by
expression, output parameters, the exit hook, and how a graph's phase comes from its last tasks. So graph, judge and
runner are tested without a cluster; what only a cluster shows is tested there (tests/cluster).
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import Empty, Queue
from typing import Any

from nbkube.engines.argo.news import News, WorkflowNews
from nbkube.engines.argo.place import PLACE, VARIABLE

_FULFILLED = ("Succeeded", "Failed", "Errored", "Skipped", "Omitted")
_REFERENCE = re.compile(r"\{\{([^{}]+)\}\}")


class Walker:
    """Workflows on this machine: the `Workflows` that the engine wants of a cluster."""

    def __init__(self) -> None:
        self.walks: dict[str, Walk] = {}

    def send(self, manifest: dict[str, Any]) -> None:
        name = manifest["metadata"].get("name") or manifest["metadata"]["generateName"] + os.urandom(3).hex()
        self.walks[name] = Walk(name, manifest)
        threading.Thread(target=self.walks[name].run, daemon=True).start()

    def stop(self, name: str, *, now: bool = False) -> None:
        self.walks[name].stop(now=now)

    def suspend(self, name: str, *, paused: bool) -> None:
        self.walks[name].suspended = paused

    def watch(self, name: str) -> Iterator[News | None]:
        if name not in self.walks:
            yield WorkflowNews("Gone")
            return
        walk = self.walks[name]
        while True:
            try:
                news = walk.news.get(timeout=0.2)
            except Empty:
                yield None
                continue
            yield news
            if isinstance(news, WorkflowNews) and news.ended:
                return


class Walk:
    """One Workflow being carried out. `pods` counts, by template, the processes that were started."""

    def __init__(self, name: str, manifest: Mapping[str, Any]) -> None:
        self.name = name
        self.spec = manifest["spec"]
        self.templates = {one["name"]: one for one in self.spec["templates"]}
        self.news: Queue[News] = Queue()
        self.pods: list[str] = []
        self.logs: dict[str, str] = {}
        self.phase = "Running"
        self.suspended = False
        self._stopping = False
        self._running: set[subprocess.Popen[bytes]] = set()
        self._lock = threading.Lock()
        self._globals = {
            "workflow.name": name,
            "workflow.creationTimestamp.RFC3339": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        }

    def run(self) -> None:
        status = self._template(self.spec["entrypoint"], {}, "main")[0]
        if self._stopping:
            status = "Failed"
        self._globals["workflow.status"] = status
        self._exit_hook()
        self.phase = status
        self.news.put(WorkflowNews(status))

    def stop(self, *, now: bool = False) -> None:
        self._stopping = True
        with self._lock:
            for process in self._running:
                process.send_signal(signal.SIGKILL if now else signal.SIGTERM)

    def _exit_hook(self) -> None:
        self._stopping = False
        self._template(self.spec["hooks"]["exit"]["template"], {}, "exit")

    # -- templates -------------------------------------------------------------------------------------------------

    def _template(self, name: str, given: Mapping[str, str], task: str) -> tuple[str, dict[str, str]]:
        """Return (phase, output parameters)."""
        template = self.templates[name]
        inputs = {one["name"]: one.get("value", "") for one in template.get("inputs", {}).get("parameters", [])}
        assert set(given) <= set(inputs), (name, given)
        scope = {f"inputs.parameters.{one}": value for one, value in {**inputs, **given}.items()}
        if "dag" in template:
            return self._dag(template["dag"]["tasks"], scope), {}
        return self._pod(template, scope, task)

    def _dag(self, tasks: list[dict[str, Any]], scope: dict[str, str]) -> str:
        phases: dict[str, str] = {}
        scope = dict(scope)
        changed = threading.Condition()
        names = [task["name"] for task in tasks]
        assert len(set(names)) == len(names)
        assert all(re.fullmatch(r"[a-zA-Z]([-a-zA-Z0-9]*[a-zA-Z0-9])?", name) for name in names), names
        waiting = list(tasks)

        def carry_out(task: dict[str, Any]) -> None:
            given = (
                {one["name"]: self._filled(one["value"], scope) for one in task["arguments"]["parameters"]}
                if ("arguments" in task)
                else {}
            )
            phase, outputs = self._template(task["template"], given, task["name"])
            with changed:
                phases[task["name"]] = phase
                scope.update({f"tasks.{task['name']}.outputs.parameters.{one}": text for one, text in outputs.items()})
                changed.notify_all()

        with ThreadPoolExecutor(16) as pool, changed:
            while len(phases) < len(tasks):
                for task in list(waiting):
                    verdict = self._verdict(task, phases, scope)
                    if verdict == "wait" or (verdict == "run" and self.suspended):
                        continue
                    waiting.remove(task)
                    if verdict == "run":
                        pool.submit(carry_out, task)
                    else:
                        phases[task["name"]] = verdict
                        changed.notify_all()
                changed.wait(0.1)
        return _phase_of(tasks, phases)

    def _verdict(self, task: Mapping[str, Any], phases: Mapping[str, str], scope: Mapping[str, str]) -> str:
        needed = _depends(task)
        if any(name not in phases for name in needed):
            return "wait"
        if not _satisfied(task.get("depends", ""), phases):
            return "Omitted"
        if self._stopping:
            return "Failed"
        if "when" in task and not _holds(self._filled(task["when"], scope)):
            return "Skipped"
        return "run"

    # -- pods ------------------------------------------------------------------------------------------------------

    def _pod(self, template: Mapping[str, Any], scope: dict[str, str], task: str) -> tuple[str, dict[str, str]]:
        strategy = template["retryStrategy"]
        for attempt in range(int(strategy["limit"]) + 1):
            code, outputs = self._container(template, {**scope, "retries": str(attempt)}, f"{task}({attempt})")
            if code == 0:
                return "Succeeded", outputs
            if self._stopping or not _retries(strategy["expression"], code):
                return "Failed", outputs
            time.sleep(0.05)
        return "Failed", {}

    def _container(self, template: Mapping[str, Any], scope: dict[str, str], pod: str) -> tuple[int, dict[str, str]]:
        container = template["container"]
        place = Path(tempfile.mkdtemp(prefix="pod-"))
        environment = {one["name"]: one["value"] for one in container["env"] if "value" in one}
        environment |= {VARIABLE: str(place / "own"), "HOME": str(place / "home"), "PYTHONPATH": os.getcwd()}
        arguments = [self._filled(one, scope) for one in container["args"]]
        command = [sys.executable, *container["command"][1:], *arguments]
        # No texts of a notebook, and nothing left to be filled in.
        assert not any("{{" in one for one in command), command
        try:
            with self._lock:
                process = subprocess.Popen(
                    command, env={**os.environ, **environment}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
                )
                self._running.add(process)
                self.pods.append(pod)
            text = process.communicate()[0].decode("utf-8", "replace")
            with self._lock:
                self._running.discard(process)
                self.logs[pod] = text + (f"(exit status {process.returncode})" if process.returncode else "")
            outputs = {}
            for one in template.get("outputs", {}).get("parameters", []):
                file = Path(one["valueFrom"]["path"].replace(PLACE, str(place / "own")))
                outputs[one["name"]] = file.read_text() if file.exists() else one["valueFrom"]["default"]
            return (process.returncode if process.returncode >= 0 else 128 - process.returncode), outputs
        finally:
            shutil.rmtree(place, ignore_errors=True)

    def _filled(self, text: str, scope: Mapping[str, str]) -> str:
        known = {**self._globals, **scope}
        return _REFERENCE.sub(lambda found: known[found[1].strip()], text)


def _phase_of(tasks: list[dict[str, Any]], phases: Mapping[str, str]) -> str:
    """Tasks that were left out inherit the worst phase of those before them; the last tasks decide."""
    effective: dict[str, str] = {}
    for task in _sorted(tasks):
        phase = phases[task["name"]]
        if phase in ("Skipped", "Omitted"):
            before = [effective[name] for name in _depends(task)]
            phase = "Failed" if "Failed" in before else "Succeeded"
        effective[task["name"]] = phase
    waited = {name for task in tasks for name in _depends(task)}
    return (
        "Failed"
        if any(effective[task["name"]] == "Failed" for task in tasks if task["name"] not in waited)
        else ("Succeeded")
    )


def _sorted(tasks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    left, found = list(tasks), []
    done: set[str] = set()
    while left:
        ready = [task for task in left if _depends(task) <= done]
        assert ready, "the graph has a cycle"
        for task in ready:
            left.remove(task)
            done.add(task["name"])
            found.append(task)
    return found


def _depends(task: Mapping[str, Any]) -> set[str]:
    return {
        one.partition(".")[0] for one in re.findall(r"[A-Za-z][-A-Za-z0-9]*(?:\.[A-Z][a-z]+)?", task.get("depends", ""))
    }


def _satisfied(expression: str, phases: Mapping[str, str]) -> bool:
    def value(found: re.Match[str]) -> str:
        name, _, how = found[0].partition(".")
        phase = phases[name]
        return str(phase == how if how else phase in ("Succeeded", "Skipped"))

    text = re.sub(r"[A-Za-z][-A-Za-z0-9]*(?:\.[A-Z][a-z]+)?", value, expression)
    return not text or bool(eval(text.replace("&&", "and").replace("||", "or"), {}))


def _holds(condition: str) -> bool:
    left, operator, right = re.fullmatch(r"(.+?) (!=|<=) (.+)", condition).groups()  # type: ignore[union-attr]
    if operator == "!=":
        return bool(left.strip("'") != right.strip("'"))
    return int(left) <= int(right)


def _retries(expression: str, code: int) -> bool:
    text = expression.replace("&&", "and").replace("||", "or").replace("asInt(lastRetry.exitCode)", str(code))
    text = text.replace("lastRetry.status == 'Error'", "False")
    text = re.sub(r"lastRetry\.message matches '[^']*'", "False", text)
    return bool(eval(text, {}))
