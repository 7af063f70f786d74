"""A secret is named where it is, and read from there; neither its absence nor its file shows anything of another."""

from pathlib import Path

import pytest
from pydantic import SecretStr, TypeAdapter, ValidationError

from shared.json_types import Json
from shared.secrets import HeaderSecret, Secret

SECRET: TypeAdapter[SecretStr] = TypeAdapter(Secret)
HEADER: TypeAdapter[SecretStr] = TypeAdapter(HeaderSecret)


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("AUXIP_SECRETS_DIR", str(tmp_path))
    return tmp_path


def secret(**reference: str) -> str:
    return SECRET.validate_python(reference).get_secret_value()


def refusal(reference: Json) -> str:
    with pytest.raises(ValidationError) as raised:
        SECRET.validate_python(reference)
    return raised.value.errors()[0]["msg"]


def test_a_variable_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_KEY", " the key ")
    assert secret(env="A_KEY") == "the key"


def test_a_file_below_the_folder_of_secrets_is_read_without_its_last_line_end(folder: Path) -> None:
    (folder / "a_key").write_text("the key\n")
    assert secret(file="a_key") == "the key"


def test_what_is_resolved_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_KEY", "hush")
    assert "hush" not in f"{SECRET.validate_python({'env': 'A_KEY'})!r}"


@pytest.mark.parametrize("file", ["../a", "/etc/passwd", "a/b", "..", ".", "", ".hidden", "a b", "a\nb"])
def test_a_file_elsewhere_is_refused(file: str) -> None:
    assert "is no name of a file" in refusal({"file": file})


@pytest.mark.parametrize("env", ["", "A B", "1A", "A=B", "AUXIP_S3_SECRET_ACCESS_KEY", "AUXIP_MINE"])
def test_a_name_that_is_no_variable_of_ours_to_give_is_refused(env: str) -> None:
    said = refusal({"env": env})
    assert "is no name of a variable" in said or "is a setting" in said


@pytest.mark.parametrize("reference", [{}, {"env": "A", "file": "a"}, {"vault": "a"}, {"env": 1}])
def test_what_is_no_reference_is_refused(reference: Json) -> None:
    assert "is no reference such as" in refusal(reference)


def test_a_secret_that_stands_in_the_file_itself_is_refused_and_not_shown() -> None:
    with pytest.raises(ValidationError, match="a secret does not stand in this file") as raised:
        SECRET.validate_python("hush")
    assert "hush" not in raised.value.errors()[0]["msg"]


def test_an_empty_secret_is_none(folder: Path) -> None:
    (folder / "a_key").write_text(" \n")
    assert "is empty or missing: the file a_key" in refusal({"file": "a_key"})


def test_a_secret_that_is_not_there_is_named() -> None:
    assert "is empty or missing: the variable NOT_SET_ANYWHERE" in refusal({"env": "NOT_SET_ANYWHERE"})


def test_a_file_that_is_no_text_is_refused_without_its_content(folder: Path) -> None:
    (folder / "a_key").write_bytes(b"hush\xff")
    assert "hush" not in refusal({"file": "a_key"})


def test_a_secret_that_no_header_can_carry_is_refused_and_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_KEY", "hu\nsh")
    with pytest.raises(ValidationError, match="holds a character that a header cannot carry") as raised:
        HEADER.validate_python({"env": "A_KEY"})
    assert "hu" not in raised.value.errors()[0]["msg"]
