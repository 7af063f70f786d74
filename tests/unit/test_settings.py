"""Settings: what is wrong is named in one line, and no secret is ever shown."""

import os
from pathlib import Path

import pytest

from shared.settings import PREFIX, SettingsError, load_settings

REQUIRED = {
    "AUXIP_REDIS_URL": "redis://:redis-secret@valkey:6379/0",
    "AUXIP_STATIONS_FILE": "/etc/auxip/stations.toml",
    "AUXIP_CATALOG_URL": "https://catalog.example",
    "AUXIP_S3_ENDPOINT": "https://s3.example",
    "AUXIP_S3_ACCESS_KEY_ID": "access-secret",
    "AUXIP_S3_SECRET_ACCESS_KEY": "key-secret",
    "AUXIP_S3_BUCKET": "aux",
}


@pytest.fixture(autouse=True)
def secrets_dir(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An environment with the required settings and an empty folder of secrets."""
    for name in [name for name in os.environ if name.upper().startswith(PREFIX)]:
        monkeypatch.delenv(name)
    for name, value in {**REQUIRED, "AUXIP_SECRETS_DIR": str(tmp_path)}.items():
        monkeypatch.setenv(name, value)
    return tmp_path


def refusal() -> str:
    with pytest.raises(SettingsError) as raised:
        load_settings()
    return raised.value.reason


def test_the_required_settings_are_enough() -> None:
    settings = load_settings()

    assert str(settings.stations_file) == REQUIRED["AUXIP_STATIONS_FILE"]
    assert settings.redis_url.get_secret_value() == REQUIRED["AUXIP_REDIS_URL"]
    assert settings.attempts == 5


@pytest.mark.parametrize("name", REQUIRED)
def test_a_missing_setting_is_named(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.delenv(name)
    assert refusal() == f"{name} is not set"


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("AUXIP_REDIS_URL", "http://valkey", "is no redis:// or rediss:// URL"),
        ("AUXIP_REDIS_URL", "redis://valkey:port", "is no redis:// or rediss:// URL"),
        ("AUXIP_CATALOG_URL", "catalog.example", "is no http:// or https:// URL"),
        ("AUXIP_CATALOG_URL", "http://", "is no http:// or https:// URL"),
        ("AUXIP_CATALOG_URL", "http://[::1", "is no http:// or https:// URL"),
        ("AUXIP_CATALOG_URL", "http://catalog:port", "is no http:// or https:// URL"),
        ("AUXIP_CATALOG_URL", "http://catalog:99999", "is no http:// or https:// URL"),
        ("AUXIP_CATALOG_URL", "file:///etc/passwd", "is no http:// or https:// URL"),
        ("AUXIP_S3_ENDPOINT", "s3://bucket", "is no http:// or https:// URL"),
        ("AUXIP_STAGING_URL", "staging.example", "is no http:// or https:// URL"),
        ("AUXIP_STAGING_BACKEND", "other", "Input should be 'transfer' or 'ogc'"),
        ("AUXIP_STAGING_BACKEND", "ogc", "ogc needs AUXIP_STAGING_URL"),
        ("AUXIP_STAGING_POLL", "61", "Input should be less than or equal to 60"),
        ("AUXIP_STAGING_JOB_TIMEOUT", "0", "Input should be greater than 0"),
        ("AUXIP_S3_BUCKET", "No_Bucket", "String should match pattern"),
        ("AUXIP_S3_PREFIX", "/above/../", "String should match pattern"),
        ("AUXIP_S3_PREFIX", "no-slash", "String should match pattern"),
        ("AUXIP_ATTEMPTS", "many", "Input should be a valid integer"),
        ("AUXIP_ARCHIVE_LAYOUT", "deep", "Input should be 'auto', 'flat' or 'tree'"),
        ("AUXIP_LEASE", "1", "Input should be greater than or equal to 3"),
    ],
)
def test_a_wrong_setting_is_named_in_one_line(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str
) -> None:
    monkeypatch.setenv(name, value)
    reason = refusal()

    assert reason.startswith(f"{name} ")
    assert said in reason
    assert "\n" not in reason


def test_all_wrong_settings_are_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AUXIP_S3_BUCKET")
    monkeypatch.setenv("AUXIP_ATTEMPTS", "0")

    assert refusal() == "AUXIP_S3_BUCKET is not set; AUXIP_ATTEMPTS Input should be greater than or equal to 1"


def test_an_unknown_name_is_refused_with_the_one_that_was_meant(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUXIP_CATALOGUE_URL", "https://catalog.example")
    assert refusal() == "AUXIP_CATALOGUE_URL is no setting; did you mean AUXIP_CATALOG_URL?"


def test_an_unknown_name_that_resembles_none_is_refused_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUXIP_0123456789", "1")
    assert refusal() == "AUXIP_0123456789 is no setting"


def test_names_without_the_prefix_are_nobodys_business(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUXILIARY", "1")
    assert load_settings().attempts == 5


def test_an_empty_value_leaves_the_default_in_force(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUXIP_ATTEMPTS", "")
    assert load_settings().attempts == 5


def test_a_staging_service_stages_where_that_is_said_and_its_url_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUXIP_STAGING_URL", "https://staging.example/")
    assert load_settings().staging_backend == "transfer"
    monkeypatch.setenv("AUXIP_STAGING_BACKEND", "ogc")
    assert (load_settings().staging_backend, load_settings().staging_url) == ("ogc", "https://staging.example")


def test_a_wrong_url_of_the_staging_service_is_named_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUXIP_STAGING_URL", "staging.example")
    monkeypatch.setenv("AUXIP_STAGING_BACKEND", "ogc")
    assert refusal() == "AUXIP_STAGING_URL is no http:// or https:// URL"


def test_the_slash_at_the_end_of_a_url_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUXIP_CATALOG_URL", "https://catalog.example/stac/")
    assert load_settings().catalog_url == "https://catalog.example/stac"


def test_a_secret_is_read_from_its_file(monkeypatch: pytest.MonkeyPatch, secrets_dir: Path) -> None:
    monkeypatch.delenv("AUXIP_S3_SECRET_ACCESS_KEY")
    (secrets_dir / "auxip_s3_secret_access_key").write_text("from a file\n", "utf-8")

    assert load_settings().s3_secret_access_key.get_secret_value() == "from a file"


def test_the_environment_comes_before_a_file(secrets_dir: Path) -> None:
    (secrets_dir / "auxip_s3_bucket").write_text("other", "utf-8")
    assert load_settings().s3_bucket == "aux"


def test_a_folder_of_secrets_that_is_named_must_be_there(monkeypatch: pytest.MonkeyPatch, secrets_dir: Path) -> None:
    monkeypatch.setenv("AUXIP_SECRETS_DIR", str(secrets_dir / "none"))
    assert refusal() == f"AUXIP_SECRETS_DIR {secrets_dir / 'none'} is no folder"


def test_without_a_folder_of_secrets_the_environment_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AUXIP_SECRETS_DIR")
    assert load_settings().s3_bucket == "aux"


def test_no_secret_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUXIP_CATALOG_API_KEY", "catalog-secret")
    monkeypatch.setenv("AUXIP_STAGING_API_KEY", "staging-secret")
    settings = load_settings()

    for shown in (repr(settings), str(settings), settings.model_dump_json()):
        assert "secret'" not in shown.replace("'s3_secret", "")
        assert not [
            word for word in ("redis", "access", "key", "station", "catalog", "staging") if f"{word}-secret" in shown
        ]


@pytest.mark.parametrize("name", ["AUXIP_CATALOG_URL", "AUXIP_STAGING_URL", "AUXIP_S3_ENDPOINT"])
@pytest.mark.parametrize("credentials", ["user:pass-word", "user", ":pass-word"])
def test_credentials_in_a_url_are_refused_and_not_repeated(
    monkeypatch: pytest.MonkeyPatch, name: str, credentials: str
) -> None:
    monkeypatch.setenv(name, f"https://{credentials}@host.example")
    assert refusal() == f"{name} holds credentials; give them in their own setting"


@pytest.mark.parametrize("password", ["pass#word", "pass/word", "pass?word", "pass[word", "pass℀word"])
@pytest.mark.parametrize("name", ["AUXIP_CATALOG_URL", "AUXIP_REDIS_URL"])
def test_a_password_that_breaks_its_url_is_not_repeated(
    monkeypatch: pytest.MonkeyPatch, name: str, password: str
) -> None:
    scheme = "redis" if name == "AUXIP_REDIS_URL" else "https"
    monkeypatch.setenv(name, f"{scheme}://:{password}@host.example/0")
    assert "pass" not in refusal()


def test_settings_cannot_be_changed() -> None:
    settings = load_settings()
    with pytest.raises(ValueError, match="frozen"):
        settings.attempts = 1  # type: ignore[misc]
