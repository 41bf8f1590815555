"""A step of a pipeline as a program: data, never generated Python."""

from __future__ import annotations

from nbkube.steps.programs import build_programs

__all__ = ["build_programs"]
