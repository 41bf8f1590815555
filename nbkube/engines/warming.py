"""The template process of a local run: when it is worth having, and how far it may run ahead of the steps."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from nbkube.engines.model import Submission
from nbkube.runtime.spawning import TemplateProcess, environment_of, supported
from nbkube.runtime.template import Statements, Template, shared_beginning
from nbkube.state.snapshot import FileView
from nbkube.storage.model import ObjectStore


class Warming:
    """Starts the template with the first step that needs a process; safe for threads.

    The template may run the statements with which all units begin that still wait for a process. Units are numbered in
    notebook order, and later ones begin with more of them.

    Args:
        submission: the run.
        view: the project's files at its start.
        store: where values lie.
        folder: a folder that does not exist, for the template's workspace.
        ahead: a process for the template that is there already; one with another environment is not used.
    """

    def __init__(
        self,
        submission: Submission,
        view: FileView,
        store: ObjectStore,
        folder: Path,
        ahead: TemplateProcess | None = None,
    ) -> None:
        self._submission = submission
        self._view = view
        self._store = store
        self._folder = folder
        self._ahead = ahead
        self._waiting = set(range(len(submission.units)))
        self._shared = shared_beginning([unit.program.replay for unit in submission.units])
        self._template: Template | None = None
        self._lock = threading.Lock()

    def template(self, unit: int, pending: Iterable[int]) -> tuple[Template, Statements] | None:
        """Return the template and what it is worth waiting for, for a unit that needs a process.

        `pending` are units that may need one later. None where a template would help nobody.
        """
        if self._submission.adversarial or not supported():
            return None
        later = self._waiting.intersection(pending) - {unit}
        with self._lock:
            if self._template is None:
                if not later and self._ahead is None:
                    return None
                self._template = self._start()
            first = min({unit, *later}) if unit in self._waiting else None
            goal = self._shared[first] if first is not None else ()
            if self._waiting:
                # Where all earlier units needed no process, nobody has told the template yet how far it may go. One
                # that is about to be forked must not be overtaken.
                self._template.reach(self._shared[min(self._waiting)])
        return self._template, goal

    def served(self, first: int, last: int) -> None:
        """Note that these units have a process or need none."""
        with self._lock:
            self._waiting.difference_update(range(first, last + 1))
            if self._template is not None and self._waiting:
                self._template.reach(self._shared[min(self._waiting)])

    def close(self) -> None:
        """End the template."""
        with self._lock:
            template = self._template
        if template is not None:
            template.close()
        if self._ahead is not None:
            self._ahead.close()

    def _start(self) -> Template:
        programs = [unit.program for unit in self._submission.units]
        # Units with other variables of their own have processes of their own.
        variables, _ = Counter(tuple(sorted(program.env.items())) for program in programs).most_common(1)[0]
        environment = environment_of(dict(variables))
        fitting = self._ahead is not None and self._ahead.environment == environment
        return Template(
            self._view,
            self._folder,
            self._store,
            root=self._submission.root,
            cwd=self._submission.cwd,
            filename=programs[0].filename,
            environment=environment,
            process=self._ahead if fitting else None,
        )
