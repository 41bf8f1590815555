"""Before anything is sent: what would be refused or never start, and whether cluster, store and registry answer."""

from __future__ import annotations

from nbkube.preflight.refusals import refusals
from nbkube.preflight.surroundings import Surroundings, look

__all__ = ["Surroundings", "look", "refusals"]
