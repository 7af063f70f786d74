"""`auxip get`: the files of a staged item in a folder of this machine, verified."""

import json
from pathlib import Path

import pytest

from local import samples
from shared.context import Context
from shared.errors import AuxipError
from shared.stac.item import Item
from shared.steps.publish import publish_and_fetch, publish_expanded
from shared.steps.save import save_item
from shared.steps.stage import stage_item
from shared.storage.location import Location
from tests.integration.test_commands import auxip
from tests.integration.test_steps import Work, archive_of, expand


@pytest.fixture
def work(context: Context, collection: str) -> Work:
    """An item with an archive, staged and published."""
    made = Work(context, collection)
    made.do(stage_item, publish_and_fetch)
    return made


def saved(work: Work, folder: Path) -> list[Path]:
    return [*save_item(work.context, "steps", work.run.request.collection, work.record.item_id, folder)]


def shown(work: Work) -> Item:
    item = work.shown()
    assert item is not None
    return item


def files_below(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_file_is_what_the_store_has(work: Work, tmp_path: Path) -> None:
    (path,) = saved(work, tmp_path)
    assert path == tmp_path / samples.UPPER_CASE_ARCHIVE
    assert files_below(tmp_path) == {path.name: work.context.store.get(archive_of(work), 2**26)}


def test_the_content_of_an_archive_is_in_a_folder_of_its_own(work: Work, tmp_path: Path) -> None:
    work.do(expand, publish_expanded)
    (asset,) = [asset for asset in shown(work).assets.values() if asset.manifest]
    prefix = Location.parse(asset.href)
    store = work.context.store
    content = {stored.key.removeprefix(prefix.key): stored for stored in store.list(prefix)}

    paths = saved(work, tmp_path)
    name = prefix.key.rstrip("/").rpartition("/")[2]
    assert files_below(tmp_path) == {
        f"{name}/{path}": store.get(Location(prefix.bucket, stored.key), 2**26) for path, stored in content.items()
    }
    assert len(paths) == len(content) > 0


def test_a_second_time_changes_nothing(work: Work, tmp_path: Path) -> None:
    (path,) = saved(work, tmp_path)
    before = path.stat().st_mtime_ns
    assert saved(work, tmp_path) == [path]
    assert path.stat().st_mtime_ns == before


def test_another_file_of_the_name_stays(work: Work, tmp_path: Path) -> None:
    (tmp_path / samples.UPPER_CASE_ARCHIVE).write_bytes(b"mine")
    with pytest.raises(AuxipError, match="file-exists"):
        saved(work, tmp_path)
    assert files_below(tmp_path) == {samples.UPPER_CASE_ARCHIVE: b"mine"}


@pytest.mark.parametrize(
    ("damage", "code"), [(b"", "size-mismatch"), ("same size", "checksum-mismatch"), (None, "s3-mismatch")]
)
def test_what_is_not_as_it_was_published_gets_no_name(
    work: Work, tmp_path: Path, damage: bytes | str | None, code: str
) -> None:
    archive, store = archive_of(work), work.context.store
    if damage is None:
        store.delete(archive)
    else:
        stored = store.head(archive)
        assert stored is not None
        store.put(archive, b"x" * stored.size if isinstance(damage, str) else damage)
    with pytest.raises(AuxipError, match=code):
        saved(work, tmp_path)
    assert files_below(tmp_path) == {}


@pytest.mark.long
def test_the_command_names_the_files(work: Work, tmp_path: Path) -> None:
    options = ["--collection", work.run.request.collection, "--owner", "steps", "--to", str(tmp_path)]
    item_id = work.record.item_id
    ended = auxip("get", item_id, *options, "--json")
    assert json.loads(ended.stdout) == {
        "item": item_id,
        "files": [str(tmp_path / samples.UPPER_CASE_ARCHIVE)],
    }
    missing = auxip("get", "NO_SUCH_ITEM", *options)
    assert missing.returncode == 1
    assert missing.stderr.startswith("auxip: unknown-item: ")
