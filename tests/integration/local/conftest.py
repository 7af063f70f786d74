from collections.abc import Iterator

import httpx
import pytest

from local.stack import Stack


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    with Stack() as running:
        yield running


@pytest.fixture
def station(stack: Stack) -> Iterator[httpx.Client]:
    headers = {"x-api-key": stack.station_key}
    with httpx.Client(base_url=stack.station_url, headers=headers) as client:
        yield client
    stack.set_station_faults([])


@pytest.fixture
def catalog(stack: Stack) -> Iterator[httpx.Client]:
    environ = stack.environment()
    headers = {"x-api-key": environ["AUXIP_CATALOG_API_KEY"]}
    with httpx.Client(base_url=environ["AUXIP_CATALOG_URL"], headers=headers) as client:
        yield client
    stack.set_catalog_faults([])
