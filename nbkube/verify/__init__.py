"""Proof that a pipeline computes what its notebook computes."""

from __future__ import annotations

from nbkube.verify.check import Subject, folder_outside, verify_notebook
from nbkube.verify.model import PipelineResult, Verification, VerifyDifference

__all__ = ["PipelineResult", "Subject", "Verification", "VerifyDifference", "folder_outside", "verify_notebook"]
