"""Types that many threads meet for the first time at once."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import nbkube

RACE = """
from __future__ import annotations
import sys, threading
import msgspec
from nbkube import decoding

class Leaf(msgspec.Struct):
    numbers: dict[str, tuple[int, ...]] = {}
    other: Leaf | None = None

def race(decode, number):
    fields = [(f"f{n}", list[Leaf] | None, None) for n in range(40)]
    inner = msgspec.defstruct(f"Inner{number}", fields)
    outer = msgspec.defstruct(f"Outer{number}", [("a", inner), *((f"g{n}", inner | None, None) for n in range(20))])
    barrier = threading.Barrier(8)
    def go():
        barrier.wait()
        assert decode(outer).g19 is None
    threads = [threading.Thread(target=go) for _ in range(8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()

sys.setswitchinterval(1e-6)
HOW = {
    "json": lambda kind: decoding.from_json(b'{"a": {}}', kind),
    "msgpack": lambda kind: decoding.from_msgpack(msgspec.msgpack.encode({"a": {}}), kind),
    "plain": lambda kind: decoding.from_plain({"a": {}}, kind),
    "decoders": lambda kind: decoding.json_decoder(kind).decode(b'{"a": {}}'),
    "bare": lambda kind: msgspec.json.decode(b'{"a": {}}', type=kind),
}
for number in range(300):
    race(HOW[sys.argv[1]], number)
print("well")
"""


@pytest.mark.parametrize("how", ["json", "msgpack", "plain", "decoders"])
def test_a_type_that_threads_meet_at_once_is_learned_once(how: str) -> None:
    done = subprocess.run([sys.executable, "-c", RACE, how], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "well\n"), done.stderr


def test_typed_decoding_is_done_in_one_place() -> None:
    found = []
    folder = Path(nbkube.__file__).parent
    for path in folder.rglob("*.py"):
        if path.name == "decoding.py":
            continue
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                typed = node.func.attr == "decode" and any(one.arg == "type" for one in node.keywords)
                own = ast.unparse(node.func.value) in ("msgspec", "msgspec.json", "msgspec.msgpack")
                if own and (typed or node.func.attr in ("convert", "Decoder")):
                    found.append(f"{path.relative_to(folder)}:{node.lineno}")
    assert found == []


def test_msgspec_alone_does_not_do() -> None:
    done = subprocess.run([sys.executable, "-c", RACE, "bare"], capture_output=True, text=True, check=False)
    assert done.returncode != 0, "msgspec has learned to: nbkube/decoding.py is no longer needed"
