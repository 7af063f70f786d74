"""An owner's data, reports included, go to the owner's place, and the catalog sees the owner's key."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from shared.context import Context
from shared.errors import ItemFailed, Refused
from shared.runs.close import close
from shared.selection import Given
from shared.steps.stage import stage_item
from shared.storage.location import Location
from tests.integration.test_already_staged import ARCHIVE, EXPANDING, PLAIN, done, shown
from tests.integration.test_steps import Work

OWNERS = """
[owner.steps]
prefix = "of-steps/"
[owner.stranger]
catalog_api_key = { env = "STRANGERS_KEY" }
"""


@pytest.fixture
def owners(context: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Context]:
    monkeypatch.setenv("STRANGERS_KEY", "not-the-catalogs")
    file = tmp_path / "owners.toml"
    file.write_text(OWNERS)
    with closing(Context(context.settings.model_copy(update={"owners_file": file}))) as opened:
        yield opened


def test_assets_content_and_reports_are_at_the_owners_place(owners: Context, collection: str) -> None:
    work = Work(owners, collection, ARCHIVE.item_id)
    work.do(*EXPANDING)
    close(owners, work.run)

    bucket = owners.settings.s3_bucket
    (expanded,) = shown(work).assets.values()
    assert expanded.href.startswith(f"s3://{bucket}/of-steps/steps/{collection}/{ARCHIVE.item_id}/")
    assert (expanded.manifest or "").startswith(f"s3://{bucket}/of-steps/steps/{collection}/")
    assert work.run.artifact == f"s3://{bucket}/of-steps/runs/{work.run_id}/report.json"
    assert owners.store.head(Location.parse(work.run.artifact)) is not None


def test_an_owner_who_is_not_in_the_file_is_as_the_settings_say(owners: Context, collection: str) -> None:
    work = Work(owners, collection, PLAIN.item_id, owner="nobody")
    work.do(stage_item)

    staged = work.record.staged_assets[PLAIN.name]
    assert staged.href == f"s3://{owners.settings.s3_bucket}/nobody/{collection}/{PLAIN.item_id}/{PLAIN.name}"


def test_the_catalog_is_asked_with_the_owners_key(owners: Context, collection: str) -> None:
    work = Work(owners, collection, PLAIN.item_id, owner="somebody")
    request = work.run.request.model_copy(update={"owner": "stranger"})
    with pytest.raises(Refused, match="catalog-unauthorized") as raised:
        stage_item(owners, work.run.model_copy(update={"request": request}), work.record)

    assert "not-the-catalogs" not in raised.value.reason


def test_an_item_is_staged_anew_where_its_owner_has_moved_to(
    owners: Context, context: Context, collection: str
) -> None:
    before = shown(done(context, collection, PLAIN)).assets[PLAIN.name]
    after = shown(done(owners, collection, PLAIN)).assets[PLAIN.name]

    assert after.href == before.href.replace("/steps/", "/of-steps/steps/", 1)
    assert context.store.head(Location.parse(before.href)) is not None


def test_archives_of_another_owners_item_are_not_expanded(context: Context, collection: str) -> None:
    done(context, collection, ARCHIVE, decompress=False)
    with pytest.raises(ItemFailed, match="other-owner"):
        Work(context, collection, owner="other", selection=Given(item_id=ARCHIVE.item_id))
