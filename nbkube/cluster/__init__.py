"""The cluster: the only calls to Kubernetes, on plain dicts.

cluster = connect(context="lab", namespace="team-a")
cluster.create(workflow, dry_run=True)
for change in cluster.watch(POD, labels={"workflows.argoproj.io/workflow": name}):
    ...
"""

from __future__ import annotations

from nbkube.cluster.access import contexts, inside_a_pod
from nbkube.cluster.client import Cluster, connect
from nbkube.cluster.model import Access, Change, Context, Identity, Kind, LogLine, Manifest, Question

__all__ = [
    "Access",
    "Change",
    "Cluster",
    "Context",
    "Identity",
    "Kind",
    "LogLine",
    "Manifest",
    "Question",
    "connect",
    "contexts",
    "inside_a_pod",
]
