"""A run as an Argo Workflow: a pure function from a submission to a plain dict, valid for Argo 3.7 and 4.

It holds names, numbers and digests. Programs, parameters and the project's files are in the store, which the pods ask.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import msgspec

from nbkube.engines.argo.chains import fused
from nbkube.engines.argo.graph import Graph, Node
from nbkube.engines.argo.judge import NONE
from nbkube.engines.argo.place import PLACE
from nbkube.engines.argo.pods import (
    RUN_LABEL,
    Dict,
    executor_patch,
    pod_security,
    programs,
    small_template,
    step_template,
)
from nbkube.engines.argo.standing import RESCUE
from nbkube.engines.argo.target import Target
from nbkube.pipeline.model import StepOptions

API_VERSION = "argoproj.io/v1alpha1"
_SETTLE, _ORDERED, _REPORT, _END, _MAIN = "settle", "ordered", "report", "end", "main"
_OWN_NAME = ["--workflow", "{{workflow.name}}", "--created", "{{workflow.creationTimestamp.RFC3339}}"]


def workflow(
    graph: Graph, submission: str, target: Target, *, run: str = "", name: str = "", fuse: bool = False
) -> Dict:
    """Return the Workflow of a run.

    Args:
        graph: its pods; at least one.
        submission: digest of the `Launch` in the store.
        target: where the pods run.
        run: the run's id; "" if each Workflow made from this is to be a run of its own.
        name: the Workflow's name, or, without a run, the beginning of the names that Kubernetes makes.
        fuse: let chains of steps that ask for the same share a pod.

    Raises:
        NotebookError: an option of a step cannot be part of a Workflow.
    """
    if not target.image:  # every step names its own
        options = graph.nodes[0].options
        target = msgspec.structs.replace(target, image=options.image, wheelhouse=options.wheelhouse)
    common = [*(["--run", run] if run else _OWN_NAME), "--submission", submission]
    shapes = _Shapes(common, target)
    tasks = _names(graph)
    templates = [_main(fused(graph) if fuse else graph, tasks, shapes)]
    if not graph.chain:
        templates += [_ordered(graph, tasks, shapes), _settle(common, target)]
    end = _end(graph, shapes)
    templates += [*shapes.templates(), end, _report(common, target)]
    labels = {"app.kubernetes.io/managed-by": "nbkube", **({RUN_LABEL: run} if run else {})}
    metadata: Dict = {"labels": labels, **({"name": name} if run else {"generateName": f"{name}-"})}
    if target.namespace:
        metadata["namespace"] = target.namespace
    return {"apiVersion": API_VERSION, "kind": "Workflow", "metadata": metadata, "spec": _spec(target, templates)}


def _spec(target: Target, templates: list[Dict]) -> Dict:
    spec: Dict = {
        "entrypoint": _MAIN,
        "hooks": {"exit": {"template": _END}},
        "serviceAccountName": target.service_account,
        # The cells get no token; Argo's own containers use the account's.
        "automountServiceAccountToken": False,
        "executor": {"serviceAccountName": target.service_account},
        "securityContext": pod_security(),
        "podSpecPatch": executor_patch(),
        "podGC": {"strategy": "OnPodSuccess", "deleteDelayDuration": "600s"},
        "ttlStrategy": {"secondsAfterCompletion": target.keep_seconds},
        "templates": templates,
    }
    if any("initContainers" in one for one in templates):
        spec["arguments"] = {"parameters": [{"name": name, "value": text} for name, text in programs().items()]}
    if target.priority_class:
        spec["podPriorityClassName"] = target.priority_class
    if target.parallelism:
        spec["parallelism"] = target.parallelism
    return spec


class _Shapes:
    """One template for all steps that ask for the same: large pipelines stay small objects."""

    def __init__(self, common: list[str], target: Target) -> None:
        self._target = target
        self._command = [
            "unit", *common, "--unit", "{{inputs.parameters.unit}}",
            "--turn", "{{inputs.parameters.turn}}", "--then", "{{inputs.parameters.then}}", "--attempt", "{{retries}}",
        ]  # fmt: skip
        self._known: dict[bytes, Dict] = {}

    def of(self, node: Node) -> str:
        """Return the name of the template that fits a node."""
        key = _shape(node.options)
        if key not in self._known:
            name = f"step-{len(self._known) + 1}" if self._known else "step"
            place = f"step {node.name}"
            self._known[key] = step_template(name, node.options, self._command, self._target, place)
        return str(self._known[key]["name"])

    def templates(self) -> list[Dict]:
        """Return all templates made so far."""
        return list(self._known.values())


def _shape(options: StepOptions) -> bytes:
    """Return what of the options makes a pod different from another."""
    pods = msgspec.structs.replace(options, env={}, cache=True, when="", map="", model="", after_failure=False)
    return msgspec.json.encode(pods, order="deterministic")


def _task(node: Node, name: str, shapes: _Shapes, turn: int) -> Dict:
    label = node.name[:63].rstrip("-_.")
    given = {"unit": str(node.first), "label": label, **({"turn": str(turn)} if turn else {})}
    if node.then:
        given["then"] = ",".join(map(str, node.then))
    return {
        "name": name,
        "template": shapes.of(node),
        "arguments": {"parameters": [{"name": one, "value": value} for one, value in given.items()]},
    }


def _main(graph: Graph, tasks: Mapping[int, str], shapes: _Shapes) -> Dict:
    found = []
    for node in graph.nodes:
        task = _task(node, tasks[node.first], shapes, turn=0)
        needed = [tasks[one] for one in node.after]
        if node.behind is not None and node.behind not in node.after:
            needed.append(_ended(tasks[node.behind]))
        if needed:
            task["depends"] = " && ".join(needed)
        found.append(task)
    if not graph.chain:
        again = f"{{{{tasks.{_SETTLE}.outputs.parameters.again}}}}"
        leaves = [_ended(tasks[node.first]) for node in graph.leaves()]
        found.append({"name": _SETTLE, "template": _SETTLE, "depends": " && ".join(leaves)})
        found.append(
            {
                "name": _ORDERED,
                "template": _ORDERED,
                "depends": f"{_SETTLE}.Succeeded",
                "when": f"'{again}' != '{NONE}'",
                "arguments": {"parameters": [{"name": "from", "value": again}]},
            }
        )
    # A failure may come from having started too early: only `settle` knows.
    return {"name": _MAIN, "dag": {"failFast": False, "tasks": found}}


def _ordered(graph: Graph, tasks: Mapping[int, str], shapes: _Shapes) -> Dict:
    """Return the template that goes through the steps once more in notebook order, from the first that must."""
    found: list[Dict] = []
    for node in graph.nodes:
        task = _task(node, tasks[node.first], shapes, turn=1)
        task["when"] = f"{{{{inputs.parameters.from}}}} <= {node.first}"
        if found:
            task["depends"] = found[-1]["name"]
        found.append(task)
    return {"name": _ORDERED, "inputs": {"parameters": [{"name": "from"}]}, "dag": {"failFast": False, "tasks": found}}


def _settle(common: list[str], target: Target) -> Dict:
    template = small_template(_SETTLE, ["settle", *common], target)
    output = {"name": "again", "valueFrom": {"path": f"{PLACE}/again", "default": NONE}}
    return {**template, "outputs": {"parameters": [output]}}


def _end(graph: Graph, shapes: _Shapes) -> Dict:
    """Return what runs last: nothing, unless the Workflow has not succeeded; then what runs after failures."""
    status = "{{workflow.status}}"
    failed = f"{status} != Succeeded"
    found: list[Dict] = []
    for node in graph.rescues:
        task = {**_task(node, f"after-failure-{node.first}", shapes, turn=RESCUE), "when": failed}
        found.append({**task, "depends": _ended(found[-1]["name"])} if found else task)
    report: Dict = {
        "name": _REPORT,
        "template": _REPORT,
        "when": failed,
        "arguments": {"parameters": [{"name": "status", "value": status}]},
    }
    if found:
        report["depends"] = _ended(found[-1]["name"])
    return {"name": _END, "dag": {"failFast": False, "tasks": [*found, report]}}


def _report(common: list[str], target: Target) -> Dict:
    command = ["report", *common, "--status", "{{inputs.parameters.status}}"]
    return {**small_template(_REPORT, command, target), "inputs": {"parameters": [{"name": "status"}]}}


def _ended(task: str) -> str:
    return "(" + " || ".join(f"{task}.{how}" for how in ("Succeeded", "Failed", "Errored", "Skipped", "Omitted")) + ")"


def _names(graph: Graph) -> dict[int, str]:
    """Give each node a task name: letters, digits and dashes, and not a digit first."""
    taken = {_SETTLE, _ORDERED}
    names: dict[int, str] = {}
    for node in graph.nodes:
        name = node.name.replace(".", "-")
        if name[0].isdigit():
            name = f"s-{name}"
        if name in taken:
            name = f"{name}-u{node.first}"
        taken.add(name)
        names[node.first] = name
    return names


def size(manifest: Mapping[str, Any]) -> int:
    """Return the bytes that a manifest takes as JSON."""
    return len(json.dumps(manifest, separators=(",", ":")).encode())
