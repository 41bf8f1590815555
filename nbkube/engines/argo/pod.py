"""What starts in the pods of a run: `python3 -m nbkube.engines.argo.pod WHAT …`; see `errand` for what may be asked.

A pod that is to run a step starts the step's process before it loads anything: the process loads what every step needs
while this one loads its own and looks into the store.
"""

from __future__ import annotations

import os
import sys

from nbkube.engines.argo.place import place

STORE_CA = "NBKUBE_STORE_CA"


def main() -> int:
    """Prepare the pod's surroundings, run the errand, and return the exit status."""
    # Argo's executor takes the mask away; files of a step are to have the modes they have elsewhere.
    os.umask(0o022)
    place().mkdir(parents=True, exist_ok=True)
    _take_certificates()
    ahead = None
    if sys.argv[1:2] == ["unit"]:
        from nbkube.runtime.spawning import Ahead

        ahead = Ahead()
    from nbkube.engines.argo.errand import run

    return run(sys.argv[1:], ahead)


def _take_certificates() -> None:
    """Put the certificates that the store is checked with where S3 clients, those of the cells too, look for them."""
    text = os.environ.pop(STORE_CA, "")
    if text:
        file = place() / "store-ca.crt"
        file.write_text(text, encoding="ascii")
        os.environ["AWS_CA_BUNDLE"] = str(file)


if __name__ == "__main__":
    sys.exit(main())
