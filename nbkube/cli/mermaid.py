"""A pipeline as the text of a Mermaid diagram, which GitHub, GitLab and JupyterLab draw in markdown."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from nbkube.cli.terminal import one_line
from nbkube.pipeline.model import Pipeline

_NAMES_SHOWN = 4
_SPECIAL = {"&": "#amp;", "<": "#lt;", ">": "#gt;", '"': "#quot;", "#": "#35;", "`": "#96;", "|": "#124;"}


def mermaid(pipeline: Pipeline) -> str:
    """Return a flowchart: a box per step, an arrow per flow of data, a dotted one where only the order counts.

    A step that is continued later has a box for each part. Text of the notebook cannot end a label or add a line.
    """
    ids = {step.name: f"s{number}" for number, step in enumerate(pipeline.steps, 1)}
    lines = ["flowchart TD"]
    lines += [f'    {ids[step.name]}["{_label(step.name)}"]' for step in pipeline.steps]
    after = {step.name: set(step.after) for step in pipeline.steps}
    for step in pipeline.steps:
        carried: dict[str, list[str]] = defaultdict(list)
        for name, producer in step.inputs.items():
            carried[producer].append(name)
        for path, producer in (step.observed.files if step.observed else {}).items():
            carried[producer].append(path)
        for producer, names in carried.items():
            lines.append(f'    {ids[producer]} -- "{_names(names)}" --> {ids[step.name]}')
        for earlier in step.after:
            if earlier not in carried and not any(_leads(earlier, one, after) for one in step.after if one != earlier):
                lines.append(f"    {ids[earlier]} -.-> {ids[step.name]}")
    return "\n".join(lines)


def _leads(earlier: str, later: str, after: dict[str, set[str]]) -> bool:
    """Tell whether one step must have finished before another starts, by whatever way."""
    waiting = [later]
    seen: set[str] = set()
    while waiting:
        for one in after[waiting.pop()] - seen:
            if one == earlier:
                return True
            seen.add(one)
            waiting.append(one)
    return False


def _names(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_NAMES_SHOWN])
    return _label(shown + (f" +{len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""))


def _label(text: str) -> str:
    return "".join(_SPECIAL.get(sign, sign) for sign in one_line(text))
