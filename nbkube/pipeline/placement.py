"""How a pod asks for nodes with a GPU of some model: each vendor and cloud labels them by a name of its own."""

from __future__ import annotations

from typing import Any

PRODUCT_LABELS = (
    "nvidia.com/gpu.product",
    "cloud.google.com/gke-accelerator",
    "karpenter.k8s.aws/instance-gpu-name",
    "amd.com/gpu.product-name",
    "gpu.intel.com/product",
)
"""The labels of nodes that hold a GPU's model, the most telling first."""


def product_affinity(product: str) -> dict[str, Any]:
    """Return the pod's `affinity` for nodes of which any of these labels says `product` (Kubernetes, NodeAffinity)."""
    terms = [{"matchExpressions": [{"key": label, "operator": "In", "values": [product]}]} for label in PRODUCT_LABELS]
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}}


def product_asked(spec: dict[str, Any]) -> str:
    """Return the model that a pod's specification asks for by `product_affinity`; "" for none."""
    required = (
        spec.get("affinity", {}).get("nodeAffinity", {}).get("requiredDuringSchedulingIgnoredDuringExecution", {})
    )
    for term in required.get("nodeSelectorTerms", ()):
        for expression in term.get("matchExpressions", ()):
            if expression.get("key") in PRODUCT_LABELS and expression.get("values"):
                return str(expression["values"][0])
    return ""
