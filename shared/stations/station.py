"""What every station can do, whatever it speaks: be searched, be asked whether it is well, give its files."""

import itertools
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Final, TypeVar

import httpx

from shared.errors import Busy, ItemFailed, Refused, Rejected, Retryable
from shared.http.api import Answer, JsonApi, http_client
from shared.http.probes import Fault, Finding, probe_api
from shared.json_types import Json
from shared.retries import delay_before_retry
from shared.settings import Settings
from shared.stac.item import Found
from shared.stac.search import Cql2
from shared.stations.config import StationConfig
from shared.stations.credentials import StationCredentials, TokenOf
from shared.stations.limits import Limits
from shared.stations.network import StationTransport

_Page = TypeVar("_Page")

_PATIENCE: Final = 10.0
"""Seconds to wait in place for a page; a longer pause is spent without holding a worker."""


class Station(ABC):
    """One AUXIP station, by the name that it has in the configuration.

    Attributes:
        name: of the station.
        api: what its requests and its files go through: its hosts, its limits, its credentials.
        stages_unreadable_checksums: whether an asset is staged though its checksum cannot be read.
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
        self.stages_unreadable_checksums = config.unreadable_checksums == "stage"
        self._settings = settings
        further = {httpx.URL(place.url).host for place in config.guarded[1:]}
        self._trusted = {*config.trusted_domains, *further}
        self._credentials = StationCredentials(config, token_of)
        keyring = self._credentials.keyring
        client = http_client(config.timeout, [keyring.put_on], StationTransport(config, keyring, limits))
        tables = ["auth"] if len(config.guarded) == 1 else ["auth", "download_auth"]
        where = f"{' and '.join(f'[station.{name}.{table}]' for table in tables)} of AUXIP_STATIONS_FILE"
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
            Retryable: `station-bad-answer`, an answer is not what such a station answers; `station-incomplete`, it has
                not given all that it says it has; and what `JsonApi` raises.
            Busy: `station-busy`, the limits of the station let nothing go soon.
        """

    def unknown_properties(self, search: Cql2) -> str:  # noqa: ARG002 - others need it
        """Return the properties of a filter that the station does not say it knows; empty where it lists none."""
        return ""

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

    def _answer_to(
        self,
        method: str,
        url: str,
        payload: Json | None,
        check: Callable[[Answer], None],
        *,
        deadline: float | None,
        tries: int,
        unread: tuple[int, ...] = (),
    ) -> Answer:
        """Return the answer to one request of a search; asks again after a pause where that may help.

        Args:
            method: of HTTP.
            url: that is asked.
            payload: sent as JSON.
            check: raises `Retryable` for an answer that is not a page.
            deadline: instant of `time.monotonic()` at which the search must be over.
            tries: how often it is asked.
            unread: statuses of 4xx that are an answer by themselves.
        """

        def ask(wait: float | None) -> Answer:
            answer = self.api.call(method, url, payload, unread=unread, wait=wait)
            check(answer)
            return answer

        return self._asked(ask, deadline, tries)

    def _asked(self, ask: Callable[[float | None], _Page], deadline: float | None, tries: int) -> _Page:
        """Return what a request of a search comes to; asks again after a pause where that may help.

        Args:
            ask: asks once; it is given the seconds that are left, or None where there is no limit.
            deadline: instant of `time.monotonic()` at which the search must be over.
            tries: how often it is asked.
        """
        for attempt in itertools.count(1):
            try:
                return ask(_left(deadline))
            except (Busy, Refused):
                raise
            except ItemFailed as error:  # a redirect that the transport refuses
                raise Rejected("station-foreign-link", error.reason) from None
            except Retryable as error:
                left = _left(deadline)
                delay = delay_before_retry(error, attempt, self._settings) if attempt < tries else None
                if delay is None or delay > _PATIENCE:
                    raise
                time.sleep(delay if left is None else min(delay, left))
        raise AssertionError  # the loop ends by itself


def _left(deadline: float | None) -> float | None:
    if deadline is None:
        return None
    left = deadline - time.monotonic()
    if left <= 0:
        raise Rejected("search-timeout", "the search took longer than its timeout_seconds")
    return left
