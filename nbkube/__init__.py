"""Turn a tagged notebook into a pipeline that computes what the notebook computes."""

from __future__ import annotations

__version__ = "0.1.0"
