"""A claim on one piece of work: held by one worker at a time, renewed while it lives, lapsing when it dies."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from redis import Redis
from redis.exceptions import LockError, RedisError
from redis.lock import Lock

from shared.errors import Busy

_RETRY_AFTER = 2.0


@contextmanager
def lease(redis: Redis, work: str, seconds: float) -> Iterator[None]:
    """Hold the claim on `work` for the length of the block, renewed at a third of `seconds`.

    Raises:
        Busy: `claimed-elsewhere`, another worker holds it.
    """
    lock = redis.lock(f"auxip:lease:{work}", timeout=seconds, blocking=False, thread_local=False)
    if not lock.acquire():
        raise Busy("claimed-elsewhere", f"another worker holds the claim on {work}", delay=_RETRY_AFTER)
    stop = threading.Event()
    keeper = threading.Thread(target=_renew, args=(lock, stop, seconds / 3), name=f"lease-{work}", daemon=True)
    keeper.start()
    try:
        yield
    finally:
        stop.set()
        keeper.join()
        _release(lock)


def _renew(lock: Lock, stop: threading.Event, period: float) -> None:
    while not stop.wait(period):
        try:
            lock.reacquire()
        except LockError:
            return  # lapsed: every step is written so that a second worker at the same work does no harm
        except RedisError:
            continue  # the server may be back before the lease lapses


def _release(lock: Lock) -> None:
    try:
        lock.release()
    except (LockError, RedisError):
        return  # lapsed, or will lapse by itself
