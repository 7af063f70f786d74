"""A station lists checksums, each with its algorithm: which of them an item states."""

import pytest

from shared.stac.checksums import stated_checksum

MD5 = "0123456789abcdef0123456789abcdef"
BLAKE3 = "3fba5250be9ac259c56e7250c526bc83bacb4be825f2799d3d59e5b4878dd74e"


@pytest.mark.parametrize(
    ("listed", "stated"),
    [
        ([("MD5", MD5.upper())], f"d50110{MD5}"),
        ([("md5", MD5), ("BLAKE3", BLAKE3)], f"d50110{MD5}"),
        ([("BLAKE3", BLAKE3), ("MD5", MD5)], f"d50110{MD5}"),
        ([("BLAKE3", BLAKE3.upper())], f"1e20{BLAKE3}"),
        ([("SHA-256", BLAKE3)], f"1220{BLAKE3}"),
        ([("SHA3-256", BLAKE3)], f"1620{BLAKE3}"),
        ([("MD5", f" {MD5} ")], f"d50110{MD5}"),
    ],
)
def test_a_checksum_is_chosen_by_its_algorithm_and_never_by_its_place(
    listed: list[tuple[str, str | None]], stated: str
) -> None:
    assert stated_checksum(listed) == stated


@pytest.mark.parametrize("malformed", ["", None, MD5[:-1], "g" * 32, BLAKE3])
def test_an_md5_that_is_none_gives_way_to_another_checksum(malformed: str | None) -> None:
    assert stated_checksum([("MD5", malformed), ("BLAKE3", BLAKE3)]) == f"1e20{BLAKE3}"


@pytest.mark.parametrize("listed", [[], [("MD5", "")], [("MD5", None)], [("MD5", "  ")]])
def test_a_list_without_a_value_states_nothing(listed: list[tuple[str, str | None]]) -> None:
    assert stated_checksum(listed) is None


@pytest.mark.parametrize(("algorithm", "value"), [("SM3", BLAKE3), ("MD5", MD5[:-1])])
def test_what_cannot_be_read_is_stated_with_its_algorithm(algorithm: str, value: str) -> None:
    assert stated_checksum([(algorithm, value)]) == f"{algorithm}:{value}"
