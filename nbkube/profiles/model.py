"""The frozen types of a profile. None of them ever holds a credential."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec

from nbkube.errors import ProfileError

Engine = Literal["local", "argo"]
KServe = Literal["auto", "never"]
Packaging = Literal["auto", "image", "wheelhouse"]
Exposure = Literal["port-forward", "node-port", "load-balancer", "ingress"]

RUNNER_ACCOUNT = "nbkube-runner"
NOTEBOOK_ACCOUNT = "nbkube-notebook"


class StoreAccess(msgspec.Struct, frozen=True, omit_defaults=True, rename="kebab"):
    """The store, as this machine and as pods see it.

    `url` is a folder or `s3://BUCKET/PREFIX`; `endpoint` the S3 server's URL for this machine, `pod_endpoint` for pods
    ("" = the same); `files` is where names in `nbkube.storage()` begin, `data` where those of `nbkube.data()` do, both
    `s3://BUCKET/PREFIX` of the same server ("" = as this machine's environment has it); `secret` the name of the
    Kubernetes Secret whose keys become the AWS variables of pods; `aws_profile` the profile of `~/.aws/credentials`
    whose keys this machine uses ("" = those of the environment); `ca` a file on this machine with the certificate
    authority of both.
    """

    url: str = ""
    endpoint: str = ""
    pod_endpoint: str = ""
    region: str = ""
    secret: str = ""
    aws_profile: str = ""
    ca: str = ""
    files: str = ""
    data: str = ""

    def variables(self, *, pods: bool = False) -> dict[str, str]:
        """Return the variables that lead to the S3 server and to data, no secrets: endpoint and region, here also the
        certificate authority and whose keys to use, and where `nbkube.storage()` and `nbkube.data()` begin."""
        endpoint = (self.pod_endpoint or self.endpoint) if pods else self.endpoint
        found = {"AWS_ENDPOINT_URL": endpoint, "AWS_REGION": self.region, "AWS_CA_BUNDLE": "" if pods else self.ca}
        found |= {"NBKUBE_S3_PROFILE": "" if pods else self.aws_profile}
        found |= {"NBKUBE_STORAGE": self.files, "NBKUBE_DATA": self.data}
        return {name: value for name, value in found.items() if value}

    def certificates(self) -> str:
        """Return the text of the certificate authority's file, "" where none is named.

        Raises:
            ProfileError: the file cannot be read, or holds something else.
        """
        if not self.ca:
            return ""
        try:
            text = Path(self.ca).expanduser().read_text(encoding="ascii")
        except (OSError, UnicodeDecodeError) as error:
            raise ProfileError(f"the certificates {self.ca} of the store cannot be read: {error}") from None
        if "PRIVATE KEY" in text or "-----BEGIN CERTIFICATE-----" not in text:
            raise ProfileError(f"{self.ca} is no file of certificates (PEM). Name the certificate authority's alone.")
        return text


class DefaultResources(msgspec.Struct, frozen=True, omit_defaults=True, rename="kebab"):
    """What a step asks for that does not say: Kubernetes quantities, "" = nothing."""

    cpu: str = ""
    memory: str = ""


class Allowed(msgspec.Struct, frozen=True, omit_defaults=True, rename="kebab"):
    """What notebooks may name, as patterns in which `*` stands for anything.

    `images` beside the profile's own and those of its registry; `secrets`; `volumes` (existing claims; new ones are
    always allowed); `node_selectors` as KEY=VALUE.
    """

    images: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    node_selectors: tuple[str, ...] = ("*",)


class Serve(msgspec.Struct, frozen=True, omit_defaults=True, rename="kebab"):
    """How endpoints on the cluster are reached, and the image of their pods ("" = the profile's).

    `host` is the name in the addresses of an Ingress, or the node's in those of a node port; `tls_secret` the Secret
    with an Ingress's certificate, `ingress_class` its controller ("" = the cluster's default). `kserve`: whether each
    version is an InferenceService where KServe is installed.
    """

    expose: Exposure = "port-forward"
    host: str = ""
    tls_secret: str = ""
    ingress_class: str = ""
    image: str = ""
    kserve: KServe = "auto"


class Profile(msgspec.Struct, frozen=True, omit_defaults=True, rename="kebab"):
    """Where and how runs are carried out.

    `packaging` is how pods get what the base lacks: in an image of the registry, from the store, or the first that can
    be had. `context` is a kubeconfig context ("" = the current one, or the pod's service account); `namespace` "" = the
    context's; `registry` HOST[:PORT][/PATH] for images that nbkube builds; `image` what steps run in that name none;
    `pull_secrets` the Secrets by which nodes pull images; `parallelism` how many steps of a run may run at once (0 = no
    limit).
    """

    name: str
    engine: Engine = "local"
    context: str = ""
    namespace: str = ""
    store: StoreAccess = StoreAccess()
    registry: str = ""
    pull_registry: str = ""
    plain_http: tuple[str, ...] = ()
    registry_ca: str = ""
    base: str = ""
    architecture: str = "amd64"
    packaging: Packaging = "auto"
    image: str = ""
    resources: DefaultResources = DefaultResources()
    service_account: str = RUNNER_ACCOUNT
    priority_class: str = ""
    pull_secrets: tuple[str, ...] = ()
    allow: Allowed = Allowed()
    parallelism: int = 0
    serve: Serve = Serve()

    @property
    def gives_wheels(self) -> bool:
        """Whether pods have keys with which they can take distributions from the store, nbkube itself among them."""
        return self.packaging != "image" and self.store.url.startswith("s3://") and bool(self.store.secret)


class Profiles(msgspec.Struct, frozen=True):
    """All profiles that are known: `default` names the one used when none is asked for, `files` are those read,
    `origins` profile -> its files, the deciding one first."""

    default: str
    profiles: dict[str, Profile]
    files: tuple[str, ...] = ()
    origins: dict[str, tuple[str, ...]] = {}
