"""What a step works with: each part made when it is first needed, and closed only where it was made."""

from contextlib import closing
from pathlib import Path

import httpx
import pytest

from shared.context import Context
from shared.errors import Rejected
from shared.settings import Settings
from tests.unit.making import settings_of


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    file = tmp_path / "stations.toml"
    file.write_text('[station.first]\nurl = "http://first.example"\n[station.second]\nurl = "http://second.example"\n')
    return settings_of(stations_file=file, staging_url="http://staging.example")


def test_a_context_that_nobody_used_has_nothing_to_close() -> None:
    context = Context(settings_of())
    context.close()
    assert set(vars(context)) == {"settings", "_stations", "_catalogs", "_catalog_apis", "_transfers"}


@pytest.mark.parametrize("part", ["ledger", "owners", "staging_service", "store"])
def test_each_part_is_made_once_and_without_a_connection(part: str, settings: Settings) -> None:
    with closing(Context(settings)) as context:
        assert getattr(context, part) is getattr(context, part)


def test_each_station_is_made_once_and_the_first_one_is_the_default(settings: Settings) -> None:
    with closing(Context(settings)) as context:
        assert context.station() is context.station("first")
        assert context.station("second") is context.station("second")
        assert [context.station(name).api.url for name in ("", "second")] == [
            "http://first.example",
            "http://second.example",
        ]


def test_a_station_that_is_not_configured_is_refused_with_those_that_are(settings: Settings) -> None:
    with closing(Context(settings)) as context, pytest.raises(Rejected, match="unknown-station") as raised:
        context.station("third")
    assert raised.value.reason.endswith("has no station 'third'; it has: first, second")


def test_what_was_opened_is_closed(settings: Settings) -> None:
    context = Context(settings)
    apis = (context.station().api, context.catalog_of("a").api, context.staging_service.api)
    clients: list[httpx.Client] = [api._client for api in apis]
    context.close()
    assert all(client.is_closed for client in clients)
