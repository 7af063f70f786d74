"""A secret is named where it is, and read from there; neither its absence nor its file shows anything of another."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from shared.secrets import SecretRef
from shared.settings import SettingsError


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("AUXIP_SECRETS_DIR", str(tmp_path))
    return tmp_path


def test_a_variable_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_KEY", " the key ")
    assert SecretRef(env="A_KEY").resolve().get_secret_value() == "the key"


def test_a_file_below_the_folder_of_secrets_is_read_without_its_last_line_end(folder: Path) -> None:
    (folder / "a_key").write_text("the key\n")
    assert SecretRef(file="a_key").resolve().get_secret_value() == "the key"


def test_what_is_resolved_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_KEY", "hush")
    assert "hush" not in f"{SecretRef(env='A_KEY').resolve()!r}"


@pytest.mark.parametrize("file", ["../a", "/etc/passwd", "a/b", "..", ".", "", ".hidden", "a b", "a\nb"])
def test_a_file_elsewhere_is_refused(file: str) -> None:
    with pytest.raises(ValidationError):
        SecretRef(file=file)


@pytest.mark.parametrize("env", ["", "A B", "1A", "A=B", "AUXIP_S3_SECRET_ACCESS_KEY", "AUXIP_MINE"])
def test_a_name_that_is_no_variable_of_ours_to_give_is_refused(env: str) -> None:
    with pytest.raises(ValidationError):
        SecretRef(env=env)


def test_a_secret_is_in_one_place() -> None:
    for places in ({}, {"env": "A", "file": "a"}):
        with pytest.raises(ValidationError, match="is neither"):
            SecretRef(**places)


def test_an_empty_secret_is_none(folder: Path) -> None:
    (folder / "a_key").write_text(" \n")
    with pytest.raises(SettingsError, match=r"the file a_key of AUXIP_SECRETS_DIR is empty"):
        SecretRef(file="a_key").resolve()


def test_a_file_that_is_no_text_is_refused_without_its_content(folder: Path) -> None:
    (folder / "a_key").write_bytes(b"hush\xff")
    with pytest.raises(SettingsError, match=r"cannot be read: UnicodeDecodeError$"):
        SecretRef(file="a_key").resolve()
