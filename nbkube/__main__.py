"""`python -m nbkube` is the command `nbkube`."""

from __future__ import annotations

from nbkube.cli import main

if __name__ == "__main__":
    main()
