"""`python -m nbkube.verify.launch ORDER ARGUMENT…`: a kernel that sees a copy of the project at the project's path.

ORDER is a JSON file: {workspace, root, cwd, store, hold, place}. What became of it is written to `place`.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import msgspec

from nbkube.decoding import from_json
from nbkube.runtime.isolation import enter


def main(arguments: list[str]) -> None:
    """Show the copy at the project's path, go to the notebook's folder, and become the kernel."""
    order: dict[str, str] = from_json(Path(arguments[0]).read_bytes(), dict[str, str])
    place = enter(order["workspace"], order["root"], order["store"], order["hold"])
    Path(order["place"]).write_bytes(msgspec.json.encode(place))
    # Only now does this path lead into the copy.
    os.chdir(os.path.join(place.root, order["cwd"]))
    os.execv(sys.executable, [sys.executable, "-m", "ipykernel_launcher", *arguments[1:]])


if __name__ == "__main__":
    main(sys.argv[1:])
