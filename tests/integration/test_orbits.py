"""Orbits from a public bucket and the inputs of a product: found, saved, and staged by whole runs."""

import hashlib
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from local import samples
from local.stack import Stack
from shared.context import Context
from tests.integration.conftest import Caller, closed_run
from tests.integration.test_commands import auxip, counts_in, last_object
from tests.integration.test_runs import SECONDS, result_of
from tests.stations.bucket import Bucket, fill, orbit_key
from tests.stations.serving import Reply

SCENE = "S1A_IW_SLC__1SDV_20250310T170000_20250310T170027_058244_0732B5_1A2B"
PRECISE = "S1A_OPER_AUX_POEORB_OPOD_20250330T120000_V20250309T225942_20250311T005942"
RESTITUTED = "S1A_OPER_AUX_RESORB_OPOD_20250310T193100_V20250310T150000_20250310T190000"
CONTENT = b"<Earth_Explorer_File/>"


@pytest.fixture
def bucket(orbits: Bucket, stack: Stack) -> Iterator[Bucket]:
    """The bucket with two weeks of orbits, of which those of the scene have a content of their own."""
    fill(orbits, datetime(2025, 3, 1, tzinfo=UTC), 14)
    passes = datetime(2025, 3, 10, 15, tzinfo=UTC)
    orbits.add(orbit_key("RESORB", "S1A", passes + timedelta(hours=4, minutes=31), passes, passes + timedelta(hours=4)))
    orbits.objects |= {f"AUX_POEORB/{PRECISE}.EOF": CONTENT}
    yield orbits
    orbits.objects.clear()


def without_precise(bucket: Bucket) -> None:
    bucket.objects = {key: content for key, content in bucket.objects.items() if "POEORB" not in key}


def orbit(*arguments: str) -> tuple[int, dict[str, object], str]:
    ended = auxip("orbit", f"{SCENE}.SAFE", "--station", "orbits", "--json", *arguments)
    return ended.returncode, last_object(ended.stdout) if ended.stdout else {}, ended.stderr


# From the bucket


def test_a_run_stages_the_precise_orbit_of_a_scene_and_the_catalog_shows_it(
    bucket: Bucket, caller: Caller, context: Context
) -> None:
    message = {"scene": SCENE, "catalog_collection_identifier": caller.collection, "station": "orbits"}
    status, items = result_of(caller.send("auxip.orbit", **message).get(SECONDS))

    assert status is True
    (item,) = items
    assert item.id == PRECISE
    assert item.properties["platform"] == "sentinel-1a"
    (asset,) = item.assets.values()
    assert asset.href.startswith("s3://")
    assert asset.checksum == f"d50110{hashlib.md5(CONTENT, usedforsecurity=False).hexdigest()}"
    ((shown,),) = context.catalog_of("").items(caller.collection, [PRECISE])
    assert shown["id"] == PRECISE


def test_a_run_for_a_scene_without_an_orbit_is_empty(bucket: Bucket, caller: Caller) -> None:
    bucket.objects.clear()
    message = {"scene": SCENE, "catalog_collection_identifier": caller.collection, "station": "orbits"}
    assert result_of(caller.send("auxip.orbit", **message).get(SECONDS)) == (True, [])


def test_the_command_finds_the_precise_orbit_and_saves_it_verified(bucket: Bucket, tmp_path: Path) -> None:
    status, said, error = orbit("--to", str(tmp_path))
    assert status == 0, error
    assert said == {
        "scene": SCENE,
        "orbit": PRECISE,
        "kind": "precise",
        "station": "orbits",
        "size": len(CONTENT),
        "precise_due": "2025-03-30T17:00:27Z",
        "files": [str(tmp_path / f"{PRECISE}.EOF")],
    }
    assert (tmp_path / f"{PRECISE}.EOF").read_bytes() == CONTENT
    assert len([*tmp_path.iterdir()]) == 1


def test_the_command_says_when_the_better_orbit_is_due(bucket: Bucket) -> None:
    without_precise(bucket)
    ended = auxip("orbit", SCENE, "--station", "orbits")
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.startswith(f"{RESTITUTED}: the restituted orbit, 5 bytes, of the station orbits\n")
    assert "the precise one is due about 2025-03-30T17:00:27Z" in ended.stdout.replace("was due", "is due")


@pytest.mark.long
def test_the_command_ends_with_1_where_there_is_no_orbit(bucket: Bucket) -> None:
    bucket.objects.clear()
    status, said, error = orbit()
    assert status == 1
    assert said["error"]["code"] == "nothing-found"  # type: ignore[index]
    assert error.startswith(f"auxip: nothing-found: no orbit file covers {SCENE}; the precise one")


@pytest.mark.long
def test_the_command_asks_again_where_the_station_stumbles(bucket: Bucket) -> None:
    bucket.listing = [Reply(b"slow down", 503)]
    status, said, error = orbit()
    assert (status, said.get("orbit")) == (0, PRECISE), error


@pytest.mark.long
def test_a_saved_file_that_is_another_one_stays_and_fails_the_command(bucket: Bucket, tmp_path: Path) -> None:
    (tmp_path / f"{PRECISE}.EOF").write_bytes(b"mine")
    status, _, error = orbit("--to", str(tmp_path))
    assert status == 1
    assert "auxip: file-exists: " in error
    assert (tmp_path / f"{PRECISE}.EOF").read_bytes() == b"mine"


@pytest.mark.long
def test_wrong_bytes_are_not_saved(bucket: Bucket, tmp_path: Path) -> None:
    bucket.etags[f"AUX_POEORB/{PRECISE}.EOF"] = "0" * 32
    status, _, error = orbit("--to", str(tmp_path))
    bucket.etags.clear()
    assert status == 1
    assert "auxip: checksum-mismatch: " in error
    assert [*tmp_path.iterdir()] == []


@pytest.mark.long
def test_the_command_stages_what_it_has_found(bucket: Bucket, caller: Caller, context: Context) -> None:
    owner = str(caller.env["owner_id"])
    status, said, error = orbit("--stage", "--collection", caller.collection, "--owner", owner)
    assert status == 0, error
    assert (said["status"], counts_in(said)["items"], counts_in(said)["staged"]) == ("successful", 1, 1)
    assert closed_run(context, str(said["run"])).request.owner == owner


@pytest.mark.long
def test_a_name_that_is_no_scene_is_refused(bucket: Bucket) -> None:
    ended = auxip("orbit", "S2A_MSIL1C_20200101T170000", "--station", "orbits")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith("auxip: bad-scene: ")


# The inputs of a product

MISSING = "S1A_AUX_CAL_V20190228T092500_G20210104T141310"


@pytest.fixture
def there() -> str:
    """A file of the demo's station."""
    return next(each.name for each in samples.catalogue() if "_AUX_PP2_" in each.name)


@pytest.fixture
def product(there: str, tmp_path: Path) -> Path:
    """A product that names it, and one that the station lacks."""
    folder = tmp_path / f"{SCENE}.SAFE"
    folder.mkdir()
    names = (there, f"{MISSING}.SAFE")
    resources = "".join(f'<safe:resource name="./{name}" role="AUX"/>' for name in names)
    (folder / "manifest.safe").write_text(f'<x xmlns:safe="http://www.esa.int/safe/sentinel-1.0">{resources}</x>')
    return folder


def test_the_command_lists_what_the_station_has_of_the_inputs_and_what_it_lacks(product: Path, there: str) -> None:
    ended = auxip("aux", str(product), "--json")
    assert ended.returncode == 1
    said = json.loads(ended.stdout)
    assert said["product"] == f"{SCENE}.SAFE"
    found, missing = said["inputs"]
    assert (found["name"], found["found"]) == (there.removesuffix(".SAFE"), True)
    assert (missing["name"], missing["found"], missing["code"]) == (MISSING, False, "not-offered")


@pytest.mark.long
def test_the_command_saves_the_inputs_that_there_are(product: Path, there: str, tmp_path: Path) -> None:
    folder = tmp_path / "saved"
    folder.mkdir()
    ended = auxip("aux", str(product), "--to", str(folder))
    assert ended.returncode == 1
    assert [path.name for path in folder.iterdir()] == [there]
    assert [line for line in ended.stdout.splitlines() if MISSING in line and "missing" in line]


def test_a_run_stages_inputs_by_their_names_and_names_those_that_are_missing(
    caller: Caller, context: Context, there: str
) -> None:
    message = {"names": [there, f"{MISSING}.SAFE"], "catalog_collection_identifier": caller.collection}
    sent = caller.send("auxip.aux", **message)
    status, items = result_of(sent.get(SECONDS))
    assert (status, [item.id for item in items]) == (False, [there.removesuffix(".SAFE")])
    records = {record.item_id: record.code for record in context.ledger.items(str(sent.id))}
    assert records == {there.removesuffix(".SAFE"): "", MISSING: "not-offered"}


@pytest.mark.long
def test_the_command_stages_the_inputs(product: Path, caller: Caller) -> None:
    ended = auxip("aux", str(product), "--stage", "--collection", caller.collection, "--json")
    assert ended.returncode == 1
    inputs, run = map(json.loads, ended.stdout.strip().splitlines())
    assert [each["found"] for each in inputs["inputs"]] == [True, False]
    assert (run["status"], run["counts"]["staged"], run["counts"]["failed"]) == ("partial", 1, 1)
