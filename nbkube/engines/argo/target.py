"""Where pods run, as the profile of the person says: never a notebook's to choose."""

from __future__ import annotations

import os

import msgspec

from nbkube.errors import ProfileError
from nbkube.pipeline.model import Wheelhouse
from nbkube.profiles.model import RUNNER_ACCOUNT, Profile


class Target(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a Workflow's pods get from the profile.

    `image` holds nbkube's runtime and the notebook's requirements; "" where each step names one that was chosen for it;
    `wheelhouse` is what pods without a step unpack into it. `store` is the store's address as pods reach it,
    `store_settings` are variables that go with it (region, endpoint); `store_secret` names a Secret whose keys
    AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY open it; `store_ca` is the text of the certificates that its server's is
    checked with. `service_account` is that of Argo's own containers, which note results; the steps get no token. `cpu`
    and `memory` are for steps that ask for none.
    """

    image: str
    store: str
    store_secret: str = ""
    store_settings: dict[str, str] = {}
    store_ca: str = ""
    namespace: str = ""
    service_account: str = RUNNER_ACCOUNT
    priority_class: str = ""
    pull_policy: str = "IfNotPresent"
    cpu: str = ""
    memory: str = ""
    parallelism: int = 0
    keep_seconds: int = 7 * 24 * 3600
    wheelhouse: Wheelhouse | None = None

    @classmethod
    def of(cls, profile: Profile, namespace: str) -> Target:
        """Return what a profile says of the pods in a namespace.

        Raises:
            ProfileError: it does not say enough for a cluster.
        """
        store = profile.store
        if not store.url.startswith("s3://"):
            raise ProfileError(
                f"pods of the profile {profile.name} need a store that they can reach. "
                f'Fix: write [profiles.{profile.name}.store] url = "s3://BUCKET/PREFIX" in nbkube.toml'
            )
        if not profile.image and not profile.registry and not profile.gives_wheels:
            raise ProfileError(
                f"the profile {profile.name} names neither an image for the steps nor a registry for those that nbkube "
                "builds, and no store.secret by which pods could fetch distributions from the store. "
                f'Fix: write registry = "HOST/PATH" below [profiles.{profile.name}] in nbkube.toml'
            )
        return cls(
            image=profile.image,
            store=store.url,
            store_secret=store.secret,
            store_settings=_places() | store.variables(pods=True),
            store_ca=store.certificates(),
            namespace=namespace,
            service_account=profile.service_account,
            priority_class=profile.priority_class,
            cpu=profile.resources.cpu,
            memory=profile.resources.memory,
            parallelism=profile.parallelism,
        )


def _places() -> dict[str, str]:
    """Return where this machine's environment says that files and data begin, if that is a place which pods reach."""
    found = {name: os.environ.get(name, "") for name in ("NBKUBE_STORAGE", "NBKUBE_DATA")}
    return {name: place for name, place in found.items() if place.startswith("s3://")}
