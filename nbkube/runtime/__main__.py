"""Start of a step process: `python -m nbkube.runtime CONTROL WATCH SETTLE PRIVATE`.

The numbers of two inherited sockets, the seconds that left-over processes may take to end, the step's private folder.
The process splits into the worker and its watcher before anything else is imported. Then the worker imports what it
will need while its parent still prepares the workspace, and waits for its task.
"""

from __future__ import annotations

import os
import socket
import sys


def main() -> None:
    """Become a watcher and a worker."""
    control, watch = (socket.socket(fileno=int(number)) for number in sys.argv[1:3])
    for connection in (control, watch):
        connection.set_inheritable(False)

    def let_go() -> None:
        control.close()
        nothing = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(nothing, descriptor)

    from nbkube.runtime.watcher import split_off

    split_off(watch, float(sys.argv[3]), sys.argv[4], let_go)
    if sys.path[0] in ("", os.getcwd()):
        del sys.path[0]
    package = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    if package not in sys.path:
        # Not an installed nbkube: stay importable, behind everything else.
        sys.path.append(package)
    from nbkube.runtime.channel import Channel
    from nbkube.runtime.worker import run

    run(Channel(control))


main()
