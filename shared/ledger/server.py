"""The clock of the server, by which the ledger times what comes next: that of a worker may be wrong."""

from redis import Redis


def server_time(redis: Redis) -> float:
    """Return the time of the server, in seconds since the epoch."""
    seconds, microseconds = redis.time()
    return seconds + microseconds / 1_000_000
