"""All benchmarks but the long one (`sentiment`), one after another: `python -m tests.benchmarks`."""

from __future__ import annotations

import sys

from tests.benchmarks import conversion, lab, observation, startup, step_overhead, ten_thousand

if __name__ == "__main__":
    kept = [part.main() for part in (startup, conversion, ten_thousand, step_overhead, observation, lab)]
    sys.exit(not all(kept))
