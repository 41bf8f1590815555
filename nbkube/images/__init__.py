"""Images for steps, made without a container engine, root or daemon: requirements -> lock -> layers -> registry.

requirements.py  what the steps of a notebook need, and how nbkube knows
lock.py          exact wheels with their hashes, by uv
base.py          what the image that all is put upon has: Python, C library, distributions
plan.py          which wheels become which layers; pure
layers.py        layers as files: equal content gives equal bytes
cache.py         layers kept on this machine
assemble.py      layers and base as an OCI image
registry.py      a registry's requests; credentials.py its keys; push.py an image there, nothing half
archive.py       an image as a file for kind, k3d, minikube
build.py         all of it in order
"""

from nbkube.images.build import Builder, Built
from nbkube.images.model import Environment, Image, Lock, Requirement, Wheel

__all__ = ["Builder", "Built", "Environment", "Image", "Lock", "Requirement", "Wheel"]
