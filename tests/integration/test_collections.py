"""`auxip collection create`: a collection of the catalog, created once, with the key of its owner."""

import json
import uuid
from pathlib import Path

import pystac
import pytest

from local.stack import Stack
from shared.context import Context
from tests.integration.conftest import Caller
from tests.integration.test_commands import WINDOW, auxip, last_object


@pytest.fixture
def name() -> str:
    return f"new-{uuid.uuid4().hex[:8]}"


def shown(context: Context, name: str) -> dict[str, object]:
    return dict(context.catalog_of("any").api.call("GET", f"/collections/{name}").body)


def test_a_collection_is_created_as_stac_describes_it(context: Context, stack: Stack, name: str) -> None:
    done = auxip("collection", "create", name, "--description", "orbits of one test", "--owner", "operations")

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"collection {name} is created ({context.settings.catalog_url})\n"
    collection = pystac.Collection.from_dict(shown(context, name))
    assert (collection.description, collection.license) == ("orbits of one test", "other")
    assert collection.extra_fields["owner"] == "operations"
    context.catalog_of("any").require_collection(name)


@pytest.mark.long
def test_one_that_exists_already_stays_as_it_is(context: Context, stack: Stack, name: str) -> None:
    assert last_object(auxip("collection", "create", name, "--json").stdout) == {"collection": name, "created": True}
    before = shown(context, name)
    again = auxip("collection", "create", name, "--description", "another")

    assert (again.returncode, again.stderr) == (0, "")
    assert "exists already" in again.stdout
    assert shown(context, name) == before
    assert last_object(auxip("collection", "create", name, "--json").stdout) == {"collection": name, "created": False}


@pytest.mark.parametrize("arguments", [["a/b"], [".."], ["x" * 129], ["x", "--owner", "a b"], []])
def test_a_name_that_is_none_is_wrong_usage(stack: Stack, arguments: list[str]) -> None:
    assert auxip("collection", "create", *arguments).returncode == 2


def test_a_run_into_a_collection_that_is_missing_says_how_to_create_it(
    caller: Caller, workers: object, name: str
) -> None:
    done = auxip("stage", *WINDOW, "--product-type", "OPER_MPL_ORBPRE", "--collection", name)

    assert done.returncode == 1
    assert f"create it with `auxip collection create {name}`" in " ".join((done.stdout + done.stderr).split())


@pytest.mark.long
def test_the_key_of_the_owner_is_sent_and_its_refusal_names_the_setting(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    owners = tmp_path / "owners.toml"
    owners.write_text('[owner.stranger]\ncatalog_api_key = { env = "STRANGERS_KEY" }\n')
    monkeypatch.setenv("AUXIP_OWNERS_FILE", str(owners))
    monkeypatch.setenv("STRANGERS_KEY", "of-a-stranger")
    refused = auxip("collection", "create", name, "--owner", "stranger")

    assert refused.returncode == 1
    assert refused.stderr.startswith("auxip: catalog-unauthorized: ")
    assert "check AUXIP_CATALOG_API_KEY" in refused.stderr
    assert "of-a-stranger" not in refused.stderr
    assert auxip("collection", "create", name).returncode == 0
    assert json.dumps(name) in auxip("collection", "create", name, "--json").stdout
