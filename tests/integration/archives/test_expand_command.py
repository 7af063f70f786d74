"""`auxip expand`, as a person or a script runs it."""

import os
import uuid

import pytest

from shared.archives import prefix_for
from shared.context import Context
from shared.settings import PREFIX
from shared.storage.location import Location
from tests.golden.cases import GOLDEN, archive_of
from tests.golden.make import CASES, DATA, XML
from tests.integration.conftest import Caller
from tests.integration.test_commands import AUXIP, auxip, last_object

SOUND = CASES["zip-deflate/product.zip"]()
UNSAFE = CASES["unsafe-many-at-once/x.zip"]()


def hold(context: Context, data: bytes, name: str = "x.zip") -> Location:
    location = Location(context.settings.s3_bucket, f"auxip/expand-{uuid.uuid4().hex[:8]}/{name}")
    context.store.put(location, data)
    return location


def keys(context: Context, archive: Location) -> list[str]:
    return sorted(stored.key for stored in context.store.list(prefix_for(archive)))


@pytest.mark.long
def test_expand_replaces_the_archive_and_prints_what_was_written(caller: Caller, context: Context) -> None:
    archive = hold(context, SOUND)
    ended = auxip("expand", archive.href)

    assert ended.returncode == 0, ended.stderr
    assert [line.split()[0] for line in ended.stdout.splitlines()[:3]] == [str(len(XML)), str(len(DATA)), "0"]
    assert ended.stdout.splitlines()[-1].startswith(f"{archive.href} is expanded: 3 objects below ")
    assert context.store.head(archive) is None
    assert len(keys(context, archive)) == 3


@pytest.mark.long
def test_expand_as_json_is_the_manifest(caller: Caller, context: Context) -> None:
    archive = hold(context, SOUND)
    ended = auxip("expand", archive.href, "--json")

    said = last_object(ended.stdout)
    assert (said["state"], said["archive"], said["prefix"]) == ("complete", archive.href, prefix_for(archive).href)
    members = said["members"]
    assert isinstance(members, list)
    assert [member["path"] for member in members] == ["a.xml", "b.dat", "empty"]


@pytest.mark.long
@pytest.mark.parametrize(
    ("data", "name", "code"),
    [(UNSAFE, "x.zip", "archive-unsafe"), (b"", "x.rar", "unsupported-archive"), (SOUND, "x.tgz", "archive-type-")],
)
def test_an_archive_that_is_refused_stays_and_the_status_is_3(
    caller: Caller, context: Context, data: bytes, name: str, code: str
) -> None:
    archive = hold(context, data, name)
    ended = auxip("expand", archive.href, "--json")

    assert ended.returncode == 3, ended.stderr
    said = last_object(ended.stdout)
    assert str(said["code"]).startswith(code)
    assert context.store.get(archive, 10**6) == data


@pytest.mark.long
def test_every_problem_of_a_refused_archive_is_told(caller: Caller, context: Context) -> None:
    ended = auxip("expand", hold(context, UNSAFE).href, "--json")

    problems = last_object(ended.stdout)["problems"]
    assert isinstance(problems, list)
    assert [problem["path"] for problem in problems] == ["../a", "/b", "c\\d"]


def test_a_dry_run_lists_every_member_and_writes_nothing(context: Context) -> None:
    archive = hold(context, SOUND)
    ended = auxip("expand", archive.href, "--dry-run", "--json")

    assert ended.returncode == 0, ended.stderr
    said = last_object(ended.stdout)
    members = said["members"]
    assert isinstance(members, list)
    assert [(member["path"], member["source"]) for member in members] == [
        ("a.xml", "a.xml"),
        ("b.dat", "data/b.dat"),
        ("empty", "data/empty"),
    ]
    assert keys(context, archive) == []
    assert context.store.get(archive, 10**6) == SOUND


def test_a_dry_run_lists_every_problem_and_the_status_is_3(context: Context) -> None:
    archive = hold(context, UNSAFE)
    ended = auxip("expand", archive.href, "--dry-run")

    assert ended.returncode == 3
    assert [line.split()[1] for line in ended.stdout.splitlines() if "refused " in line][:3] == [
        "path-traversal",
        "absolute-path",
        "backslash",
    ]


@pytest.mark.parametrize(("held", "code", "status"), [("foreign", "prefix-taken", 3), ("", "archive-missing", 1)])
def test_a_dry_run_says_when_the_archive_or_its_place_is_not_there(
    context: Context, held: str, code: str, status: int
) -> None:
    archive = hold(context, SOUND)
    if held:
        context.store.put(Location(archive.bucket, prefix_for(archive).key + held), b"x")
    else:
        context.store.delete(archive)

    ended = auxip("expand", archive.href, "--dry-run")

    assert ended.returncode == status
    assert f"auxip: {code}: " in ended.stderr


@pytest.mark.long
@pytest.mark.parametrize(("case", "status"), [("nested-zip", 0), ("zip-deflate64", 0), ("damaged-tgz-crc", 3)])
def test_a_file_on_disk_is_looked_at_without_any_server_or_setting(case: str, status: int) -> None:
    import subprocess

    archive = archive_of(GOLDEN / case)
    environ = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    ended = subprocess.run(  # noqa: S603 - our own program
        [*AUXIP, "expand", "--local", str(archive), "--dry-run", "--json"],
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert ended.returncode == status, ended.stderr
    assert last_object(ended.stdout)["refused"] is (status == 3)


@pytest.mark.long
@pytest.mark.parametrize("arguments", [[], ["s3://b/x.zip", "--local", __file__], ["--local", __file__]])
def test_without_one_archive_to_look_at_the_usage_is_told(arguments: list[str]) -> None:
    ended = auxip("expand", *arguments)

    assert ended.returncode == 2
    assert "give HREF, or --local FILE with --dry-run" in ended.stderr
