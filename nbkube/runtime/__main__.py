"""Start of a step process: `python -m nbkube.runtime CONTROL WATCH SETTLE PRIVATE`.

The numbers of two inherited sockets, the seconds that left-over processes may take to end, the step's private folder.
The process splits into the worker and its watcher before anything else is imported. Then the worker imports what it
will need while its parent still prepares the workspace, and waits for its task.

`python -m nbkube.runtime template CONTROL PARENT` starts the process that later steps are forked from: the number of a
socket, and the process that it must not outlive.
"""

from __future__ import annotations

import os
import socket
import sys


def main() -> None:
    """Become a template, or a watcher and a worker."""
    if sys.argv[1] == "template":
        be_template(socket.socket(fileno=int(sys.argv[2])), int(sys.argv[3]))
    else:
        be_step()


def be_template(control: socket.socket, parent: int) -> None:
    """Fork steps as long as the parent wants them."""
    control.set_inheritable(False)
    own_search_path()
    from nbkube.runtime.forkserver import serve

    serve(control, parent)


def be_step() -> None:
    """Become a watcher and a worker."""
    control, watch = (socket.socket(fileno=int(number)) for number in sys.argv[1:3])
    for connection in (control, watch):
        connection.set_inheritable(False)

    from nbkube.runtime.watcher import split_off

    split_off(watch, float(sys.argv[3]), sys.argv[4], control)
    own_search_path()
    from nbkube.runtime.channel import Channel
    from nbkube.runtime.worker import run

    run(Channel(control))


def own_search_path() -> None:
    """Search modules as the interpreter would without this package's folder in front."""
    if sys.path[0] in ("", os.getcwd()):
        del sys.path[0]
    package = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    if package not in sys.path:
        # Not an installed nbkube: stay importable, behind everything else.
        sys.path.append(package)


main()
