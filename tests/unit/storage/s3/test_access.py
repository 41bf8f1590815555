"""Which server and which credentials the environment means."""

from __future__ import annotations

from pathlib import Path

import pytest

from nbkube.errors import LocationError
from nbkube.storage import open_store
from nbkube.storage.cache import cache_limit
from nbkube.storage.s3.access import find_credentials, find_server, parse_url


def keys(environment: dict[str, str]) -> tuple[str, str, str | None]:
    found = find_credentials(environment)
    return found.access_key, found.secret_key, found.session_token


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    credentials, config = tmp_path / "credentials", tmp_path / "config"
    credentials.write_text(
        "[default]\naws_access_key_id = A\naws_secret_access_key = S%1/+=\n\n"
        "[lab]\naws_access_key_id = LA\naws_secret_access_key = LS\naws_session_token = LT\n"
        "[half]\naws_access_key_id = HA\n"
    )
    config.write_text(
        "[default]\nregion = eu-west-1\n[profile lab]\nregion = eu-north-1\nendpoint_url = https://s3.lab:9000\n"
    )
    return {"AWS_SHARED_CREDENTIALS_FILE": str(credentials), "AWS_CONFIG_FILE": str(config)}


def test_the_files_of_aws(files: dict[str, str]) -> None:
    assert keys(files) == ("A", "S%1/+=", None)
    assert find_server(files).region == "eu-west-1"
    assert find_server(files).endpoint == "https://s3.eu-west-1.amazonaws.com"
    lab = {**files, "AWS_PROFILE": "lab"}
    assert keys(lab) == ("LA", "LS", "LT")
    assert (find_server(lab).endpoint, find_server(lab).region) == ("https://s3.lab:9000", "eu-north-1")


def test_variables_win_over_files_and_a_mounted_secret_over_variables(files: dict[str, str], tmp_path: Path) -> None:
    variables = {**files, "AWS_ACCESS_KEY_ID": "VA", "AWS_SECRET_ACCESS_KEY": "VS", "AWS_SESSION_TOKEN": "VT"}
    assert keys(variables) == ("VA", "VS", "VT")
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "AWS_ACCESS_KEY_ID").write_text("MA\n")
    (secret / "AWS_SECRET_ACCESS_KEY").write_text("MS")
    assert keys({**variables, "NBKUBE_S3_CREDENTIALS": str(secret)}) == ("MA", "MS", None)


def test_the_endpoint_of_s3_wins() -> None:
    env = {"AWS_ENDPOINT_URL": "http://all:1", "AWS_ENDPOINT_URL_S3": "http://[::1]:9000", "AWS_REGION": "x-1"}
    assert find_server(env).endpoint == "http://[::1]:9000"
    assert find_server(env).host == "[::1]:9000"
    assert find_server({"AWS_ENDPOINT_URL": "https://s3.lab:443"}).host == "s3.lab"


def test_without_credentials_the_message_says_what_to_set(tmp_path: Path) -> None:
    with pytest.raises(LocationError, match="AWS_ACCESS_KEY_ID.*AWS_PROFILE.*NBKUBE_S3_CREDENTIALS"):
        find_credentials({"HOME": str(tmp_path), "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "none")})


def test_half_of_the_credentials_is_told(files: dict[str, str]) -> None:
    with pytest.raises(LocationError, match="no AWS_SECRET_ACCESS_KEY"):
        find_credentials({"AWS_ACCESS_KEY_ID": "A", "AWS_SHARED_CREDENTIALS_FILE": "/none"})
    with pytest.raises(LocationError, match="profile half .*no AWS_SECRET_ACCESS_KEY"):
        find_credentials({**files, "AWS_PROFILE": "half"})


def test_an_unknown_profile_is_told(files: dict[str, str]) -> None:
    for find in (find_server, find_credentials):
        with pytest.raises(LocationError, match="AWS_PROFILE=nolab: there is no such profile"):
            find({**files, "AWS_PROFILE": "nolab"})


def test_a_broken_file_is_told_without_its_content(tmp_path: Path) -> None:
    path = tmp_path / "credentials"
    path.write_text("[default\nsecret stuff\n")
    with pytest.raises(LocationError, match="is no AWS configuration file") as error:
        find_credentials({"AWS_SHARED_CREDENTIALS_FILE": str(path)})
    assert "secret stuff" not in str(error.value)


@pytest.mark.parametrize(
    "endpoint",
    [
        "host:9000",
        "ftp://host",
        "http://",
        "http://host/path",
        "http://host:port",
        "http://key:secret@host",
        "http://h?x=1",
    ],
)
def test_what_is_no_address(endpoint: str) -> None:
    with pytest.raises(LocationError) as error:
        find_server({"AWS_ENDPOINT_URL": endpoint})
    assert "secret" not in str(error.value)


@pytest.mark.parametrize(
    "url",
    ["s3://", "s3:///x", "s3://a", "s3://Bucket", "s3://a..b", "s3://10.0.0.1", "s3://-ab", "s3://bucket/a//b",
     "s3://bucket/../x", "s3://bucket/a/./b", "s3://bucket/" + "x" * 200, "s3://bucket/a\nb", "s3:bucket", "gs://bucket"],
)  # fmt: skip
def test_what_is_no_place_of_a_store(url: str) -> None:
    with pytest.raises(LocationError) as error:
        parse_url(url)
    assert error.value.exit_code == 2


def test_places() -> None:
    assert [str(parse_url(url)) for url in ("s3://bucket", "s3://bucket/", "s3://bucket/a/b/")] == [
        "s3://bucket/",
        "s3://bucket/",
        "s3://bucket/a/b/",
    ]
    with pytest.raises(LocationError, match="gs"):
        open_store("gs://bucket")


def test_the_size_of_the_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    for text, size in (("", 20 << 30), ("5", 5), ("1Gi", 1 << 30), ("1.5G", 3 << 29), ("2T", 2 << 40)):
        monkeypatch.setenv("NBKUBE_CACHE_SIZE", text)
        assert cache_limit() == size
    for text in ("x", "1Zi", "-", "Gi"):
        monkeypatch.setenv("NBKUBE_CACHE_SIZE", text)
        with pytest.raises(LocationError, match="NBKUBE_CACHE_SIZE"):
            cache_limit()


def test_no_credentials_are_built_in() -> None:
    source = Path(__file__).parents[4] / "nbkube"
    texts = [path.read_text(encoding="utf-8").lower() for path in source.rglob("*.py")]
    for word in ('"minioadmin', "unsigned-payload"):
        assert not any(word in text for text in texts)
