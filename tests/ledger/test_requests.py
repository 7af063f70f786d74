"""Requests of other systems: each is registered once, and its answer goes to all who wait for it."""

import pytest
from redis import Redis

from shared.ledger import Next, Requests
from shared.ledger.server import server_time


@pytest.fixture
def requests(redis: Redis) -> Requests:
    return Requests(redis, 86_400, 1)


@pytest.fixture
def name() -> str:
    return "a-request"


def test_a_request_is_registered_once_whoever_takes_it(requests: Requests, name: str) -> None:
    assert requests.register(name, "stamp", "task", name, "digest", "{}") is Next.PUBLISH
    assert requests.register(name, "stamp", "task", name, "digest", "{}") is Next.PUBLISH
    assert requests.register(name, "other", "task", None, "digest", "{}") is Next.NOTHING
    requests.end(name, "{}")
    assert requests.register(name, "stamp", "task", name, "digest", "{}") is Next.NOTHING
    assert requests.register(name, "other", "task", name, "digest", "{}") is Next.ANSWER


def test_a_request_that_is_forgotten_may_come_again(requests: Requests, name: str) -> None:
    requests.register(name, "stamp", "task", name, "digest", "{}")
    requests.forget(name)
    assert not requests.known(name)
    assert requests.register(name, "other", "task", name, "digest", "{}") is Next.PUBLISH


def test_an_end_of_what_is_not_known_leaves_nothing(requests: Requests, redis: Redis, name: str) -> None:
    requests.end(name, "{}")
    assert not requests.known(name)


def test_a_reply_list_keeps_the_newest_answers(requests: Requests, redis: Redis, name: str) -> None:
    for number in range(1005):
        requests.register(name, str(number), "task", name, "digest", "{}")
    requests.end(name, "{}")
    assert redis.llen(f"auxip:reply:{name}") == 1000


def test_an_answer_to_a_key_that_is_no_list_is_dropped(requests: Requests, redis: Redis, name: str) -> None:
    redis.set(f"auxip:reply:{name}", "mine")
    requests.register(name, "stamp", "task", name, "digest", "{}")
    requests.end(name, "{}")
    assert redis.get(f"auxip:reply:{name}") == "mine"
    assert redis.exists(f"auxip:request:{name}:replies") == 0


def test_a_request_that_nobody_begins_is_due_after_twice_as_long_each_time(
    requests: Requests, redis: Redis, name: str
) -> None:
    requests.register(name, "stamp", "task", None, "digest", "the request")
    waits = [_left(redis, name)]
    for _ in range(8):
        assert requests.publish_again(name) == "the request"
        waits.append(_left(redis, name))
    assert [round(wait) for wait in waits] == [1, 2, 4, 8, 16, 32, 64, 64, 64]


def test_a_request_that_is_begun_is_passed_on_no_more_and_one_that_has_ended_is_never_due(
    requests: Requests, redis: Redis, name: str
) -> None:
    requests.register(name, "stamp", "task", None, "digest", "the request")
    requests.record_begun(name)
    assert requests.publish_again(name) is None
    redis.zadd("auxip:requests", {name: 1})
    assert name in requests.due(1000)
    requests.end(name, "{}")
    assert name not in requests.due(1000)


def test_another_request_of_an_id_is_refused_and_changes_nothing(requests: Requests, redis: Redis, name: str) -> None:
    requests.register(name, "stamp", "task", None, "digest", "the request")
    assert requests.register(name, "other", "task", name, "another", "another request") is Next.REFUSE
    assert (requests.digest(name), redis.exists(f"auxip:request:{name}:replies")) == ("digest", 0)


def _left(redis: Redis, name: str) -> float:
    return float(redis.zscore("auxip:requests", name) or 0) - server_time(redis)
