"""What a step works with: each part made when it is first needed, and closed only where it was made."""

from contextlib import closing

import httpx
import pytest

from shared.context import Context
from tests.unit.making import STATION, settings_of


def test_a_context_that_nobody_used_has_nothing_to_close() -> None:
    context = Context(settings_of())
    context.close()
    assert set(vars(context)) == {"settings", "_catalogs"}


@pytest.mark.parametrize("part", ["ledger", "station", "owners", "staging_service", "store", "transfer"])
def test_each_part_is_made_once_and_without_a_connection(part: str) -> None:
    with closing(Context(settings_of(staging_url=STATION))) as context:
        assert getattr(context, part) is getattr(context, part)


def test_what_was_opened_is_closed() -> None:
    context = Context(settings_of(staging_url=STATION))
    apis = (context.station.api, context.catalog_of("a").api, context.staging_service.api)
    clients: list[httpx.Client] = [api._client for api in apis]
    context.close()
    assert all(client.is_closed for client in clients)
