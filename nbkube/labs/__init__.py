"""Notebook servers on the cluster: made from a request, reached by port-forward with their own token."""

from __future__ import annotations

from nbkube.labs.model import Lab, LabRequest
from nbkube.labs.servers import Labs

__all__ = ["Lab", "LabRequest", "Labs"]
