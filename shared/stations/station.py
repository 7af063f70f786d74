"""What every station can do, whatever it speaks: be searched, be asked whether it is well, give its files."""

from abc import ABC, abstractmethod
from collections.abc import Iterator

import httpx

from shared.http.api import JsonApi, http_client
from shared.http.probes import Fault, Finding, probe_api
from shared.settings import Settings
from shared.stac.item import Found
from shared.stac.search import Cql2
from shared.stations.config import StationConfig
from shared.stations.credentials import StationCredentials, TokenOf
from shared.stations.limits import Limits
from shared.stations.network import StationTransport


class Station(ABC):
    """One AUXIP station, by the name that it has in the configuration.

    Attributes:
        name: of the station.
        api: what its requests and its files go through: its hosts, its limits, its credentials.
    """

    def __init__(
        self,
        name: str,
        config: StationConfig,
        settings: Settings,
        limits: Limits | None = None,
        token_of: TokenOf | None = None,
    ) -> None:
        """Prepare; nothing is asked for yet.

        Args:
            name: of the station.
            config: of the station.
            settings: the limits of what is read and tried.
            limits: that all workers keep together; None for none.
            token_of: the token that is shared with the other processes, where the station asks for one.
        """
        self.name = name
        self._settings = settings
        further = {httpx.URL(place.url).host for place in config.guarded[1:]}
        self._trusted = {*config.trusted_domains, *further}
        self._credentials = StationCredentials(config, token_of)
        keyring = self._credentials.keyring
        client = http_client(config.timeout, [keyring.put_on], StationTransport(config, keyring, limits))
        where = f"[station.{name}.auth] of AUXIP_STATIONS_FILE"
        self.api = JsonApi("station", config.url, client, settings.max_answer_bytes, where, settings.backoff_base)

    @abstractmethod
    def search(self, search: Cql2, deadline: float | None = None, tries: int = 1) -> Iterator[Found]:
        """Yield what a search finds, at most `search.limit` items, reading the next page only when it is needed.

        An item that is malformed comes as a `Found` that says so, and its neighbours come as they are.

        Args:
            search: filter, limit and order.
            deadline: instant of `time.monotonic()` at which the search must be over.
            tries: how often the first page is asked for before the search fails.

        Raises:
            Rejected: `search-timeout`, the deadline has passed; `station-foreign-link`, it sends us to another host
                for the next page; and what `JsonApi` raises.
            Retryable: `station-bad-answer`, an answer is not what such a station answers; and what `JsonApi` raises.
            Busy: `station-busy`, the limits of the station let nothing go soon.
        """

    @abstractmethod
    def probe(self, suspected: Fault) -> Finding | None:
        """Return what is wrong with the station, or None; it is asked for what it is sure to let us have."""

    def probe_host(self, url: str) -> Finding | None:
        """Return what is wrong with a host that the station trusts, or None where it answers at all."""
        return probe_api(self.api, Fault.UNAVAILABLE, landing=f"{url}/")

    def trusts(self, url: str) -> bool:
        """Whether a URL leads to one of the station's trusted domains, or to its host for downloads."""
        return httpx.URL(url).host in self._trusted

    def close(self) -> None:
        """Close the connections."""
        self.api.close()
        self._credentials.close()
