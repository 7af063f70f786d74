"""kombu's Redis transport, with a delivery that loses nothing and that no message can stop.

Stock kombu pops a message and records it as unacknowledged with a second command: what a killed worker has popped in
between is gone. Here one script does both, on the server. It keeps kombu's format of what is unacknowledged, except
that the tag is new for each delivery, so that two copies of one message are two, and the time is the server's, so that
a worker whose clock is wrong takes nothing from others.

A script cannot block. A consumer that has found its queues empty therefore sends two commands at once: a BLMOVE of a
queue's last message to where it is, which waits for a message, changes nothing, and has its answer suppressed; and
behind it the script. So it is woken at once and takes in the same round trip; without a message it tries once a second.
With several queues it waits at each in turn for a slice, and takes from all of them; but never at one of the bulk lane
if it has others. So an idle worker of one queue sees an on-demand message at once and a bulk one within a tenth of a
second. A shorter slice changes little: a server that has nothing else to do ends waits ten times a second (`hz`).

Before Celery sees a message it is validated. What is no task message, what makes Celery fail and what it rejects goes
to the dead letters, whole, by the script that takes it from the unacknowledged; where it has an id that can be read,
its sender is answered with a FAILURE. Needs Redis 6.2 or Valkey.

A sender with stock Celery may give its message a priority, which kombu puts on a list of its own. Such messages join
the queue that they were meant for: an urgent message takes the on-demand lane instead.

Every consuming channel renews an entry in a sorted set every few seconds. Once an entry is older than a lease, its
worker was killed, and the messages that it held are given back. If the worker only stood still, two have the message;
each task holds a claim on its work, so the second one waits for the first.
"""

import hashlib
import logging
from collections.abc import Callable
from importlib.metadata import version
from queue import Empty
from time import monotonic, sleep
from typing import Any, cast

from celery import current_app
from kombu.transport import redis as stock
from kombu.transport import virtual
from kombu.transport.redis import PRIORITY_STEPS
from kombu.utils import json
from kombu.utils.uuid import uuid
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError

from shared.errors import Rejected
from shared.ledger.connection import PlainConnection, ServerUnavailable, TlsConnection
from shared.ledger.dead_letters import KEYS as DEAD_KEYS
from shared.ledger.dead_letters import PARK_FUNCTION, limits, trimmed
from shared.models import Lane
from workers.envelope import Envelope, decode
from workers.lanes import Turns
from workers.queues import lane_of_queue
from workers.refusals import answer_id, answer_refused, unknown_task

_TESTED = "5.7."
if not version("kombu").startswith(_TESTED):
    raise ImportError(f"workers.transport replaces parts of kombu {_TESTED}x, and this is kombu {version('kombu')}")

MAX_MESSAGE_BYTES = 8 * 2**20
"""A larger message goes to the dead letters without being sent to a worker, whose memory it could fill."""

_CONSUMERS = "unacked_consumers"
_PAUSE = 1.0
_CONNECT_ANEW_AFTER = 30.0
_SILENCE = 5.0
_SLICE = 0.05
_MALFORMED = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, AssertionError, RecursionError)
"""What code raises that meets data of an unexpected form; all else is the fault of no message."""

_log = logging.getLogger(__name__)

TAKE = f"""{PARK_FUNCTION}
-- KEYS unacked, unacked_index, dead, payloads, bytes, consumers, queue, ...
-- ARGV tag, largest message, max_letters, max_bytes, consumer, for each queue whether it is acknowledged
-- Returns queue and message; or queue, nil and the message's id, if that can be found, if it was too large; or nil if
-- all queues are empty.
for i = 7, #KEYS do
  for step = {PRIORITY_STEPS[1]}, {PRIORITY_STEPS[-1]}, {PRIORITY_STEPS[1]} do
    local list = KEYS[i] .. '{stock.Channel.sep}' .. step
    for _ = 1, math.min(redis.call('LLEN', list), 10) do redis.call('LMOVE', list, KEYS[i], 'RIGHT', 'LEFT') end
  end
  local raw = redis.call('RPOP', KEYS[i])
  if raw and #raw > tonumber(ARGV[2]) then
    park(KEYS[3], KEYS[4], KEYS[5], ARGV[3], ARGV[4], raw, 'message', 'message-too-large',
      #raw .. ' bytes, and ' .. ARGV[2] .. ' are the most', KEYS[i])
    return {{KEYS[i], false, string.match(raw, '"id":%s*"([%w_.-]+)"') or ''}}
  end
  if raw then
    if ARGV[i - 1] == '1' then
      local now = redis.call('TIME')[1]
      redis.call('HSET', KEYS[1], ARGV[1], '[' .. raw .. ',"","' .. KEYS[i] .. '"]')
      redis.call('ZADD', KEYS[2], now, ARGV[1])
      redis.call('ZADD', KEYS[6], now, ARGV[5])
    end
    return {{KEYS[i], raw}}
  end
end
return nil
"""
_TAKE_SHA = hashlib.sha1(TAKE.encode()).hexdigest()  # noqa: S324 - the name that Redis gives to a script

_BURY = f"""{PARK_FUNCTION}
-- KEYS unacked, unacked_index, dead, payloads, bytes; ARGV tag, max_letters, max_bytes, code, reason, queue
local held = redis.call('HGET', KEYS[1], ARGV[1])
if not held then return nil end
redis.call('HDEL', KEYS[1], ARGV[1])
redis.call('ZREM', KEYS[2], ARGV[1])
local raw = string.sub(held, 2, -#(',"","' .. ARGV[6] .. '"]') - 1)
park(KEYS[3], KEYS[4], KEYS[5], ARGV[2], ARGV[3], raw, 'message', ARGV[4], ARGV[5], ARGV[6])
return raw
"""

_ACK = """
-- KEYS unacked, unacked_index; ARGV tag
redis.call('ZREM', KEYS[2], ARGV[1])
return redis.call('HDEL', KEYS[1], ARGV[1])
"""

_RESTORE = """
-- KEYS unacked, unacked_index, queue; ARGV tag, message, RPUSH (to be next) or LPUSH (to be last)
redis.call('ZREM', KEYS[2], ARGV[1])
if redis.call('HDEL', KEYS[1], ARGV[1]) == 0 then return 0 end
return redis.call(ARGV[3], KEYS[3], ARGV[2])
"""


_FIND_GONE = """
-- KEYS consumers, unacked_index; ARGV consumer, seconds of a lease, the most tags
-- Renews the entry of the calling consumer, and returns the tags of the messages of consumers whose entry has lapsed.
-- Returns none where the caller's own entry had lapsed: the server was away, and the others have yet to renew theirs.
local now = tonumber(redis.call('TIME')[1])
local last = redis.call('ZSCORE', KEYS[1], ARGV[1])
redis.call('ZADD', KEYS[1], now, ARGV[1])
local since = now - tonumber(ARGV[2])
if not last or tonumber(last) < since then return {} end
local is_gone, tags = {}, {}
local gone = redis.call('ZRANGE', KEYS[1], '-inf', '(' .. since, 'BYSCORE')
if #gone == 0 then return tags end
for _, consumer in ipairs(gone) do is_gone[consumer] = true end
for _, tag in ipairs(redis.call('ZRANGE', KEYS[2], 0, -1)) do
  if is_gone[string.match(tag, '^[^.]*')] then table.insert(tags, tag) end
  if #tags >= tonumber(ARGV[3]) then return tags end
end
redis.call('ZREM', KEYS[1], unpack(gone))
return tags
"""


class Unacknowledged(stock.QoS):
    """What a channel has delivered and not yet heard the end of."""

    channel: "Channel"
    _vrestore_count: int

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._late: list[Callable[[], None]] = []

    def append(self, message: virtual.Message, delivery_tag: str) -> None:
        """Remember a message; it was recorded when it was taken."""
        virtual.QoS.append(self, message, delivery_tag)

    def ack(self, delivery_tag: str) -> None:
        """Forget a message that is done with."""
        self._now_or_late(lambda: self._ack(delivery_tag))
        virtual.QoS.ack(self, delivery_tag)

    def _ack(self, tag: str) -> None:
        with self.channel.conn_or_acquire() as client:
            client.register_script(_ACK)(keys=[self.unacked_key, self.unacked_index_key], args=[tag])

    def _now_or_late(self, act: Callable[[], None]) -> None:
        """Do something about a message now or, if the server cannot do it, with the next look at what is overdue."""
        try:
            act()
        except ServerUnavailable:
            self._late.append(act)

    def reject(self, delivery_tag: str, requeue: bool = False) -> None:
        """Give a message back as the last of its queue or, if the worker cannot work with it, bury it."""
        if requeue:
            self._now_or_late(lambda: self.restore_by_tag(delivery_tag, leftmost=True))
        else:
            message = self.get(delivery_tag)
            queue, fault = message.delivery_info["routing_key"], _fault(message)
            self._now_or_late(lambda: self.bury(delivery_tag, queue, *fault))
        virtual.QoS.ack(self, delivery_tag)

    def bury(self, tag: str, queue: str, code: str, reason: str) -> None:
        """Move a message from the unacknowledged to the dead letters, and answer its sender."""
        _log.warning("a message of the queue %s goes to the dead letters: %s: %s", queue, code, trimmed(reason))
        args = [tag, *limits(self.channel.dead_letters_max), code, trimmed(reason), queue]
        with self.channel.conn_or_acquire() as client:
            raw = client.register_script(_BURY)(keys=[self.unacked_key, self.unacked_index_key, *DEAD_KEYS], args=args)
        if raw is not None:
            answer_refused(cast("bytes", raw), code, reason)

    def forget(self, tag: str) -> None:
        """Give back the credit of a message that is delivered no more."""
        if tag in (self._delivered or ()):
            virtual.QoS.ack(self, tag)

    def restore_unacked(self, client: Redis | None = None) -> None:
        """Give back what was delivered; where the connection is lost already, the visibility timeout does it.

        Without its connection stock kombu fails here in a way that ends the worker.
        """
        if self.channel.is_lost():
            (self._delivered or {}).clear()
        else:
            super().restore_unacked(client)

    def restore_by_tag(self, tag: str, client: Redis | None = None, leftmost: bool = False) -> None:
        """Give a message back to its queue, in one step, so that two workers that try do it once."""
        with self.channel.conn_or_acquire(client) as connected:
            held = cast("bytes", connected.hget(self.unacked_key, tag) or b"")
            raw, found, queue = held[1:-2].rpartition(b',"","')
            if held and not found:  # a stock worker has recorded it
                super().restore_by_tag(tag, connected, leftmost)
                return
            push = "LPUSH" if leftmost else "RPUSH"
            keys = [self.unacked_key, self.unacked_index_key, queue]
            connected.register_script(_RESTORE)(keys=keys, args=[tag, _redelivered(raw), push])

    def restore_visible(self, start: int = 0, num: int | None = None, interval: int = 1) -> None:  # noqa: ARG002
        """Give back what killed workers held, and what is older than the visibility timeout.

        Args:
            start: kombu never gives another.
            num: the most to give back.
            interval: this many calls apart; `unacked_restore_throttle`.
        """
        self._vrestore_count += 1
        if (self._vrestore_count - 1) % (interval or 1):
            return
        self.channel.drop_silent_connection()
        late, self._late = self._late, []
        for act in late:
            self._now_or_late(act)
        most = num or 1000
        with self.channel.conn_or_acquire() as client:
            keys = [_CONSUMERS, self.unacked_index_key]
            args = [self.channel.consumer, self.channel.consumer_lease, most]
            gone = cast("list[bytes]", client.register_script(_FIND_GONE)(keys=keys, args=args))
            end = client.time()[0] - self.visibility_timeout
            overdue = client.zrange(self.unacked_index_key, 0, end, byscore=True, offset=0, num=most)
            for tag in reversed([*overdue, *gone]):
                self.restore_by_tag(tag.decode(), client)


class Channel(stock.Channel):
    """kombu's Redis channel, with a delivery of its own.

    Attributes:
        consumer: what the entry of this channel is called.
        dead_letters_max: dead letters that are kept (transport option).
        bulk_max: bulk tasks that this worker works on at once; None means no limit (transport option).
        consumer_lease: seconds after which what a consumer held is given back that shows no sign of life (transport
            option).
    """

    QoS = Unacknowledged
    connection_class = PlainConnection
    connection_class_ssl = TlsConnection
    from_transport_options = (*stock.Channel.from_transport_options, "dead_letters_max", "consumer_lease", "bulk_max")
    bulk_max: int | None = None
    dead_letters_max = 10_000
    consumer_lease: float = 60
    priority_steps = [0]  # noqa: RUF012 - as kombu has it; the script reads one list for each queue

    qos: Unacknowledged
    connection_errors: tuple[type[Exception], ...]
    _flush_brpop_reauth: Callable[[], None]
    connection: Any
    _pool: object
    _queue_cycle: Any
    _in_poll: Any
    _tag = ""
    _idle = False
    _unavailable_since: float | None = None
    _answered_at = 0.0

    def __init__(self, connection: object, **kwargs: object) -> None:
        """Open a channel.

        Raises:
            ServerUnavailable: the server cannot be written to; raised here, Celery waits between its tries.
        """
        self._unrecorded: set[str] = set()
        self._client: Redis | None = None
        self._turns = Turns()
        self.consumer = uuid()
        super().__init__(connection, **kwargs)
        with self.conn_or_acquire() as client:
            client.set(f"{_CONSUMERS}:writable", "", px=1)

    def basic_consume(self, queue: str, no_ack: bool, *args: Any, **kwargs: Any) -> Any:
        """Begin to consume a queue; with `no_ack`, as replies are read, it is neither recorded nor validated."""
        (self._unrecorded.add if no_ack else self._unrecorded.discard)(queue)
        return super().basic_consume(queue, no_ack, *args, **kwargs)

    def is_lost(self) -> bool:
        """Whether the worker has given this channel up, since the broker was away; it has another one then."""
        return self.connection is None or self.connection.client is None

    def _create_client(self, asynchronous: bool = False) -> "Redis":
        """Return a client of the pool, always the same one: to make one costs more than to send a message with it.

        Raises:
            ConnectionError: the channel is lost. A task that ends then is acknowledged on it; Celery expects and logs
                this error, while stock kombu's `AttributeError` ends the worker. The message is delivered again.
        """
        stock_channel = cast("Any", super())
        if asynchronous:
            return cast("Redis", stock_channel._create_client(asynchronous=True))
        if self._pool is None and self.is_lost():
            raise RedisConnectionError("the broker was away, and this channel has been given up")
        if self._client is None or self._client.connection_pool is not self.pool:
            self._client = cast("Redis", stock_channel._create_client())
        return self._client

    def _brpop_start(self, timeout: float | None = None) -> None:
        queues = self._turns.order(self._queue_cycle.consume(len(self.active_queues)), self.bulk_max)
        if not queues:
            return
        self._tag = f"{self.consumer}.{uuid()}"
        keys, arguments = self._take_arguments(queues)
        commands: list[tuple[object, ...]] = [("EVALSHA", _TAKE_SHA, len(keys), *keys, *arguments)]
        if self._idle:
            at = min(queues, key=lambda name: lane_of_queue(name) is Lane.BULK)
            wait = (timeout or self.brpop_timeout) if len(self.active_queues) == 1 else _SLICE
            commands[:0] = [("CLIENT", "REPLY", "SKIP"), ("BLMOVE", at, at, "RIGHT", "RIGHT", wait)]
            self._queue_cycle.rotate(at)
        connection = self._in_poll = self.client.connection
        self._brpop_sent_at = monotonic()
        connection.send_packed_command(connection.pack_commands(commands))

    def _brpop_read(self, **options: Any) -> bool:
        try:
            taken = self.client.parse_response(self.client.connection, "EVALSHA", **options)
        except NoScriptError:  # the server has been restarted
            self.client.connection.send_command("SCRIPT", "LOAD", TAKE)
            self.client.connection.read_response()
            raise Empty from None
        except ServerUnavailable as error:
            self._wait_for_server(error)
            raise Empty from None
        except self.connection_errors:
            self.client.connection.disconnect()
            raise
        finally:
            self._in_poll = None
            self._flush_brpop_reauth()
        self._idle = taken is None
        self._unavailable_since = None
        self._answered_at = monotonic()
        if taken is None:
            raise Empty
        self._hand_over(self._tag, *taken)
        return True

    def _wait_for_server(self, error: ServerUnavailable) -> None:
        """Wait a second for a server that cannot serve; the steps that run go on meanwhile.

        Raises:
            ServerUnavailable: it has not served for half a minute. Celery connects anew then: the name may lead to
                another server by now.
        """
        now = monotonic()
        if self._unavailable_since is None:
            self._unavailable_since = now
            _log.warning("no message can be taken, trying again each second: %s", error)
        if now - self._unavailable_since > _CONNECT_ANEW_AFTER:
            raise error
        sleep(_PAUSE)

    def drop_silent_connection(self) -> None:
        """Drop the connection of a poll that should have been answered long ago; kombu does so after a minute.

        A server that becomes a replica while a client waits closes the connection behind its error; as we have that
        error suppressed, it is never sent, and the connection never closed.
        """
        silent = self._in_poll and monotonic() - (self._brpop_sent_at or 0) > self.brpop_timeout + _SILENCE
        if silent and not cast("Any", stock)._socket_readable(self._in_poll._sock):
            _log.warning("the server has not answered a poll for %.0f s, connecting anew", _SILENCE)
            self._in_poll.disconnect()

    def is_consuming(self) -> bool:
        """Return whether the server has answered a poll just now, or all processes are busy and no poll is due."""
        if monotonic() - self._answered_at <= self.brpop_timeout + _SILENCE:
            return True
        return not self.qos.can_consume() or not self._turns.order(list(self.active_queues), self.bulk_max)

    def _get(self, queue: str, timeout: float | None = None) -> Envelope:  # noqa: ARG002 - never given
        """Take one message at once, for `basic_get`."""
        with self.conn_or_acquire() as client:
            self._tag = f"{self.consumer}.{uuid()}"
            taken = client.register_script(TAKE)(*self._take_arguments([queue]))
        if taken is None:
            raise Empty
        message = self._validated(self._tag, *taken)
        return self._get(queue) if message is None else message

    def basic_get(self, queue: str, no_ack: bool = False, **kwargs: Any) -> virtual.Message | None:
        """Return the next message of a queue, or None."""
        message = super().basic_get(queue, **kwargs)
        if message is not None and no_ack:
            self.basic_ack(str(message.delivery_tag))
        return message

    def _take_arguments(self, queues: list[str]) -> tuple[list[str], list[object]]:
        keys = [self.unacked_key, self.unacked_index_key, *DEAD_KEYS, _CONSUMERS, *queues]
        acknowledged = ["0" if queue in self._unrecorded else "1" for queue in queues]
        return keys, [self._tag, MAX_MESSAGE_BYTES, *limits(self.dead_letters_max), self.consumer, *acknowledged]

    def _hand_over(self, tag: str, name: bytes, raw: bytes | None, sender: bytes = b"") -> None:
        queue = name.decode()
        self._queue_cycle.rotate(queue)
        self._turns.took(queue)
        if queue in self._unrecorded:
            self.connection._deliver(json.loads(raw or b"null"), queue)
            return
        message = self._validated(tag, name, raw, sender)
        if message is None:
            return
        try:
            self.connection._deliver(message, queue)
        except _MALFORMED as error:
            _log.exception("a message of the queue %s makes the worker fail", queue)
            reason = f"the worker failed at it with {type(error).__name__}, see its log"
            self.qos.bury(tag, queue, "message-rejected", reason)
            self.qos.forget(tag)

    def _validated(self, tag: str, name: bytes, raw: bytes | None, sender: bytes = b"") -> Envelope | None:
        """Return a message as kombu wants it; None if it is in the dead letters."""
        queue = name.decode()
        if raw is None:
            _log.warning("a message of the queue %s goes to the dead letters: it is too large", queue)
            answer_id(sender.decode(), "message-too-large", f"a message may have {MAX_MESSAGE_BYTES} bytes")
            return None
        try:
            message = decode(raw)
        except Rejected as fault:
            self.qos.bury(tag, queue, fault.code, fault.reason)
            return None
        # What the message says of its delivery is hearsay; Celery sends the next try of a task to where it came from.
        properties = cast("dict[str, Any]", message["properties"])
        properties["delivery_info"] |= {"exchange": "", "routing_key": queue}
        properties["delivery_tag"] = tag
        return message


class Transport(stock.Transport):
    """Selected in `workers.app` as what `redis://` and `rediss://` mean."""

    Channel = Channel


def _fault(message: virtual.Message) -> tuple[str, str]:
    """Return the code and the reason for which a worker has rejected a message."""
    told = getattr(message, "fault", None)
    if told is not None:
        return cast("tuple[str, str]", told)
    task = message.headers["task"]
    if task not in current_app.tasks:
        error = unknown_task(str(task))
        return error.code, error.reason
    return "message-rejected", f"the worker has rejected it for {task}, see its log"


def _redelivered(raw: bytes) -> bytes:
    """Return a message with the mark of one that is delivered again; one that has no place for it as it is."""
    try:
        message = json.loads(raw)
        message["headers"]["redelivered"] = True
        message["properties"]["delivery_info"]["redelivered"] = True
        return json.dumps(message).encode()
    except _MALFORMED:
        return raw
