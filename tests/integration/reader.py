"""One consumer of a real broker, for the tests of the delivery."""

import time
from collections.abc import Callable
from queue import Empty
from typing import Any

from kombu import Connection, Consumer, Queue
from kombu.message import Message
from redis import Redis

from tests.integration.delivery_app import VISIBILITY_TIMEOUT

UNACKED, INDEX = "unacked", "unacked_index"
SECONDS = 60


class Reader:
    """One consumer of some queues, as a worker is without its pool."""

    def __init__(self, url: str, *queues: str, prefetch: int = 0, no_ack: bool = False, **options: object) -> None:
        options = {"visibility_timeout": VISIBILITY_TIMEOUT, "unacked_restore_throttle": 1, **options}
        self.connection = Connection(url, transport="workers.transport:Transport", transport_options=options)
        self.got: list[Message] = []
        self.then: Callable[[Message], None] = lambda _: None
        self.channel = self.connection.default_channel  # as a worker has it
        consumer = Consumer(
            self.channel,
            [Queue(name) for name in queues],
            on_message=self._serve,
            no_ack=no_ack,
            auto_declare=False,
        )
        consumer.qos(prefetch_count=prefetch)
        consumer.consume()

    def _serve(self, message: Message) -> None:
        self.got.append(message)
        self.then(message)

    def ask(self) -> None:
        """Ask the server for a message, and read no answer."""
        transport: Any = self.connection.transport
        transport.cycle.on_poll_start()

    def drain(self, seconds: float = 0.5) -> None:
        """Take all there is."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            try:
                self.connection.drain_events(timeout=0.1)
            except (TimeoutError, Empty):
                continue

    def until(self, count: int) -> float:
        """Take until there are `count` messages; returns the seconds that it took."""
        began = time.monotonic()
        while len(self.got) < count:
            assert time.monotonic() - began < SECONDS
            try:
                self.connection.drain_events(timeout=0.1)  # kombu restores only where nothing comes
            except (TimeoutError, Empty):
                continue
        return time.monotonic() - began

    def close(self) -> None:
        self.connection.release()


def held(redis: Redis) -> tuple[int, int]:
    return int(redis.hlen(UNACKED)), int(redis.zcard(INDEX))
