"""All benchmarks but the long one (`sentiment`), one after another: `python -m tests.benchmarks`."""

from __future__ import annotations

import sys

from tests.benchmarks import (
    conversion,
    data_path,
    lab,
    observation,
    s3,
    serving,
    startup,
    step_overhead,
    storage_panel,
    ten_thousand,
    warm_steps,
    workspaces,
)

if __name__ == "__main__":
    parts = (
        startup,
        conversion,
        ten_thousand,
        step_overhead,
        warm_steps,
        workspaces,
        observation,
        data_path,
        s3,
        serving,
        storage_panel,
        lab,
    )
    kept = [part.main() for part in parts]
    sys.exit(not all(kept))
