"""The credentials of OData stations: of the search, of the download, and of nobody else, over real connections."""

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from pydantic import SecretStr

from local.odata.manners import CDSE, RS_MOCK, STRICT, Manners
from shared.errors import AuxipError, ItemFailed, Refused, Rejected
from shared.http.probes import Fault
from shared.json_types import Json
from shared.stac.search import Cql2
from shared.stations.config import OAuth2Password, ODataConfig
from shared.stations.odata.station import ODataStation
from tests.stations.simulator import Simulator, product
from tests.unit.making import settings_of

RESORB: Json = {"op": "=", "args": [{"property": "product:type"}, "AUX_RESORB"]}
ONE = product(1, "2026-11-25T00:00:00.000Z")

Serve = Callable[..., Simulator]
Make = Callable[..., ODataStation]


@pytest.fixture
def undo() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def serve(undo: ExitStack) -> Serve:
    def started(manners: Manners | None = None) -> Simulator:
        simulator = undo.enter_context(Simulator(manners))
        simulator.offer(ONE, b"abc")
        return simulator

    return started


@pytest.fixture
def station(undo: ExitStack) -> Make:
    def make(search: Simulator, download: Simulator | None = None, **changes: object) -> ODataStation:
        config = ODataConfig(url=f"{search.url}/odata/v1", allow_private=True)
        config = config.model_copy(update={"auth": auth(search)})
        if download is not None:
            url = f"{download.url.replace('127.0.0.1', 'localhost')}/odata/v1"
            config = config.model_copy(update={"download_url": url, "download_auth": auth(download)})
        made = ODataStation("one", config.model_copy(update=changes), settings_of(backoff_base=0.01))
        undo.callback(made.close)
        return made

    return make


def auth(simulator: Simulator, **changes: object) -> OAuth2Password:
    made = OAuth2Password.model_construct(
        kind="oauth2-password",
        token_url=f"{simulator.url}/oauth2/token",
        client_id=simulator.client_id,
        client_secret=SecretStr(simulator.client_secret),
        username=simulator.username,
        password=SecretStr(simulator.password),
    )
    return made.model_copy(update=changes)


def href(made: ODataStation) -> str:
    (found,) = made.search(Cql2(filter=RESORB))
    assert found.item is not None
    return next(iter(found.item.assets.values())).href


def content(made: ODataStation, url: str) -> bytes:
    with made.api.open("GET", url) as response:
        return b"".join(response.iter_raw())


@pytest.mark.parametrize("manners", [STRICT, RS_MOCK, dataclasses.replace(CDSE, open_search=False)])
def test_one_token_is_for_search_and_download(serve: Serve, station: Make, manners: Manners) -> None:
    simulator = serve(manners)
    made = station(simulator)
    assert content(made, href(made)) == b"abc"
    assert simulator.grants == 1


def test_a_download_url_without_credentials_of_its_own_has_those_of_the_search(serve: Serve, station: Make) -> None:
    simulator = serve()
    url = f"{simulator.url.replace('127.0.0.1', 'localhost')}/odata/v1"
    made = station(simulator, download_url=url)
    assert content(made, href(made)) == b"abc"
    assert simulator.grants == 1


def test_a_token_in_another_header_and_a_client_in_basic(serve: Serve, station: Make) -> None:
    simulator = serve(Manners(token_header="OAUTH2-ACCESS-TOKEN", client_in_header=True))
    made = station(simulator, auth=auth(simulator, client_auth="basic", token_header="oauth2-access-token"))
    assert content(made, href(made)) == b"abc"
    with pytest.raises(Refused, match="station-unauthorized"):
        href(station(simulator))


def test_a_search_without_credentials_asks_for_no_token_until_a_file_is_fetched(serve: Serve, station: Make) -> None:
    search, download = serve(CDSE), serve()
    made = station(search, download, auth=ODataConfig(url=search.url).auth)
    url = href(made)
    assert (search.grants, download.grants) == (0, 0)
    assert content(made, url) == b"abc"
    assert (search.grants, download.grants) == (0, 1)


def test_each_host_has_its_own_token_renewed(serve: Serve, station: Make) -> None:
    search, download = serve(), serve()
    made = station(search, download)
    assert content(made, href(made)) == b"abc"
    download.expire_token()
    assert content(made, href(made)) == b"abc"
    assert (search.grants, download.grants) == (1, 2)
    search.expire_token()
    assert content(made, href(made)) == b"abc"
    assert (search.grants, download.grants) == (2, 2)


def test_who_is_sent_on_to_the_download_host_has_its_credentials_there(serve: Serve, station: Make) -> None:
    search, download = serve(), serve()
    files = download.url.replace("127.0.0.1", "localhost")
    search.files_at = f"{files}/odata/v1"
    made = station(search, download)
    assert content(made, f"{search.url}/odata/v1/Products({ONE['Id']})/$value") == b"abc"
    assert (search.grants, download.grants) == (1, 1)


def test_who_is_sent_on_to_a_trusted_domain_keeps_the_credentials(serve: Serve, station: Make) -> None:
    search, download = serve(), serve()
    search.files_at = f"{download.url.replace('127.0.0.1', 'localhost')}/odata/v1"
    download._token = search._token
    made = station(search, trusted_domains=("localhost",))
    assert content(made, href(made)) == b"abc"


@pytest.mark.parametrize(("field", "code"), [("allowed_hosts", "station-unauthorized"), ("", "foreign-href")])
def test_who_is_sent_on_to_another_host_has_no_credentials_there(
    serve: Serve, station: Make, field: str, code: str
) -> None:
    search, other = serve(), serve()
    search.files_at = f"{other.url.replace('127.0.0.1', 'localhost')}/odata/v1"
    other._token = search._token
    made = station(search, **({field: ("localhost",)} if field else {}))
    url = href(made)
    with pytest.raises(AuxipError) as raised:
        content(made, url)
    assert raised.value.code == code
    assert isinstance(raised.value, Refused if field else ItemFailed)


def test_an_evicted_product_is_not_found(serve: Serve, station: Make) -> None:
    simulator = serve()
    made = station(simulator)
    url = href(made)
    simulator.evicted.add(ONE["Id"])
    with pytest.raises(Rejected, match="station-not-found"):
        content(made, url)


def test_more_connections_than_the_station_allows_are_told_to_come_back(serve: Serve, station: Make) -> None:
    simulator = serve(dataclasses.replace(CDSE, most_connections=0))
    with pytest.raises(AuxipError, match="station-rate-limited"):
        href(station(simulator, auth=ODataConfig(url=simulator.url).auth))


def test_a_probe_finds_that_the_token_for_downloads_is_refused(serve: Serve, station: Make) -> None:
    search, download = serve(CDSE), serve()
    made = station(search, download, auth=ODataConfig(url=search.url).auth)
    assert made.probe(Fault.REFUSED) is None
    made = station(
        search, download, auth=ODataConfig(url=search.url).auth, download_auth=auth(download, username="you")
    )
    finding = made.probe(Fault.REFUSED)
    assert finding is not None
    assert "401" in finding.reason
    assert made.probe(Fault.UNAVAILABLE) is None
