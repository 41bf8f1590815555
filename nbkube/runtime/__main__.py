"""Start of a step process: `python -m nbkube.runtime CONTROL WATCH SETTLE PRIVATE`, see `beginning`.

The numbers of two inherited sockets, the seconds that left-over processes may take to end, the step's private folder.

`python -m nbkube.runtime template CONTROL PARENT` starts the process that later steps are forked from: the number of a
socket, and the process that it must not outlive.
"""

from __future__ import annotations

import socket
import sys

from nbkube.runtime.beginning import be_step, importing, own_search_path


def main() -> None:
    """Become a template, or a watcher and a worker."""
    if sys.argv[1] == "template":
        be_template(socket.socket(fileno=int(sys.argv[2])), int(sys.argv[3]))
    else:
        control, watch = (socket.socket(fileno=int(number)) for number in sys.argv[1:3])
        be_step(control, watch, float(sys.argv[3]), sys.argv[4])


def be_template(control: socket.socket, parent: int) -> None:
    """Fork steps as long as the parent wants them."""
    control.set_inheritable(False)
    own_search_path()
    with importing():
        from nbkube.runtime.forkserver import serve

    serve(control, parent)


main()
