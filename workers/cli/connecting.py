"""What a command works with, once the server of the ledger has answered."""

from shared.context import Context
from shared.ledger.check import check_redis
from shared.settings import Settings, load_settings


def connected() -> Context:
    """Return a context of this process's settings.

    Raises:
        AuxipError: within seconds, where Redis or Valkey cannot be used: the reason says what to correct.
    """
    return Context(checked_settings())


def checked_settings() -> Settings:
    """Return the settings of this process, after Redis or Valkey has answered; else as `connected`."""
    settings = load_settings()
    check_redis(settings.redis_url.get_secret_value())
    return settings
