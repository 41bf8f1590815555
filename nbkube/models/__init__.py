"""Trained models: named, with immutable versions that are files in the store; made from what runs leave, or from files.

`registry` keeps them, `publish` makes a version of a run's variable or file, `exporter` is the process in which that
happens, `loaders` is the one place where a model is brought to life: in that process and in those that serve.
"""

from __future__ import annotations

from nbkube.models.model import ModelFile, ModelVersion, Signature, Tensor
from nbkube.models.registry import ModelRegistry

__all__ = ["ModelFile", "ModelRegistry", "ModelVersion", "Signature", "Tensor"]
