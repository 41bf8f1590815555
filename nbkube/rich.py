"""What `%nbkube` shows in a notebook: the text of the command line, with HTML beside it where that can be shown."""

from __future__ import annotations

import contextlib
import io
import itertools
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from nbkube.errors import NbkubeError

if TYPE_CHECKING:
    from nbkube.client import Client

_RICH = ("show", "status", "run", "logs", "resources")
_PLAIN = ("--json", "--mermaid", "--help", "-h", "--follow", "-f", "--detach", "-d", "--watch", "-w")
_GOES_ON = "The run goes on by itself."
_PAUSE = 0.25
"""Seconds between two drawings of a run that goes on."""


class _Told(io.StringIO):
    """Lines as they come, for images may be built before a run begins; without what holds for a terminal alone."""

    def __init__(self, onward: TextIO) -> None:
        super().__init__()
        self._onward = onward
        self._rest = ""

    def write(self, text: str) -> int:
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            if not line.startswith(_GOES_ON):
                self._onward.write(f"{line}\n")
        self._onward.flush()
        return len(text)


def can_be_rich(words: Sequence[str]) -> bool:
    """Tell whether a command's result can also be shown as HTML: it has one, and no special text was asked for."""
    return bool(words) and words[0] in _RICH and not any(word in _PLAIN for word in words)


def show(words: Sequence[str], run: Callable[[Sequence[str]], None]) -> None:
    """Run a command, show its text and HTML beside it; what the command raises is raised after that."""
    from IPython.display import display

    if words[0] == "run":
        _show_run(words, run)
        return
    text = io.StringIO()
    try:
        with contextlib.redirect_stdout(text):
            run(words)
    except SystemExit as end:
        _display(display, text.getvalue(), words if end.code in (None, 0, 1) else ())
        raise
    _display(display, text.getvalue(), words)


def _show_run(words: Sequence[str], run: Callable[[Sequence[str]], None]) -> None:
    """Start a run, draw it while it goes on, and end as the command does: with its exit code."""
    from IPython.display import display

    from nbkube.client import Client
    from nbkube.runs import Phase

    out = io.StringIO()
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(_Told(sys.stderr)):
            run([*words, "--detach"])
    except SystemExit as end:
        if end.code not in (None, 0):
            raise
    run_id = out.getvalue().split()[-1]
    named = next((Path(word) for word in words[1:] if word.endswith((".ipynb", ".py"))), None)
    client = Client(named.parent if named else None, store=_option(words, "--store"), profile=_profile(words))
    shown = display(_drawn(client, run_id), raw=True, display_id=True)
    try:
        drawn_at = time.monotonic()
        for _ in client.watch(run_id, live=False):
            if time.monotonic() - drawn_at > _PAUSE:
                shown.update(_drawn(client, run_id), raw=True)
                drawn_at = time.monotonic()
    except KeyboardInterrupt:
        client.stop(run_id)
    shown.update(_drawn(client, run_id), raw=True)
    phase = client.status(run_id).phase
    if phase is not Phase.SUCCEEDED:
        raise SystemExit(130 if phase is Phase.CANCELLED else 1)


def _drawn(client: Client, run_id: str) -> dict[str, str]:
    from nbkube.report.inline import run_html

    report = client.report(run_id)
    text = f"{report.phase} {report.title}, run {run_id}"
    text += "".join(f"\n{name}: {value}" for name, value in report.metrics.items())
    text += "".join(f"\n{step.name} failed: {step.failure}" for step in report.steps if step.failure)
    return {"text/plain": text, "text/html": run_html(report)}


def _option(words: Sequence[str], *names: str) -> str | None:
    """Return the value of an option, written as two words or with `=`."""
    for word, after in itertools.zip_longest(words, words[1:]):
        name, equals, value = word.partition("=")
        if name in names:
            return value if equals else after
    return None


def _profile(words: Sequence[str]) -> str:
    return _option(words, "--profile") or ""


def _display(display: Callable[..., Any], text: str, words: Sequence[str]) -> None:
    bundle = {"text/plain": text}
    if words:
        with contextlib.suppress(NbkubeError, OSError):  # the text has said what is wrong
            bundle["text/html"] = _html(words, text)
    if text or len(bundle) > 1:
        display(bundle, raw=True)


def _html(words: Sequence[str], text: str) -> str:
    from nbkube.client import Client

    if words[0] == "logs":
        from nbkube.report.inline import log_html

        return log_html(text)
    if words[0] == "resources":
        from nbkube.report.inline import capacity_html

        client = Client(profile=_profile(words))
        return capacity_html(client.resources(), client.profile().name)
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
