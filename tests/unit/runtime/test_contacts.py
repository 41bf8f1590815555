"""Which hosts a step has asked, told without the store's own connections."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

PROGRAM = """
import socket, sys, threading, types
from nbkube.runtime.contacts import Contacts

server = socket.create_server(("127.0.0.1", 0))
port = server.getsockname()[1]
contacts = Contacts()
contacts.watch()

def module(name, text):
    made = types.ModuleType(name)
    exec(text, made.__dict__)
    return made

ask = f"import socket\\ndef ask(host='127.0.0.1'):\\n    socket.create_connection((host, {port})).close()\\n"
store = module("nbkube.storage.s3", ask)
loader = module("nbkube.state.load", "def load(store):\\n    store.ask()\\n")
loader.load(store)
thread = threading.Thread(target=store.ask)
thread.start()
thread.join()
assert contacts.hosts == set(), contacts.hosts
store.ask()
assert contacts.hosts == {f"127.0.0.1:{port}"}, contacts.hosts
contacts.hosts.clear()
library = module("library", ask)
thread = threading.Thread(target=library.ask, args=("localhost",))
thread.start()
thread.join()
assert contacts.hosts == {f"localhost:{port}"}, contacts.hosts
contacts.hosts.clear()
pair = socket.socketpair()
assert socket.socket(socket.AF_UNIX).connect_ex("/no/such/socket") != 0
assert contacts.hosts == set()
print("well")
"""


def test_hosts_asked_by_cells_and_libraries_count_those_of_the_store_do_not() -> None:
    package = str(Path(__file__).parents[3])
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**os.environ, "PYTHONPATH": package},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.stdout, done.stderr, done.returncode) == ("well\n", "", 0)
