"""Our signatures are those of Amazon's documentation and of the `minio` client."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from urllib.parse import quote, urlencode, urlsplit

from hypothesis import given
from hypothesis import strategies as st
from minio.credentials.credentials import Credentials
from minio.signer import sign_v4_s3

from nbkube.storage.s3.signing import Keys, authorization

EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
EXAMPLE = Keys("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")


def test_the_documentations_example_of_a_ranged_get() -> None:
    headers = {
        "Host": "examplebucket.s3.amazonaws.com",
        "Range": "bytes=0-9",
        "x-amz-content-sha256": EMPTY,
        "x-amz-date": "20130524T000000Z",
    }
    date = datetime(2013, 5, 24, tzinfo=UTC)
    url = urlsplit("https://examplebucket.s3.amazonaws.com/test.txt")
    found = authorization("GET", url, headers, EXAMPLE, region="us-east-1", sha256=EMPTY, date=date)
    assert found == (
        "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request, "
        "SignedHeaders=host;range;x-amz-content-sha256;x-amz-date, "
        "Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"
    )


texts = st.text(st.characters(min_codepoint=32, max_codepoint=0x2FF), max_size=20)


@given(texts, st.dictionaries(st.sampled_from(["prefix", "uploads", "partNumber", "list-type"]), texts), texts)
def test_they_are_those_of_the_minio_client(key: str, query: dict[str, str], value: str) -> None:
    date = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    text = urlencode(sorted(query.items()), quote_via=quote, safe="~")
    url = urlsplit(f"http://host:9000/bucket/{quote(key, safe='/~')}" + (f"?{text}" if text else ""))
    headers = {"Host": "host:9000", "x-amz-meta-a": value, "If-Match": '"etag"'}
    theirs = sign_v4_s3(
        method="PUT",
        url=url,
        region="eu-west-1",
        headers=dict(headers),
        credentials=Credentials(EXAMPLE.access_key, EXAMPLE.secret_key),
        content_sha256=EMPTY,
        date=date,
    )
    ours = authorization("PUT", url, headers, EXAMPLE, region="eu-west-1", sha256=EMPTY, date=date)
    assert ours == theirs["Authorization"]


def test_keys_end_a_little_before_they_do_and_do_not_show_their_secret() -> None:
    now = datetime.now(UTC)
    assert not EXAMPLE.is_expired()
    assert EXAMPLE._replace(expires=now + timedelta(seconds=5)).is_expired()
    assert not EXAMPLE._replace(expires=now + timedelta(minutes=5)).is_expired()
    assert EXAMPLE.secret_key not in repr(EXAMPLE)
    assert EXAMPLE.secret_key not in f"{EXAMPLE}"
