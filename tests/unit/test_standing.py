"""What stands of an asset: the same content by what the station states, and the archive that it was expanded from."""

import pytest

from shared.errors import ItemFailed
from shared.stac.item import Asset, Item
from shared.steps.standing import archives_of, expanded_asset, require_owner, same_content
from tests.unit.making import item_of, run_of

MD5 = "0123456789abcdef0123456789abcdef"
OTHER = "f" * 32


def asset(size: int | None = None, checksum: str | None = None) -> Asset:
    return Asset.model_validate({"href": "h", "file:size": size, "file:checksum": checksum})


@pytest.mark.parametrize(
    ("known", "offered", "same"),
    [
        (asset(3, MD5), asset(3, MD5), True),
        (asset(3, f"d50110{MD5}"), asset(3, MD5.upper()), True),
        (asset(3, MD5), asset(4, MD5), False),
        (asset(3, MD5), asset(3, OTHER), False),
        (asset(3, MD5), asset(3), True),
        (asset(3, MD5), asset(None, MD5), True),
        (asset(3, MD5), asset(), True),
        (asset(3), asset(3, MD5), False),
        (asset(3, "1220" + "0" * 64), asset(3, MD5), False),
        (asset(None, MD5), asset(3, MD5), False),
        (asset(0), asset(0), True),
    ],
)
def test_content_is_the_same_where_all_that_the_station_states_agrees(known: Asset, offered: Asset, same: bool) -> None:
    assert same_content(known, offered) is same


def test_a_checksum_of_the_station_that_says_nothing_fails_the_item() -> None:
    with pytest.raises(ItemFailed, match="bad-checksum"):
        same_content(asset(3, MD5), asset(3, "sha1"))


def expanded(name: str = "a.zip", size: int | None = 3, checksum: str | None = MD5) -> Item:
    source = {"name": name, "href": "s3://bucket/a.zip", "etag": "e", "size": size, "checksum": checksum}
    return item_of(
        assets={
            "plain.EOF": {"href": "s3://bucket/plain.EOF"},
            "a": {"href": "s3://bucket/a/", "file:size": 100, "aux_staging:source": source},
        }
    )


def test_the_content_of_an_archive_is_found_by_the_archive_s_key() -> None:
    shown = expanded()
    assert expanded_asset(shown, "a.zip", asset(3, MD5)) is shown.assets["a"]


@pytest.mark.parametrize("offered", [asset(4, MD5), asset(3, OTHER)])
def test_the_content_of_an_earlier_version_of_an_archive_is_not_that_of_this_one(offered: Asset) -> None:
    assert expanded_asset(expanded(), "a.zip", offered) is None


@pytest.mark.parametrize("key", ["b.zip", "a", "plain.EOF"])
def test_the_content_of_another_archive_is_not_that_of_this_one(key: str) -> None:
    assert expanded_asset(expanded(), key, asset(3, MD5)) is None


def test_archives_are_known_by_their_names_unless_they_are_expanded() -> None:
    source = {"name": "c.zip", "href": "s3://bucket/c.zip", "etag": "e"}
    item = item_of(
        assets={
            "a.ZIP": {"href": "h"},
            "b.EOF": {"href": "h.zip"},
            "c.tgz": {"href": "s3://bucket/c/", "aux_staging:source": source},
            "d.tar.gz": {"href": "h"},
        }
    )
    assert archives_of(item) == ["a.ZIP", "d.tar.gz"]


@pytest.mark.parametrize("shown", [None, item_of(), item_of(properties={"owner": "owner"})])
def test_an_item_that_is_nobody_else_s_may_be_staged(shown: Item | None) -> None:
    require_owner(run_of(), shown)


def test_an_item_of_another_owner_may_not_be_staged() -> None:
    with pytest.raises(ItemFailed, match="other-owner"):
        require_owner(run_of(), item_of(properties={"owner": "somebody"}))
