"""Owners: what the file says of one, the settings for what it leaves out, and no secret in the file or in an error."""

from pathlib import Path

import pytest

from shared.context import Context
from shared.owners import Owner, load_owners
from shared.settings import Settings, SettingsError
from shared.storage.keys import Place
from tests.unit.making import settings_of

FULL = """
[owner.operations]
bucket = "operations-aux"
prefix = "aux/"
catalog_api_key = { file = "operations_key" }

[owner.science]
catalog_api_key = { env = "SCIENCE_KEY" }

[owner.guest]
prefix = ""
"""


@pytest.fixture(autouse=True)
def secrets(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    (tmp_path / "operations_key").write_text("from-a-file\n")
    monkeypatch.setenv("AUXIP_SECRETS_DIR", str(tmp_path))
    monkeypatch.setenv("SCIENCE_KEY", "from-a-variable")
    return tmp_path


def settings(folder: Path, text: str) -> Settings:
    file = folder / "owners.toml"
    file.write_text(text)
    return settings_of(owners_file=file, s3_prefix="common/", catalog_api_key=None)


def told(owner: Owner) -> tuple[str, str, str | None]:
    key = owner.catalog_api_key
    return owner.place.bucket, owner.place.prefix, None if key is None else key.get_secret_value()


def refusal(folder: Path, text: str) -> str:
    with pytest.raises(SettingsError) as raised:
        load_owners(settings(folder, text))
    assert "\n" not in raised.value.reason
    return raised.value.reason


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("operations", ("operations-aux", "aux/", "from-a-file")),
        ("science", ("bucket", "common/", "from-a-variable")),
        ("guest", ("bucket", "", None)),
        ("nobody", ("bucket", "common/", None)),
    ],
)
def test_what_an_owner_leaves_out_is_as_the_settings_say(
    secrets: Path, name: str, expected: tuple[str, str, str | None]
) -> None:
    assert told(load_owners(settings(secrets, FULL))[name]) == expected


def test_without_a_file_everybody_is_as_the_settings_say() -> None:
    owners = load_owners(settings_of())
    assert owners["anybody"] == owners.default
    assert owners.places == {Place("bucket", "")}


def test_every_place_is_known(secrets: Path) -> None:
    places = {Place("operations-aux", "aux/"), Place("bucket", "common/"), Place("bucket", "")}
    assert load_owners(settings(secrets, FULL)).places == places


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[owner.a]\nbucket = 'No_Bucket'", "owner.a.bucket String should match"),
        ("[owner.a]\nprefix = 'no-slash'", "owner.a.prefix String should match"),
        ("[owner.a]\nbukket = 'a'", "owner.a.bukket is no field"),
        ("[owner.'../a']\n", "owner.../a String should match"),
        ("[owners.a]\n", "owners is no field"),
        ("owner = 3", "owner Input should be a valid dictionary"),
        ("[owner.a]\ncatalog_api_key = 'in-the-file'", "owner.a.catalog_api_key is no reference"),
        ("[owner.a]\ncatalog_api_key = {}", "owner.a.catalog_api_key is no reference"),
        ("[owner.a]\ncatalog_api_key = { env = 'A', file = 'a' }", "owner.a.catalog_api_key is no reference"),
        (
            "[owner.a]\ncatalog_api_key = { env = 'NOT_SET_ANYWHERE' }",
            "is empty or missing: the variable NOT_SET_ANYWHERE",
        ),
        (
            "[owner.a]\ncatalog_api_key = { file = 'none' }",
            "is empty or missing: the file none",
        ),
        ("[owner.a", "Expected ']' at the end of a table declaration"),
    ],
)
def test_a_wrong_file_is_refused_with_its_owner_and_field(secrets: Path, text: str, said: str) -> None:
    reason = refusal(secrets, text)
    assert reason.startswith(f"AUXIP_OWNERS_FILE {secrets / 'owners.toml'}: ")
    assert said in reason


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"AUXIP_OWNERS_FILE .* No such file"):
        load_owners(settings_of(owners_file=tmp_path / "none"))


def test_a_secret_that_stands_in_the_file_is_not_repeated(secrets: Path) -> None:
    for text in (
        "[owner.a]\ncatalog_api_key = 'hush'",
        "[owner.a]\ncatalog_api_key = { value = 'hush' }",
        "[owner.a]\ncatalog_api_key = { env = 'hush hush' }",
    ):
        assert "hush" not in refusal(secrets, text)


def test_owners_without_a_key_of_their_own_share_one_connection_to_the_catalog(secrets: Path) -> None:
    context = Context(settings(secrets, FULL))
    assert context.catalog_of("guest").api is context.catalog_of("nobody").api
    assert context.catalog_of("operations").api is not context.catalog_of("nobody").api
    context.close()
