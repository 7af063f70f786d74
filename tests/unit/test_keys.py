"""Keys: every asset has one place, the same for every run, and no name leads out of its folder."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import ItemFailed
from shared.storage.keys import Place, asset_location, run_location
from shared.storage.location import Location

PLACE = Place("bucket", "deep/er/")

HOSTILE = [
    "",
    ".",
    "..",
    "../x",
    "x/../y",
    "/etc/passwd",
    "a/b",
    "a\\b",
    "..\\b",
    "a..b",
    "a\0b",
    "a\nb",
    "a\x7fb",
    "a\u202eb",  # turns the direction of what is shown
    "a\u200bb",  # is not seen at all
    "a\ud800b",  # half a character
    "a\ue000b",
]


def key_of(item_id: str = "X", asset: str = "X.EOF") -> str:
    return asset_location(PLACE, "owner", "aux", item_id, asset).key


def test_an_asset_is_below_prefix_owner_collection_and_item() -> None:
    assert asset_location(PLACE, "owner", "aux", "X", "X.EOF") == Location("bucket", "deep/er/owner/aux/X/X.EOF")


def test_an_artifact_is_below_its_run() -> None:
    assert run_location(PLACE, "r-1", "report.json") == Location("bucket", "deep/er/runs/r-1/report.json")


@pytest.mark.parametrize("name", HOSTILE, ids=ascii)
def test_a_hostile_asset_name_is_refused(name: str) -> None:
    with pytest.raises(ItemFailed, match="unsafe-asset-name"):
        key_of(asset=name)


@pytest.mark.parametrize("name", HOSTILE, ids=ascii)
def test_a_hostile_item_id_is_refused(name: str) -> None:
    with pytest.raises(ItemFailed, match="unsafe-item-id"):
        key_of(item_id=name)


@pytest.mark.parametrize("name", HOSTILE, ids=ascii)
def test_a_hostile_run_id_is_refused(name: str) -> None:
    with pytest.raises(ItemFailed, match="unsafe-run-id"):
        run_location(PLACE, name, "report.json")


@pytest.mark.parametrize("name", ["a" * 255, "é" * 127 + "a", "衛" * 85])
def test_a_name_may_have_255_bytes(name: str) -> None:
    assert len(name.encode()) == 255
    assert key_of(asset=name).endswith(f"/{name}")


@pytest.mark.parametrize("name", ["a" * 256, "é" * 128, "衛" * 85 + "a"])
def test_a_name_of_256_bytes_is_refused(name: str) -> None:
    assert len(name.encode()) == 256
    with pytest.raises(ItemFailed, match="unsafe-asset-name"):
        key_of(asset=name)


@pytest.mark.parametrize(
    "name",
    [
        "S3A_AX___OSF_AX_20160216T192404_99991231T235959_20240624T085540___________________EUM_O_AL_001.SEN3.zip",
        "with space",
        ".hidden",
        "ending.",
        "a.b.c",
        "100%",
        "a+b=c&d?e#f",
        "日本.EOF",
        "e\u0301",
    ],
)
def test_an_ordinary_name_is_kept_as_it_is(name: str) -> None:
    assert key_of(asset=name) == f"deep/er/owner/aux/X/{name}"


@given(item_id=st.text(max_size=20), asset=st.text(max_size=20))
def test_a_key_has_as_many_segments_whatever_the_names_are(item_id: str, asset: str) -> None:
    try:
        key = key_of(item_id, asset)
    except ItemFailed:
        return
    assert key.split("/") == ["deep", "er", "owner", "aux", item_id, asset]
    assert Location.parse(f"s3://bucket/{key}").key == key


NAMES = st.text(alphabet="ab./ :é\u0301", max_size=4)


@given(one=st.tuples(NAMES, NAMES), other=st.tuples(NAMES, NAMES))
def test_two_assets_never_have_one_key(one: tuple[str, str], other: tuple[str, str]) -> None:
    try:
        same = key_of(*one) == key_of(*other)
    except ItemFailed:
        return
    assert same is (one == other)


@pytest.mark.parametrize("href", ["s3://bucket/a", "s3://bucket/a/b/", "s3://a.b-c/x y#?%20"])
def test_an_href_is_read_as_it_is_written(href: str) -> None:
    assert Location.parse(href).href == href


@pytest.mark.parametrize(
    "href",
    [
        "",
        "bucket/key",
        "http://bucket/key",
        "s3://bucket",
        "s3://bucket/",
        "s3://Bucket/key",
        "s3:///key",
        "s3://bucket//key",
        "s3://bucket/a//b",
        "s3://bucket/a/../b",
        "s3://bucket/./a",
        "s3://bucket/..",
    ],
)
def test_an_href_that_is_no_place_in_s3_is_refused(href: str) -> None:
    with pytest.raises(Exception, match="bad-href"):
        Location.parse(href)
