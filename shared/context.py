"""What a step works with, each part made when it is first needed: per process, so that a fork shares no connection."""

from functools import cached_property

from redis import Redis
from redis.backoff import ExponentialBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry

from shared.ledger import DeadLetters, Ledger
from shared.settings import Settings
from shared.stac.catalog import Catalog
from shared.stac.station import Station
from shared.storage.objects import ObjectStore
from shared.storage.transfer import Transfer

_REDIS_TRIES = 8  # about half a minute: a restart of the broker is waited for, not reported


class Context:
    """The station, the catalog, the store and the ledger of one set of settings."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def close(self) -> None:
        """Close the connections that were opened."""
        opened = vars(self)
        if "ledger" in opened:
            self.ledger.redis.close()
        for name in ("station", "catalog"):
            if name in opened:
                opened[name].api.close()

    @cached_property
    def ledger(self) -> Ledger:
        """The record of runs and items."""
        client = Redis.from_url(
            self.settings.redis_url.get_secret_value(),
            decode_responses=True,
            retry=Retry(ExponentialBackoff(cap=8, base=0.1), _REDIS_TRIES),
            retry_on_error=[RedisConnectionError, RedisTimeoutError],
            socket_timeout=30,
            health_check_interval=30,
        )
        return Ledger(client, self.settings.keep_runs_days)

    @cached_property
    def dead_letters(self) -> DeadLetters:
        """What could not be done, in the ledger's database."""
        return DeadLetters(self.ledger.redis, self.settings.dead_letters_max)

    @cached_property
    def station(self) -> Station:
        """The AUXIP station."""
        return Station(self.settings)

    @cached_property
    def catalog(self) -> Catalog:
        """The catalog that receives the items."""
        return Catalog(self.settings)

    @cached_property
    def store(self) -> ObjectStore:
        """The S3 service."""
        return ObjectStore(self.settings)

    @cached_property
    def transfer(self) -> Transfer:
        """What moves assets from the station into S3."""
        return Transfer(self.station.api, self.store, self.settings.max_asset_bytes)
