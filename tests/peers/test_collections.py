"""Collections of pgSTAC: created by `auxip collection create`, and searched by properties whose types it knows."""

import subprocess
import sys
import uuid

import httpx
import pytest

from shared.json_types import Json
from tests.peers.deployment import Deployment
from tests.peers.pgstac import PgStac
from tests.peers.programs import ROOT, programs

QUERYABLES = ROOT / "deploy-example-queryables.json"


def auxip(deployment: Deployment, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run the command beside a deployment."""
    command = [sys.executable, "-m", "workers.cli", *arguments]
    return subprocess.run(command, env=deployment.environment, capture_output=True, text=True, check=False)


def create(deployment: Deployment, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return auxip(deployment, "collection", "create", *arguments)


@pytest.mark.long
def test_a_collection_is_created_in_pgstac_once(on_pgstac: Deployment, pgstac: PgStac) -> None:
    name = f"new-{uuid.uuid4().hex[:8]}"
    first, second = create(on_pgstac, name, "--description", "of a test"), create(on_pgstac, name)

    assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
    assert "is created" in first.stdout
    assert "exists already" in second.stdout
    assert pgstac.call("GET", f"/collections/{name}").json()["description"] == "of a test"


@pytest.mark.parametrize("name", ["published", "created", "processing:datetime"])
def test_a_filter_compares_instants_once_the_queryables_are_loaded(pgstac: PgStac, name: str) -> None:
    collection = pgstac.new_collection()
    when: Json = {"datetime": "2024-01-01T00:00:00Z"}
    items: list[dict[str, object]] = [
        {"id": "early", "properties": {**when, name: "2024-01-01T01:00:00+01:00"}},
        {"id": "late", "properties": {**when, name: "2024-01-01T00:00:00.500Z"}},
    ]
    pgstac.add_items(
        collection,
        [{"type": "Feature", "stac_version": "1.1.0", "links": [], "assets": {}, **item} for item in items],
    )
    load = [str(programs("pgstac") / "pypgstac"), "load_queryables", str(QUERYABLES)]
    subprocess.run(load, env=pgstac.postgres.environment(pgstac.database), check=True)

    until = {"op": "<=", "args": [{"property": name}, {"timestamp": "2024-01-01T00:00:00Z"}]}
    body = {"collections": [collection], "filter-lang": "cql2-json", "filter": until}
    found = httpx.post(f"{pgstac.url}/search", json=body, trust_env=False)
    assert [item["id"] for item in found.raise_for_status().json()["features"]] == ["early"]
