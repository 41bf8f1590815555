"""What a pod of a run does: `python3 -m nbkube.engines.argo.pod WHAT …`.

    unit    run one step, and those that share its pod
    settle  judge the results of steps that ran beside each other; OUTPUT/again then names the first one to be repeated
    report  write down the end of a run whose Workflow did not succeed

All that is needed besides comes from the store named by NBKUBE_STORE. The arguments are names, numbers and digests.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
import traceback
from collections.abc import Sequence

from msgspec import to_builtins
from msgspec.structs import replace

from nbkube.engines.argo.judge import closing, judge
from nbkube.engines.argo.launch import Launch, run_id
from nbkube.engines.argo.place import place, project
from nbkube.engines.argo.standing import Standing
from nbkube.engines.argo.telling import Teller, say
from nbkube.engines.argo.unit import DONE, FAILED, STOPPED, TRANSIENT, UnitRun
from nbkube.engines.model import Submission
from nbkube.engines.registering import registering
from nbkube.errors import NbkubeError, NotFoundError, StorageError
from nbkube.runs.model import Run
from nbkube.runs.store import RunStore
from nbkube.runtime.program import Failure
from nbkube.runtime.spawning import Ahead
from nbkube.storage import ObjectStore, open_store

STORE = "NBKUBE_STORE"
OUTPUT = "again"


class Pod:
    """One container of a run: the store, the launch and the run it belongs to."""

    def __init__(self, store: ObjectStore, submission: str, run: str, workflow: str) -> None:
        self.store = store
        self.launch = Launch.load(store, submission)
        self.run = run
        self._workflow = workflow
        self.runs = RunStore(store)

    def submission(self) -> Submission:
        """Return the submission as this pod sees it."""
        return self.launch.of_run(self.run, project())

    def record(self) -> Run:
        """Return the run's record, which is made here if kubectl has sent the Workflow."""
        try:
            return self.runs.run(self.run)
        except NotFoundError:
            run = replace(self.launch.run, id=self.run, created=time.time(), workflow=self._workflow)
            self.runs.begin(run)
        return self.runs.run(self.run)

    def _is_known(self) -> bool:
        try:
            self.runs.run(self.run)
        except NotFoundError:
            return False
        return True

    def units(self, units: Sequence[int], turn: int, attempt: int, ahead: Ahead | None = None) -> int:
        """Run the steps that share this pod, one after another as long as all goes well."""
        for one in units:
            status = self.unit(one, turn, attempt, ahead)
            if status != DONE:
                return status
            ahead = None
        return DONE

    def unit(self, unit: int, turn: int, attempt: int, ahead: Ahead | None = None) -> int:
        """Run one step, in the process that was started ahead if it suits."""
        run = self.record()
        submission = self.submission()
        attempts = {}
        # Argo makes a pod that was deleted anew as if it were the first.
        if not Standing(self.store, submission).begin(unit, turn) or turn or attempt:
            attempts = {step.name: step.attempts for step in self.runs.load(self.run).steps}
        with Teller(self.store, run, attempts) as tell:
            base = self.launch.files(self.store, project())
            listen = registering(self.store, submission, tell)
            work = UnitRun(self.store, submission, base, listen, chain=self.launch.chain, turn=turn, ahead=ahead)
            signal.signal(signal.SIGTERM, lambda *_: work.stop())
            try:
                status = work.run(unit)
            except StorageError as error:
                name = submission.units[unit].program.unit
                tell({"event": "retry", "step": name, "reason": str(error), "seconds": 0.0})
                raise
            except Exception as error:  # noqa: BLE001 - a defect of ours: it is told like a failure of the step
                traceback.print_exc()
                failure = Failure("internal", f"{type(error).__name__}: {error}", traceback=traceback.format_exc())
                name = submission.units[unit].program.unit
                tell({"event": "step-ended", "step": name, "phase": "Failed", "failure": to_builtins(failure)})
                return FAILED
        if tell.fault is not None:
            say(f"the record of this run is incomplete: {tell.fault}")
        return status

    def settle(self) -> int:
        """Judge, and leave for Argo which unit is to run again first."""
        with Teller(self.store, self.record()) as tell:
            base, submission = self.launch.files(self.store, project()), self.submission()
            again, good = judge(self.store, submission, base, registering(self.store, submission, tell))
        (place() / OUTPUT).write_text(again, encoding="ascii")
        return DONE if good else FAILED

    def report(self, status: str) -> int:
        """Write down the end of the run, if nobody has yet."""
        if not self._workflow and not self._is_known():
            return DONE  # it has been removed meanwhile
        run = self.record()
        if not self.runs.load(self.run).phase.ended:
            with Teller(self.store, run) as tell:
                submission = self.submission()
                registering(self.store, submission, tell)(closing(self.store, submission, status))
        return DONE


def run(arguments: Sequence[str], ahead: Ahead | None = None) -> int:
    """Do what the arguments say and return the exit status."""
    given = _parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(STOPPED))
    try:
        name = given.run or run_id(given.workflow, given.created)
        pod = Pod(open_store(os.environ[STORE]), given.submission, name, given.workflow)
        if given.what == "unit":
            then = [int(one) for one in given.then.split(",") if one]
            return pod.units([given.unit, *then], given.turn, given.attempt, ahead)
        return pod.settle() if given.what == "settle" else pod.report(given.status)
    except StorageError as error:
        say(f"{error} (to be tried again)")
        return TRANSIENT
    except NbkubeError as error:
        say(str(error))
        return FAILED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="nbkube.engines.argo.pod", description=__doc__)
    kinds = parser.add_subparsers(dest="what", required=True)
    for what in ("unit", "settle", "report"):
        one = kinds.add_parser(what)
        one.add_argument("--submission", required=True)
        one.add_argument("--run", default="")
        one.add_argument("--workflow", default="")
        one.add_argument("--created", default="")
        if what == "unit":
            one.add_argument("--unit", type=int, required=True)
            one.add_argument("--turn", type=int, required=True)
            one.add_argument("--attempt", type=int, required=True)
            one.add_argument("--then", default="")
        if what == "report":
            one.add_argument("--status", required=True)
    return parser
