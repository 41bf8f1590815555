"""Signature version 4 of requests to S3, as Amazon documents it ("Authenticating Requests (AWS Signature Version 4)").

The `minio` client has a signer, too, but it cannot be imported without all of the client and its ciphers, which takes
longer than everything else that a step's process loads for the store. The tests hold the two against each other.
"""

from __future__ import annotations

import functools
import hashlib
import hmac
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import NamedTuple
from urllib.parse import SplitResult

_SPACES = re.compile(" +")


class Keys(NamedTuple):
    """Credentials: the secret key never leaves this process. `expires`: when they end, None if they do not."""

    access_key: str
    secret_key: str
    session_token: str | None = None
    expires: datetime | None = None

    def __repr__(self) -> str:
        return f"Keys({self.access_key[:4]}…)"

    def is_expired(self) -> bool:
        """Tell whether they end within ten seconds."""
        return self.expires is not None and (self.expires - datetime.now(UTC)).total_seconds() < 10


def authorization(
    method: str, url: SplitResult, headers: Mapping[str, str], keys: Keys, *, region: str, sha256: str, date: datetime
) -> str:
    """Return the header `Authorization` of a request.

    Args:
        method: GET, PUT and so on.
        url: as it is sent; its query is encoded.
        headers: all that are signed: Host, x-amz-date, x-amz-content-sha256 and those of the request itself.
        keys: the credentials.
        region: of the bucket.
        sha256: of the payload, in hexadecimal digits.
        date: the time of x-amz-date.
    """
    canonical = {name.lower(): _SPACES.sub(" ", value).strip() for name, value in headers.items()}
    names = sorted(canonical)
    signed = ";".join(names)
    query = "&".join("=".join(pair) for pair in sorted(part.split("=") for part in url.query.split("&")))
    lines = [method, url.path or "/", query, *(f"{name}:{canonical[name]}" for name in names), "", signed, sha256]
    scope = f"{date:%Y%m%d}/{region}/s3/aws4_request"
    request = hashlib.sha256("\n".join(lines).encode()).hexdigest()
    text = f"AWS4-HMAC-SHA256\n{date:%Y%m%dT%H%M%SZ}\n{scope}\n{request}"
    signature = hmac.new(_signing_key(keys.secret_key, f"{date:%Y%m%d}", region), text.encode(), hashlib.sha256)
    return (
        f"AWS4-HMAC-SHA256 Credential={keys.access_key}/{scope}, SignedHeaders={signed}, "
        f"Signature={signature.hexdigest()}"
    )


@functools.lru_cache(maxsize=8)
def _signing_key(secret: str, day: str, region: str) -> bytes:
    key = f"AWS4{secret}".encode()
    for part in (day, region, "s3", "aws4_request"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return key
