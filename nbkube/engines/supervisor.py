"""The process that carries out one run on this machine, whoever has started it and whatever becomes of them.

    python -m nbkube.engines.supervisor STORE WORK RUN DESCRIPTOR EXPECTED

EXPECTED is what its steps are expected to need, `processes` or `nothing`: that of an earlier run, whose results are
known. Through the descriptor comes the word to start or resume; the answer is `going` once the run's first event is
written. SIGUSR1 says that somebody has asked for something, SIGTERM ends the run and all its steps.
"""

from __future__ import annotations

import os
import sys

PROCESSES = "processes"
NOTHING = "nothing"


def main(arguments: list[str]) -> None:
    """Leave the starter's family, then wait for the word."""
    if os.fork():
        os._exit(0)
    import socket

    from nbkube.runtime.spawning import TemplateProcess, environment_of, supported

    store, work, run_id, descriptor, expected = arguments
    with socket.socket(fileno=int(descriptor)) as starter:
        starter.set_inheritable(False)
        # Most steps need IPython and what else a template has; its process loads that while this one loads its own
        # part and the starter is still preparing the run.
        ahead = TemplateProcess(environment_of({})) if supported() and expected == PROCESSES else None
        try:
            from nbkube.engines import supervision

            word = starter.recv(64)
            if word:
                supervision.supervise(store, work, run_id, starter, ahead, resume=word == b"resume\n")
        finally:
            if ahead is not None:
                ahead.close()


if __name__ == "__main__":
    main(sys.argv[1:])
