from __future__ import annotations

from pathlib import Path

import pytest

from nbkube.engines.argo.target import Target
from nbkube.errors import ProfileError
from nbkube.profiles.model import DefaultResources, Profile, StoreAccess

STORE = StoreAccess("s3://bucket/lab", "http://localhost:9000", "http://minio.storage:9000", "eu-1", "keys")


def test_pods_get_what_the_profile_says_of_them() -> None:
    resources = DefaultResources("500m", "1Gi")
    profile = Profile("lab", image="nb:1", store=STORE, resources=resources, priority_class="high", parallelism=4)
    found = Target.of(profile, "team")
    assert found == Target(
        "nb:1",
        "s3://bucket/lab",
        store_secret="keys",
        store_settings={"AWS_ENDPOINT_URL": "http://minio.storage:9000", "AWS_REGION": "eu-1"},
        namespace="team",
        priority_class="high",
        cpu="500m",
        memory="1Gi",
        parallelism=4,
    )


def test_a_profile_that_does_not_say_enough() -> None:
    with pytest.raises(ProfileError, match="need a store that they can reach"):
        Target.of(Profile("lab", image="nb:1", store=StoreAccess("/shared/store")), "")
    keyless = StoreAccess("s3://bucket/lab")
    with pytest.raises(ProfileError, match="the profile lab names neither an image for the steps nor a registry"):
        Target.of(Profile("lab", store=keyless), "")
    with pytest.raises(ProfileError, match="names neither an image"):
        Target.of(Profile("lab", store=STORE, packaging="image"), "")
    assert Target.of(Profile("lab", store=STORE), "").image == ""  # pods take distributions from the store


def test_an_authority_of_ones_own_goes_along_and_keys_never_do(tmp_path: Path) -> None:
    file = tmp_path / "ca.crt"
    profile = Profile("lab", image="nb:1", store=StoreAccess("s3://bucket", ca=str(file)))
    with pytest.raises(ProfileError, match="cannot be read"):
        Target.of(profile, "")
    file.write_text("-----BEGIN CERTIFICATE-----\nMII\n-----END CERTIFICATE-----\n")
    assert Target.of(profile, "").store_ca == file.read_text()
    file.write_text(file.read_text() + "-----BEGIN PRIVATE KEY-----\n")
    with pytest.raises(ProfileError, match="no file of certificates"):
        Target.of(profile, "")
