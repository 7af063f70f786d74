"""Checksums of a station: of every spelling and algorithm that stations use, of none, and what cannot be read."""

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from blake3 import blake3

from local.stack import Stack
from shared.context import Context
from shared.errors import ItemFailed, Retryable
from shared.json_types import Json
from shared.models import ItemState
from shared.report import report_items
from shared.runs.settle import settle_item
from shared.steps.publish import publish_and_fetch
from shared.steps.stage import stage_item
from tests.integration.test_already_staged import PLAIN, WITHOUT_EXPANSION, feature, offering
from tests.integration.test_steps import Work

CONTENT = PLAIN.build()
SIZE = len(CONTENT)
MD5 = hashlib.md5(CONTENT, usedforsecurity=False).hexdigest()
UNREADABLE = "sm3:" + "0f" * 32


@pytest.fixture
def lenient(context: Context, tmp_path: Path) -> Iterator[Context]:
    """The context of the stack, whose station has `unreadable_checksums = "stage"`."""
    file = tmp_path / "stations.toml"
    text = context.settings.stations_file.read_text()
    file.write_text(text.replace("\nurl = ", '\nunreadable_checksums = "stage"\nurl = ', 1))
    made = Context(context.settings.model_copy(update={"stations_file": file}))
    yield made
    made.close()


Begin = Callable[..., Work]


@pytest.fixture
def begin(context: Context, stack: Stack, collection: str) -> Begin:
    """Begin a run over the item of a station that states some fields of its only asset so."""

    def made(by: Context = context, **fields: object) -> Work:
        item = feature(stack, [PLAIN])
        asset: Json = item["assets"][PLAIN.name]  # type: ignore[assignment,index,call-overload]
        item["assets"] = {PLAIN.name: {**asset, **fields}}  # type: ignore[dict-item]
        with offering(stack, item):
            return Work(by, collection, PLAIN.item_id)

    return made


@pytest.mark.parametrize(
    ("stated", "published"),
    [
        (MD5.upper(), f"d50110{MD5}"),
        (f"D50110{MD5.upper()}", f"d50110{MD5}"),
        (f"1e20{blake3(CONTENT).hexdigest()}", f"1e20{blake3(CONTENT).hexdigest()}"),
        (f"1620{hashlib.sha3_256(CONTENT).hexdigest()}", f"1620{hashlib.sha3_256(CONTENT).hexdigest()}"),
    ],
    ids=["md5", "multihash", "blake3", "sha3"],
)
def test_an_asset_is_proven_by_the_checksum_that_its_station_states(begin: Begin, stated: str, published: str) -> None:
    work = begin(**{"file:checksum": stated})
    work.do(*WITHOUT_EXPANSION)

    assert (work.record.state, work.record.code) == (ItemState.CATALOGUED, "")
    shown = work.shown()
    assert shown is not None
    assert shown.assets[PLAIN.name].checksum == published
    again = begin(**{"file:checksum": stated})
    again.do(*WITHOUT_EXPANSION)
    assert again.record.code == "already-staged"


def test_an_asset_with_another_blake3_is_not_staged(begin: Begin) -> None:
    work = begin(**{"file:checksum": f"1e20{blake3(b'other').hexdigest()}"})
    with pytest.raises(Retryable, match=r"checksum-mismatch.*blake3"):
        work.do(stage_item)


@pytest.mark.parametrize("size", [0, "0", str(SIZE)])
@pytest.mark.parametrize("stated", [MD5, f"1e20{blake3(CONTENT).hexdigest()}"], ids=["md5", "blake3"])
def test_a_size_of_0_beside_the_checksum_of_a_file_means_unknown(begin: Begin, size: object, stated: str) -> None:
    for code in ("", "already-staged"):
        work = begin(**{"file:size": size, "file:checksum": stated})
        work.do(*WITHOUT_EXPANSION)
        assert work.record.code == code

    shown = work.shown()
    assert shown is not None
    assert shown.assets[PLAIN.name].size == SIZE


@pytest.mark.parametrize("checksum", [None, hashlib.md5(b"", usedforsecurity=False).hexdigest()])
def test_a_size_of_0_that_nothing_contradicts_is_a_size(begin: Begin, checksum: str | None) -> None:
    work = begin(**{"file:size": 0, "file:checksum": checksum})
    with pytest.raises(Retryable, match="size-mismatch"):
        work.do(stage_item)


@pytest.mark.parametrize("checksum", [UNREADABLE, "", MD5[:-1], "a0e40220" + "00" * 32])
def test_a_checksum_that_cannot_be_read_fails_the_item(begin: Begin, checksum: str) -> None:
    work = begin(**{"file:checksum": checksum})
    with pytest.raises(ItemFailed, match="bad-checksum"):
        work.do(stage_item)


@pytest.mark.parametrize(
    ("checksum", "algorithm"),
    [(UNREADABLE, "algorithm sm3"), (MD5[:-1], "unknown algorithm"), ("a0e40220" + "00" * 32, "code 0xb220")],
)
@pytest.mark.parametrize("size", [0, SIZE])
def test_where_the_station_is_set_to_stage_the_report_says_what_was_not_proven(
    begin: Begin, lenient: Context, checksum: str, algorithm: str, size: int
) -> None:
    work = begin(lenient, **{"file:size": size, "file:checksum": checksum})
    work.do(stage_item, publish_and_fetch, settle_item)

    told = json.loads(next(report_items([work.record])))
    assert (told["status"], told["code"]) == ("catalogued", "unproven")
    assert algorithm in told["reason"]
    assert PLAIN.name in told["reason"]
    shown = work.shown()
    assert shown is not None
    assert shown.assets[PLAIN.name].checksum == f"d50110{MD5}"
    again = begin(lenient, **{"file:checksum": checksum})
    again.do(*WITHOUT_EXPANSION)
    assert again.record.code == "already-staged"


def test_what_is_staged_unproven_must_still_have_the_stated_size(begin: Begin, lenient: Context) -> None:
    work = begin(lenient, **{"file:size": SIZE + 1, "file:checksum": UNREADABLE})
    with pytest.raises(Retryable, match="size-mismatch"):
        work.do(stage_item)


def test_the_setting_to_stage_does_not_let_a_wrong_checksum_pass(begin: Begin, lenient: Context) -> None:
    work = begin(lenient, **{"file:checksum": "0" * 32})
    with pytest.raises(Retryable, match="checksum-mismatch"):
        work.do(stage_item)
