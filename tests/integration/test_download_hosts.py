"""A host to which a station's hrefs lead is a system of its own, if the station trusts it."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from local.processes import free_ports
from shared.context import Context
from shared.errors import Busy, Retryable
from shared.runs.outages import waiting_for_systems
from shared.runs.systems import Needs
from shared.stac.item import Asset
from shared.storage.location import Location
from tests.integration.test_transfer import CONTENT, SIZE, Server

STATION = """[station.one]
url = "{url}"
{hosts} = ["127.0.0.2"]
allow_private = true
"""
TARGET = Location("aux", "download-hosts/file")


@contextmanager
def serving(address: tuple[str, int]) -> Iterator[Server]:
    """A host at an address."""
    with Server(address) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def fetch(apart: Context, tmp_path: Path) -> Iterator[Callable[[str, str], Context]]:
    """Fetches an asset from a host of the field `hosts` for a step that waits for systems; returns the context."""
    contexts: list[Context] = []

    def make(hosts: str, url: str) -> Context:
        file = tmp_path / "stations.toml"
        if not contexts:
            file.write_text(STATION.format(url="http://127.0.0.1:9/auxip", hosts=hosts))
            contexts.append(Context(apart.settings.model_copy(update={"stations_file": file})))
        context = contexts[0]
        needs = Needs(("s3", "station one"), stac=f'{{"href": "{url}"}}')
        with waiting_for_systems(context, needs):
            asset = Asset.model_validate({"href": url, "file:size": SIZE})
            context.transfer("one").fetch(asset, TARGET, lambda _: None)
        return context

    yield make
    for each in contexts:
        each.close()


def test_a_trusted_host_that_is_away_is_waited_for(fetch: Callable[[str, str], Context], apart: Context) -> None:
    (port,) = free_ports(1)
    url = f"http://127.0.0.2:{port}/file"
    for _ in range(2):
        with pytest.raises(Busy, match=f"waiting for the host http://127.0.0.2:{port}"):
            fetch("trusted_domains", url)
    assert list(apart.outages.all()) == [f"host http://127.0.0.2:{port}"]
    with serving(("127.0.0.2", port)):
        apart.ledger.redis.delete(f"auxip:probe:host http://127.0.0.2:{port}")  # its pause is over
        context = fetch("trusted_domains", url)
    assert context.store.get(TARGET, SIZE) == CONTENT
    assert apart.outages.all() == {}


def test_an_item_that_names_a_host_which_no_station_trusts_is_at_fault_itself(
    fetch: Callable[[str, str], Context], apart: Context
) -> None:
    (port,) = free_ports(1)
    with pytest.raises(Retryable, match="station-unavailable"):
        fetch("allowed_hosts", f"http://127.0.0.2:{port}/file")
    assert apart.outages.all() == {}


def test_a_file_that_a_host_fails_to_give_is_the_fault_of_the_item_while_the_host_answers(
    fetch: Callable[[str, str], Context], apart: Context
) -> None:
    (port,) = free_ports(1)
    with serving(("127.0.0.2", port)), pytest.raises(Retryable, match="station-unavailable"):
        fetch("trusted_domains", f"http://127.0.0.2:{port}/status/503")
    assert apart.outages.all() == {}
