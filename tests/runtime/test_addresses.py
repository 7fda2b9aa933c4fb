"""No secret of an address is shown, and none is committed."""

import os
import random
import string
import uuid

import pytest

from pipeline.runtime.addresses import SETTINGS, is_secret, is_token, secrets_in, shown, without_secrets
from pipeline.runtime.stage import exit_codes

ADDRESSES = [
    "http://user:S3CRET@host:5000",
    "http://S3CRET@host:5000",
    "postgresql://u:S3CRET@h/db",
    "postgresql://h/db?user=u&password=S3CRET",
    "postgresql://h/db?user=u&password=S3@CRET",
    "postgresql+psycopg2://h/db?sslpassword=S3CRET&sslkey=k",
    "https://host/mlflow?token=S3CRET",
    "https://host/mlflow#token=S3CRET",
    "http://us@er:S3CRET@host",
    "mysql+pymysql://u:S3/CRET@h/db",
    "postgresql://u:S3#CRET@h/db",
    "postgresql://u:S3?CRET@h/db",
    "databricks://S3CRET:x@h",
    "me:S3CRET@host:5000",
    "https://host/data.zip?sv=2024&se=2026-01-01&sig=S3CRET%2BCRET",
    "https://b.s3.amazonaws.com/k?X-Amz-Credential=S3CRET&X-Amz-Signature=S3CRET",
    "http://[::1]:5000/?password=S3CRET",
]


@pytest.fixture(autouse=True)
def no_settings(monkeypatch):
    """Each test says itself which addresses are set."""
    for name in SETTINGS:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("address", ADDRESSES)
def test_no_secret_is_shown(address):
    """Wherever it stands, and whatever letters a password has."""
    assert "S3" not in shown(address)
    assert "CRET" not in shown(f" {address}\n")


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("postgresql://me:secret@db.local/mlflow", "postgresql://db.local/mlflow"),
        ("http://me:secret@127.0.0.1:9/prefix", "http://127.0.0.1:9/prefix"),
        ("https://host/data.zip?version=3", "https://host/data.zip"),
        ("https://host/data.zip", "https://host/data.zip"),
        ("sqlite:////srv/my project/mlflow.db", "sqlite:////srv/my project/mlflow.db"),
        ("http://[::1]:5000", "http://[::1]:5000"),
        ("https://", "https://"),
        # A password of digits, then letters of an address: nobody can tell it from a port.
        ("postgresql://u:1234?56@h/db", "postgresql://***"),
        ("postgresql://u:1234#56@h/db", "postgresql://***"),
        ("postgresql://u:1234/56@h/db", "postgresql://***"),
        ("", ""),
    ],
)
def test_what_tells_where_it_is_stays(address, expected):
    """Host, port and path; a message without them would help nobody."""
    assert expected == shown(address)


@pytest.mark.parametrize("address", ADDRESSES)
def test_texts_of_others_lose_the_secrets_of_an_address(address):
    """MLflow, urllib3 and httpx quote what they were given, whole or in part."""
    path = address.partition("://")[2].partition("/")[2]
    said = without_secrets(
        f"could not open {address}: max retries exceeded with url: /{path}/api/2.0", address
    )
    assert "CRET" not in said
    assert "could not open" in said


def test_secrets_of_the_environment_reach_no_message_no_status_and_no_traceback(
    tmp_path, monkeypatch, capsys
):
    """Also those in the message of an error that nobody foresaw."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://me:S3CRET@host/mlflow?token=T0KEN")
    monkeypatch.setenv("MILLRACE_DEBUG", "1")
    with pytest.raises(SystemExit), exit_codes("register"):
        raise RuntimeError(f"no answer from {os.environ['MLFLOW_TRACKING_URI']} (/mlflow?token=T0KEN/api)")
    said = capsys.readouterr().err + (tmp_path / ".millrace/status.json").read_text()
    assert "Traceback" in said
    assert "https://host/mlflow" in said
    assert "S3CRET" not in said
    assert "T0KEN" not in said


KEYS = [
    "password",
    "sslpassword",
    "sig",
    "token",
    "access_token",
    "X-Amz-Signature",
    "X-Amz-Security-Token",
    "key",
    "apiKey",
    "api_key",
    "AWSAccessKeyId",
    "client_secret",
    "auth",
    "X-Goog-Credential",
    "SAS",
    "pwd",
    "%73ig",
    "secret_key",
    "account_key",
    "subscription-key",
    "sharedKey",
]


@pytest.mark.parametrize("name", KEYS)
def test_keys_that_secrets_are_given_under(name):
    """Signatures of links and tokens are as good as passwords."""
    assert is_secret(name)


@pytest.mark.parametrize(
    "name",
    [
        "format",
        "version",
        "author",
        "gid",
        "id",
        "sort_key",
        "keyword",
        "tokenizer",
        "page",
        "X-Amz-Date",
        "design",
    ],
)
def test_keys_of_public_addresses(name):
    """Such an address may be committed."""
    assert not is_secret(name)


def test_what_may_not_be_committed_is_named_without_its_value():
    """Each key once, and the user."""
    found = secrets_in("https://me:S3CRET@host/a?sig=S3CRET&v=1#access_token=S3CRET")
    assert ["a user name or password", "the key 'sig'", "the key 'access_token'"] == found
    assert [] == secrets_in("https://host/a.zip?version=3&code=DE")
    assert ["the key 'code'"] == secrets_in("https://f.example/run?code=aB3dE5fG7hI9jK1lM3nO5==")


@pytest.mark.parametrize(
    "drawn",
    [
        lambda draw: str(uuid.UUID(int=draw.getrandbits(128))),
        lambda draw: f"{draw.getrandbits(128):032x}",
        lambda draw: "".join(draw.choices(string.ascii_letters + string.digits, k=24)),
        lambda draw: "".join(draw.choices(string.ascii_letters + string.digits + "-_", k=68)),
    ],
    ids=["uuid", "hex", "Slack", "Discord"],
)
def test_what_was_drawn_by_chance_is_told_from_a_name(drawn):
    """Addresses of webhooks as four services draw them: at most 3 % are missed, half of them for want of a digit."""
    draw = random.Random(7)
    found = sum(is_token(drawn(draw)) for _ in range(2000))
    assert found >= 0.97 * 2000
    names = [
        "fraud-detection-2026",
        "production2026-alerts",
        "model-v2beta3-of-the-team",
        "retraining-of-the-models",
    ]
    assert [] == [name for name in names if is_token(name)]
