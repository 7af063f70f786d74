"""The .DBL beside a .HDR, as S2 ECMWF and CAMS products have it: expanded on request, if it is an archive."""

import hashlib
import json
from collections.abc import Callable
from typing import Any

import pytest

from local.stack import Stack
from shared.context import Context
from shared.json_types import Json
from shared.models import ItemState
from shared.runs.settle import settle_item
from shared.stac.item import Item
from shared.steps.expand import expand_asset
from shared.steps.publish import publish_and_fetch, publish_expanded
from shared.steps.stage import stage_item
from shared.storage.location import Location
from tests.golden.make import tar_of, tgz_of
from tests.integration.archives.test_expand_command import hold, keys
from tests.integration.conftest import Caller
from tests.integration.test_already_staged import PLAIN, feature
from tests.integration.test_commands import auxip, last_object
from tests.integration.test_steps import Work

FILES = {"ecmwf/one.grib": b"GRIB one", "ecmwf/two.grib": b"GRIB two"}
TAR = tar_of(FILES)
GRIB = b"GRIB and no archive"
Begin = Callable[..., Work]


@pytest.fixture
def begin(context: Context, stack: Stack, collection: str) -> Begin:
    """Begin a run over an item of a station whose only asset is a .DBL with this content, which is ASCII."""

    def made(content: bytes, **more: Any) -> Work:
        item = feature(stack, [PLAIN])
        asset: Json = item["assets"][PLAIN.name]  # type: ignore[assignment,index,call-overload]
        facts: Json = {
            "file:size": len(content),
            "file:checksum": hashlib.md5(content, usedforsecurity=False).hexdigest(),
        }
        item["assets"] = {"X.DBL": {**asset, **facts}}
        page = json.dumps({"type": "FeatureCollection", "features": [item], "links": []})
        stack.set_station_faults(
            [
                {"path": "/search", "method": "POST", "body": page},
                {"path": "/Products", "method": "GET", "body": content.decode("ascii")},
            ]
        )
        return Work(context, collection, PLAIN.item_id, **more)

    return made


def expand_block(work: Work) -> None:
    expand_asset(work.context, work.run, work.record, "X.DBL")


def shown(work: Work) -> Item:
    item = work.shown()
    assert item is not None
    return item


def test_a_data_block_is_a_file_unless_a_run_asks_for_its_content(begin: Begin) -> None:
    work = begin(TAR)
    work.do(stage_item, publish_and_fetch, settle_item)
    assert (work.record.state, set(shown(work).assets)) == (ItemState.CATALOGUED, {"X.DBL"})


def test_a_data_block_that_is_a_tar_is_expanded_on_request(begin: Begin, context: Context) -> None:
    work = begin(TAR, dbl=True)
    work.do(stage_item, publish_and_fetch)
    expand_block(work)
    work.do(publish_expanded, settle_item)

    assert work.record.state is ItemState.EXPANDED
    (asset,) = shown(work).assets.values()
    prefix = Location.parse(asset.href)
    found = {stored.key.rpartition("/")[2] for stored in context.store.list(prefix)}
    assert found == {"one.grib", "two.grib"}
    again = begin(TAR, dbl=True)
    again.do(stage_item, publish_and_fetch, settle_item)
    assert again.record.code == "already-staged"


def test_one_that_is_no_archive_stays_a_file_and_fails_nothing(begin: Begin) -> None:
    work = begin(GRIB, dbl=True)
    work.do(stage_item, publish_and_fetch)
    expand_block(work)
    work.do(publish_expanded, settle_item)

    assert work.record.finished is not None
    assert work.run.counts.failed == 0
    assert set(shown(work).assets) == {"X.DBL"}


def test_auxip_expand_takes_a_data_block_that_is_named(caller: Caller, context: Context) -> None:
    archive = hold(context, tgz_of(FILES), "x.DBL")
    ended = auxip("expand", archive.href)
    assert ended.returncode == 0, ended.stderr
    assert len(keys(context, archive)) == 2
    assert context.store.head(archive) is None


def test_auxip_expand_refuses_one_that_is_no_archive(caller: Caller, context: Context) -> None:
    archive = hold(context, GRIB, "x.DBL")
    ended = auxip("expand", archive.href, "--json")
    assert (ended.returncode, last_object(ended.stdout)["code"]) == (3, "archive-type-mismatch")
    assert context.store.get(archive, 100) == GRIB


@pytest.mark.long
def test_auxip_expand_looks_for_data_blocks_within_an_archive_on_request(context: Context, tmp_path: Any) -> None:
    file = tmp_path / "x.tgz"
    file.write_bytes(tgz_of({"x.HDR": b"header", "x.DBL": TAR}))
    looked = auxip("expand", "--local", str(file), "--dry-run")
    assert "2 members" in looked.stdout.splitlines()[-1]
    looked = auxip("expand", "--local", str(file), "--dry-run", "--dbl")
    assert "3 members" in looked.stdout.splitlines()[-1]
