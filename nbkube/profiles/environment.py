"""What a profile puts into the environment of this process and of the steps it starts: where the S3 server is."""

from __future__ import annotations

import os

from nbkube.profiles.model import Profile


def adopt(profile: Profile) -> None:
    """Set the AWS variables that lead to a profile's store. Keys are not among them: no profile holds any."""
    store = profile.store
    found = {"AWS_ENDPOINT_URL": store.endpoint, "AWS_REGION": store.region, "AWS_CA_BUNDLE": store.ca}
    os.environ.update({name: os.path.expanduser(text) for name, text in found.items() if text})
