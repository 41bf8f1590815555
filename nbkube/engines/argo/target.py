"""Where pods run, as the profile of the person says: never a notebook's to choose."""

from __future__ import annotations

import msgspec

from nbkube.pipeline.model import Toleration


class Target(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a Workflow's pods get from the profile.

    `image` holds nbkube's runtime and the notebook's requirements. `store` is the store's address as pods reach it;
    `store_secret` names a Secret whose keys AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY open it, `store_settings` are
    further variables (region, address) that are no secrets; `store_ca` names a ConfigMap whose key `ca.crt` the store's
    certificate is checked with. `service_account` is that of Argo's own containers, which note results; the steps get
    no token. `cpu` and `memory` are for steps that ask for none.
    """

    image: str
    store: str
    store_secret: str = ""
    store_settings: dict[str, str] = {}
    store_ca: str = ""
    namespace: str = ""
    service_account: str = "nbkube-runner"
    priority_class: str = ""
    pull_secrets: tuple[str, ...] = ()
    pull_policy: str = "IfNotPresent"
    cpu: str = ""
    memory: str = ""
    gpu_type_label: str = "nvidia.com/gpu.product"
    node_selector: dict[str, str] = {}
    tolerations: tuple[Toleration, ...] = ()
    parallelism: int = 0
    keep_seconds: int = 7 * 24 * 3600
