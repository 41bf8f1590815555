"""What `%nbkube` shows in a notebook: the text of the command line, with HTML beside it where that can be shown."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from nbkube.errors import NbkubeError

_PLAIN = ("--json", "--mermaid", "--help", "-h")


def can_be_rich(words: Sequence[str]) -> bool:
    """Tell whether a command's result can also be shown as HTML: it has one, and no special text was asked for."""
    return bool(words) and words[0] in ("show", "status") and not any(word in _PLAIN for word in words)


def show(words: Sequence[str], run: Callable[[Sequence[str]], None]) -> None:
    """Run a command, show its text and HTML beside it; what the command raises is raised after that."""
    from IPython.display import display

    text = io.StringIO()
    try:
        with contextlib.redirect_stdout(text):
            run(words)
    except SystemExit as end:
        _display(display, text.getvalue(), words if end.code in (None, 0, 1) else ())
        raise
    _display(display, text.getvalue(), words)


def _display(display: Callable[..., Any], text: str, words: Sequence[str]) -> None:
    bundle = {"text/plain": text}
    if words:
        with contextlib.suppress(NbkubeError, OSError):  # the text has said what is wrong
            bundle["text/html"] = _html(words)
    if text or len(bundle) > 1:
        display(bundle, raw=True)


def _html(words: Sequence[str]) -> str:
    from nbkube.client import Client

    named = [word for word in words[1:] if not word.startswith("-")]
    if words[0] == "status":
        from nbkube.report.inline import run_html

        return run_html(Client().report(named[0] if named else "last"))
    path = Path(named[0])
    from nbkube.report import ReportEdge, ReportStep
    from nbkube.report.inline import pipeline_html

    pipeline = Client(path.parent).show(path)
    carried: dict[tuple[str, str], list[str]] = {}
    for step in pipeline.steps:
        for name, maker in step.inputs.items():
            carried.setdefault((maker, step.name), []).append(name)
    return pipeline_html(
        pipeline.name,
        [ReportStep(step.name, "Pending", after=step.after) for step in pipeline.steps],
        [ReportEdge(producer, consumer, tuple(names)) for (producer, consumer), names in carried.items()],
        [str(one) for one in pipeline.diagnostics if one.severity != "info"],
    )
