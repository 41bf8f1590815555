"""A project's runs on the cluster of a profile: looked over beforehand, sent, exported, followed and stopped."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from nbkube.building import build_images
from nbkube.cluster import Cluster, connect
from nbkube.engines.argo.cluster import ClusterWorkflows
from nbkube.engines.argo.control import ArgoControl
from nbkube.engines.argo.engine import ArgoEngine, ArgoRun
from nbkube.engines.argo.prepare import exported
from nbkube.engines.argo.target import Target
from nbkube.engines.model import Listener, Submission, UnitPlan
from nbkube.errors import NbkubeError, NotebookError
from nbkube.notebook.names import slug
from nbkube.plan import Plan
from nbkube.preflight import look, refusals
from nbkube.profiles.model import Profile
from nbkube.runs import Run, RunStore, new_run_id
from nbkube.state.snapshot import FileView
from nbkube.state.workspace import remove_tree
from nbkube.storage.model import ObjectStore

if TYPE_CHECKING:
    from nbkube.images import Built

_MANY_FILES = 50


class Remote:
    """The cluster of a profile with this machine's way to the profile's store.

    Args:
        profile: says which cluster, which image, which store.
        store: where the runs are.
        work: a folder for files while they are sent, and for digests that are kept from run to run beside it.

    Raises:
        ProfileError: the profile does not say enough for a cluster.
        ClusterError: no cluster is known here.
    """

    def __init__(self, profile: Profile, store: ObjectStore, work: Path) -> None:
        self._profile = profile
        self._store = store
        self._work = work
        target = Target.of(profile, profile.namespace)
        self._cluster: Cluster = connect(profile.context, profile.namespace)
        self._target = replace(target, namespace=self._cluster.namespace)
        self._workflows = ClusterWorkflows(self._cluster)

    def control(self) -> ArgoControl:
        """Return what can be done with runs that are on the cluster."""
        return ArgoControl(self._store, self._workflows, self._target)

    def start(self, plan: Plan, run: Run, submission: Submission, tell: Listener) -> None:
        """Send a run to the cluster.

        Raises:
            NotebookError: a step asks for what the profile does not allow, or what the cluster can never give.
            ClusterError: the cluster cannot be reached; `RefusedError`: it does not take the run.
            StorageError: the store cannot be reached.
        """
        self._look_over(plan, tell)
        submission = self._with_images(plan, submission, tell)
        with self._files(plan, run.id, tell) as view:
            self.engine(view, run=run, uploading=_uploading(tell)).start(submission)

    def export(self, plan: Plan, run: Run, submission: Submission, tell: Listener) -> dict[str, Any]:
        """Put all that a run needs into the store and return a Workflow that can be created again and again.

        Raises what `start` does.
        """
        self._look_over(plan, tell)
        submission = self._with_images(plan, submission, tell)
        name = slug(plan.pipeline.name)[:40].strip("-") or "notebook"
        with self._files(plan, run.id, tell) as view:
            return exported(submission, run, view, self._store, self._target, _uploading(tell), name)

    def engine(
        self, view: FileView, *, run: Run | None = None, uploading: Callable[[int, int], None] = lambda *_: None
    ) -> ArgoEngine:
        """Return the engine for one run."""
        return ArgoEngine(self._store, view, self._target, self._workflows, run=run, uploading=uploading)

    @contextmanager
    def verifying(
        self, plan: Plan, view: FileView, *, adversarial: bool, fuse: bool = True
    ) -> Iterator[tuple[ArgoRun, str]]:
        """Run a notebook for a comparison: nothing that another run has made is used, and the run is not kept.

        Yields the run and its store's address.
        """
        submission = plan.submission(new_run_id(), use_cache=False, adversarial=adversarial, fuse=fuse)
        submission = self._with_images(plan, submission, lambda _: None)
        try:
            yield self.engine(view).submit(submission, lambda _: None), self._store.url
        finally:
            with suppress(NbkubeError):  # one that still goes on stays in the list
                RunStore(self._store).remove(submission.run)

    def _with_images(self, plan: Plan, submission: Submission, tell: Listener) -> Submission:
        """Name for each step the image that is built for it, where neither it nor the profile names one."""
        if self._profile.image:
            return submission
        open_steps = {unit.program.unit for unit in submission.units if not unit.options.image}
        chosen: dict[str, Built] = {}
        for one in build_images(self._profile, plan, tell, only=open_steps, store=self._store):
            tell({"event": "image", "message": f"{one.reference} for {', '.join(one.steps)}: {one.reason}"})
            chosen |= dict.fromkeys(one.steps, one)
        return replace(submission, units=tuple(_with_image(unit, chosen) for unit in submission.units))

    def _look_over(self, plan: Plan, tell: Listener) -> None:
        around = look(self._cluster, self._profile, plan.pipeline.steps)
        found = refusals(self._profile, plan.pipeline, around)
        if any(one.severity == "error" for one in found):
            raise NotebookError(diagnostics=found)
        for one in found:
            tell({"event": "warning", "message": str(one)})

    @contextmanager
    def _files(self, plan: Plan, name: str, tell: Listener) -> Iterator[FileView]:
        """Yield the project's files as they are now; what is edited while they are sent does no harm."""
        place = self._work / name
        try:
            view = plan.files(place, self._work.parent)
            for finding in view.diagnostics:
                tell({"event": "warning", "message": str(finding)})
            yield view
        finally:
            remove_tree(place)


def _with_image(unit: UnitPlan, chosen: Mapping[str, Built]) -> UnitPlan:
    if unit.options.image:
        return unit
    one = chosen[unit.program.unit]
    return replace(unit, options=replace(unit.options, image=one.reference, wheelhouse=one.wheelhouse))


def _uploading(tell: Listener) -> Callable[[int, int], None]:
    """Tell of many files in tenths: most projects are sent before anybody would read it."""
    told = 0

    def uploading(done: int, total: int) -> None:
        nonlocal told
        tenth = 10 * done // total
        if total >= _MANY_FILES and tenth > told:
            told = tenth
            tell({"event": "uploading", "done": done, "total": total})

    return uploading
