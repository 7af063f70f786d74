"""What a step works with, each part made when it is first needed: per process, so that a fork shares no connection."""

from collections.abc import Mapping
from functools import cached_property, partial

from pydantic import SecretStr
from redis.backoff import ExponentialBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry

from shared.errors import Rejected
from shared.http.api import JsonApi
from shared.ledger import Audits, DeadLetters, Ledger, Outages, Requests, Sweeps, Watermarks
from shared.ledger.connection import connect
from shared.owners import Owners, load_owners
from shared.settings import Settings
from shared.stac.catalog import Catalog, catalog_api
from shared.stac.processes import StagingService
from shared.stations.config import OAuth2, StationConfig, load_stations
from shared.stations.limits import Limits
from shared.stations.opening import open_station
from shared.stations.station import Station
from shared.stations.tokens import SharedToken
from shared.storage.objects import ObjectStore
from shared.storage.transfer import Transfer

_REDIS_TRIES = 8  # about half a minute: a restart of the broker is waited for, not reported


class Context:
    """The stations, the catalog, the store, the owners and the ledger of one set of settings."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._stations: dict[str, Station] = {}
        self._catalogs: dict[str, Catalog] = {}
        self._catalog_apis: dict[SecretStr | None, JsonApi] = {}
        self._transfers: dict[str, Transfer] = {}

    def close(self) -> None:
        """Close the connections that were opened."""
        opened = vars(self)
        if "ledger" in opened:
            self.ledger.redis.close()
        if "staging_service" in opened:
            self.staging_service.api.close()
        if "store" in opened:
            self.store.control.close()
        for api in self._catalog_apis.values():
            api.close()
        for station in self._stations.values():
            station.close()

    @cached_property
    def ledger(self) -> Ledger:
        """The record of runs and items."""
        client = connect(
            self.settings.redis_url.get_secret_value(),
            decode_responses=True,
            retry=Retry(ExponentialBackoff(cap=8, base=0.1), _REDIS_TRIES),
            retry_on_error=[RedisConnectionError, RedisTimeoutError],
            socket_timeout=30,
            health_check_interval=30,
        )
        return Ledger(client, self.settings.keep_runs_days, self.settings.run_window, self.settings.patience)

    @cached_property
    def dead_letters(self) -> DeadLetters:
        """What could not be done, in the ledger's database."""
        return DeadLetters(self.ledger.redis, self.settings.dead_letters_max)

    @cached_property
    def requests(self) -> Requests:
        """What is known of the requests of other systems, in the ledger's database."""
        return Requests(self.ledger.redis, self.ledger.keep_seconds, self.settings.patience)

    @cached_property
    def outages(self) -> Outages:
        """The systems that are away, in the ledger's database."""
        return Outages(self.ledger.redis)

    @cached_property
    def sweeps(self) -> Sweeps:
        """The record of the sweeps, in the ledger."""
        return Sweeps(self.ledger)

    @cached_property
    def watermarks(self) -> Watermarks:
        """How far the sweeps by publication have come, in the ledger."""
        return Watermarks(self.ledger)

    @cached_property
    def audits(self) -> Audits:
        """What audits need of the ledger."""
        return Audits(self.ledger.redis, self.ledger.keep_seconds)

    @cached_property
    def _configured(self) -> Mapping[str, StationConfig]:
        return load_stations(self.settings)

    def station(self, name: str = "") -> Station:
        """Return the AUXIP station of a name, or the default one; always the same for one name.

        Raises:
            Rejected: `unknown-station`.
        """
        name = name or next(iter(self._configured))
        if name not in self._configured:
            raise Rejected(
                "unknown-station",
                f"AUXIP_STATIONS_FILE has no station {name[:100]!r}; it has: {', '.join(self._configured)}",
            )
        if name not in self._stations:
            config = self._configured[name]
            self._stations[name] = open_station(
                name, config, self.settings, self._limits(name), partial(self._token, name)
            )
        return self._stations[name]

    def station_trusting(self, url: str) -> Station | None:
        """Return the first station that trusts the host of a URL, or None."""
        return next((station for station in map(self.station, self._configured) if station.trusts(url)), None)

    @cached_property
    def owners(self) -> Owners:
        """What is each owner's own."""
        return load_owners(self.settings)

    def catalog_of(self, owner: str) -> Catalog:
        """Return the catalog that receives the items of an owner, with the owner's key; always the same for one."""
        found = self._catalogs.get(owner)
        if found is None:
            key = self.owners[owner].catalog_api_key
            api = self._catalog_apis.get(key)
            if api is None:
                api = self._catalog_apis[key] = catalog_api(self.settings, key)
            found = self._catalogs[owner] = Catalog(self.settings, key, owner, api)
        return found

    @cached_property
    def staging_service(self) -> StagingService:
        """What stages in our place; only where the settings have one."""
        return StagingService(self.settings)

    @cached_property
    def store(self) -> ObjectStore:
        """The S3 service."""
        return ObjectStore(self.settings)

    def transfer(self, station: str = "") -> Transfer:
        """Return what moves assets from a station into S3, always the same for one name.

        Raises:
            Rejected: `unknown-station`.
        """
        found = self._transfers.get(station)
        if found is None:
            found = self._transfers[station] = Transfer(self.station(station).api, self.store, self.settings)
        return found

    def _token(self, name: str, auth: OAuth2) -> SharedToken:
        whom = (auth.token_url, auth.client_id, auth.scope, getattr(auth, "username", None))
        return SharedToken(self.ledger.redis, name, whom)

    def _limits(self, name: str) -> Limits | None:
        config = self._configured[name]
        if config.requests_per_minute is None and config.connections is None:
            return None
        return Limits(
            self.ledger.redis, name, config.requests_per_minute, config.connections, self.settings.backoff_max
        )
