"""Claims on a real server: held by one, renewed while their holder lives, and a fence against whoever held them."""

import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from shared.archives import Expansion
from shared.errors import Busy, ItemFailed
from shared.ledger import Ledger, lease
from shared.ledger.lease import MOST_STARTS, mark_stopping, require_starts_left
from shared.models import Claim, ItemRecord, ItemState, StagedAsset
from shared.storage.uploads import Unfinished
from tests.integration.conftest import wait_for
from tests.ledger.conftest import Clock
from tests.ledger.opened import DONE, THREADS, Opened, at_once, claim_of, found, lapse


def die_holding(redis: Redis, work: str, seconds: float = 60) -> Claim:
    """Claim work as a worker does that is killed then."""
    with lease(redis, work, seconds) as claim:
        claim.ended = True
    return claim


def is_free(redis: Redis, work: str) -> bool:
    try:
        with lease(redis, work, 30):
            return True
    except Busy:
        return False


# Held by one


def test_a_lease_is_held_by_one(redis: Redis, work: str) -> None:
    with lease(redis, work, 30), pytest.raises(Busy, match="claimed-elsewhere") as raised, lease(redis, work, 30):
        pass
    assert raised.value.delay is not None


def test_a_lease_that_many_want_is_given_to_one(redis: Redis, work: str) -> None:
    answered = threading.Barrier(THREADS)

    def hold() -> bool:
        try:
            with lease(redis, work, 30):
                answered.wait()
                return True
        except Busy:
            answered.wait()
            return False

    assert at_once(hold).count(True) == 1


def test_a_lease_is_free_after_its_block(redis: Redis, work: str) -> None:
    for _ in range(2):
        with lease(redis, work, 30):
            pass
    assert redis.exists(Claim(work).key) == 0


def test_a_lease_is_free_after_an_error(redis: Redis, work: str) -> None:
    with pytest.raises(RuntimeError), lease(redis, work, 30):
        raise RuntimeError
    assert is_free(redis, work)


def test_leases_on_different_work_do_not_meet(redis: Redis, work: str) -> None:
    with lease(redis, work, 30), lease(redis, f"{work}:part", 30):
        pass


def test_parts_of_an_item_are_claimed_apart(ledger: Ledger, run: Opened) -> None:
    (key,) = run.keys
    with ledger.claim(run.id, key, 30, "a.zip"), ledger.claim(run.id, key, 30, "b.zip"):
        pass


def test_an_item_that_two_runs_want_is_claimed_by_one_of_them(ledger: Ledger, run: Opened) -> None:
    other = Opened(ledger, found())
    with ledger.claim(run.id, run.key, seconds=30):
        with pytest.raises(Busy, match="claimed-elsewhere"), ledger.claim(other.id, other.key, seconds=30):
            pass
        assert other.item().state is ItemState.FOUND


# Renewed, lapsed


def test_a_lease_is_renewed_while_it_is_held(redis: Redis, work: str) -> None:
    with lease(redis, work, 0.6):
        began = time.monotonic()
        wait_for(lambda: time.monotonic() - began > 1.5, "more than twice its time has passed", 10)
        assert not is_free(redis, work)


class _Flaky:
    """A server that is away for a moment: the first of its scripts' calls fail."""

    def __init__(self, redis: Redis, failures: int) -> None:
        self._redis = redis
        self.failures = failures
        self.tries = 0

    def register_script(self, script: str) -> Callable[..., object]:
        def call(**options: object) -> object:
            self.tries += 1
            if self.tries <= self.failures:
                raise RedisConnectionError("away")
            return self._redis.register_script(script)(**options)  # type: ignore[arg-type]

        return call


def test_a_lease_outlives_a_moment_without_the_server(redis: Redis, work: str) -> None:
    from shared.ledger.lease import held

    claim = die_holding(redis, work, 1.5)
    flaky = _Flaky(redis, failures=1)
    with held(flaky, claim, 1.5):  # type: ignore[arg-type]
        wait_for(lambda: flaky.tries >= 4, "renewed after the fault, for longer than it lasts", 10)
        assert not is_free(redis, work)


def test_a_claim_that_lapsed_is_renewed_if_nobody_else_has_claimed(redis: Redis, work: str) -> None:
    with lease(redis, work, 0.6) as claim:
        lapse(redis, claim)
        wait_for(lambda: int(str(redis.hget(claim.key, "until"))) > 1, "it is renewed", 10)
        assert not is_free(redis, work)


def test_a_lease_whose_holder_died_lapses(redis: Redis, work: str, clock: Clock) -> None:
    die_holding(redis, work, 0.3)
    assert not is_free(redis, work)
    clock.move(0.4)
    assert is_free(redis, work)


def test_a_lease_that_was_lost_meanwhile_is_not_taken_from_its_new_holder(redis: Redis, work: str) -> None:
    with lease(redis, work, 0.3) as claim:
        lapse(redis, claim)
        redis.hset(claim.key, mapping={"token": "another", "until": 2**50})
        began = time.monotonic()
        wait_for(lambda: time.monotonic() - began > 0.5, "it would have been renewed", 10)
    assert redis.hmget(claim.key, "token", "until") == ["another", str(2**50)]


def test_how_long_a_claim_is_good_for_is_known(redis: Redis, ledger: Ledger, work: str) -> None:
    assert ledger.agenda.claim_left(work) == 0
    claim = die_holding(redis, work, 60)
    assert 59 < ledger.agenda.claim_left(work) <= 60
    lapse(redis, claim)
    assert ledger.agenda.claim_left(work) == 0


# The fence

ASSET = StagedAsset(href="h", size=1, checksum="c", etag="e")
UPLOAD = Unfinished(
    target="s3://bucket/a",
    id="u",
    part_bytes=8,
    source="http://h/x",
    stated_size=3,
    stated_checksum=None,
    validator='"one"',
    size=3,
)
EXPANSION = Expansion(
    archive="s3://bucket/a.zip",
    archive_etag="e",
    prefix="s3://bucket/a/",
    manifest="s3://bucket/m",
    members=1,
    size=9,
    reused=False,
)


def end_staged(ledger: Ledger, record: ItemRecord) -> None:
    ledger.reach(record, ItemState.STAGED)
    ledger.next(record)


def end_intact(ledger: Ledger, record: ItemRecord) -> None:
    ledger.record_intact(record)
    ledger.settle(record, DONE)


def end_expanded(ledger: Ledger, record: ItemRecord) -> None:
    ledger.record_expansion(record, "a", EXPANSION)
    ledger.next(record)


WRITES: dict[str, Callable[[Ledger, ItemRecord], object]] = {
    "reach": end_staged,
    "fail": lambda ledger, record: ledger.fail(record, "late", "too late"),
    "record_intact": end_intact,
    "record_asset": lambda ledger, record: ledger.record_asset(record, "a", ASSET),
    "record_upload": lambda ledger, record: ledger.record_upload(record, "a", UPLOAD),
    "record_expansion": end_expanded,
    "progress": lambda ledger, record: ledger.progress(record, 1, 1),
    "next": lambda ledger, record: ledger.next(record),
    "next of a part": lambda ledger, record: ledger.next(record, "a.zip"),
    "settle": lambda ledger, record: ledger.settle(record, DONE),
    "require_claim": lambda ledger, record: ledger.require_claim(record),
}


@contextmanager
def refused(ledger: Ledger, run: Opened) -> Iterator[None]:
    """Expect that a write is refused and changes nothing."""
    before = state_of(ledger, run)
    with pytest.raises(Busy, match="claim-lost") as raised:
        yield
    assert raised.value.delay == 0
    assert before == state_of(ledger, run)


def state_of(ledger: Ledger, run: Opened) -> tuple[object, ...]:
    (key, *_), item = run.keys, run.item()
    return item, run.run, ledger.bytes_in_flight(run.id), ledger.lately_staged(key), ledger.upload_left(item, "a")


@pytest.mark.parametrize("name", WRITES)
def test_who_has_lost_its_claim_to_another_records_nothing_any_more(
    ledger: Ledger, redis: Redis, run: Opened, name: str
) -> None:
    run.begin()
    late = run.die_at()
    lapse(redis, claim_of(late))
    current = run.die_at()
    with refused(ledger, run):
        WRITES[name](ledger, late)

    assert redis.hget(claim_of(current).key, "token") == claim_of(current).token


@pytest.mark.parametrize("name", WRITES)
def test_who_has_lost_its_claim_to_one_that_is_over_records_nothing_either(
    ledger: Ledger, redis: Redis, run: Opened, name: str
) -> None:
    run.begin()
    late = run.die_at()
    lapse(redis, claim_of(late))
    with ledger.claim(run.id, run.key, seconds=30):
        pass
    with refused(ledger, run):
        WRITES[name](ledger, late)


@pytest.mark.parametrize("name", WRITES)
def test_a_claim_that_the_server_has_forgotten_is_lost(ledger: Ledger, redis: Redis, run: Opened, name: str) -> None:
    run.begin()
    late = run.die_at()
    redis.delete(claim_of(late).key)
    with refused(ledger, run):
        WRITES[name](ledger, late)


@pytest.mark.parametrize("name", WRITES)
def test_a_claim_that_lapsed_is_good_as_long_as_nobody_else_has_made_one(
    ledger: Ledger, redis: Redis, run: Opened, name: str
) -> None:
    run.begin()
    record = run.die_at()
    lapse(redis, claim_of(record))
    WRITES[name](ledger, record)


@pytest.mark.parametrize("name", ["next", "settle"])
def test_the_claim_ends_with_the_record_of_what_it_was_for(ledger: Ledger, run: Opened, name: str) -> None:
    (key,) = run.keys
    run.begin()
    with ledger.claim(run.id, key, 30) as (_, record):
        WRITES[name](ledger, record)
        with ledger.claim(run.id, key, 30):
            assert ledger.agenda.claim_left(key) > 0
        other = run.die_at()
    assert ledger.redis.hget(claim_of(other).key, "token") == claim_of(other).token


def test_the_fence_of_one_part_does_not_hold_up_another(ledger: Ledger, run: Opened) -> None:
    first, second = run.die_at(part="a.zip"), run.die_at(part="b.zip")
    ledger.record_expansion(first, "a.zip", EXPANSION)
    ledger.record_expansion(second, "b.zip", EXPANSION)
    for record, part in ((first, "a.zip"), (second, "b.zip")):
        ledger.next(record, part)
    assert run.item().ended == {"a.zip", "b.zip"}
    assert run.item().expansions.keys() == {"a.zip", "b.zip"}


# Work that ends its workers


def die_often(ledger: Ledger, run: Opened, times: int) -> None:
    for _ in range(times):
        record = run.die_at()
        assert claim_of(record).exhausted is False
        lapse(ledger.redis, claim_of(record))


def test_work_that_has_ended_its_worker_three_times_is_not_begun_again(ledger: Ledger, run: Opened) -> None:
    die_often(ledger, run, 3)
    with (
        ledger.claim(run.id, run.key, seconds=30) as (_, record),
        pytest.raises(ItemFailed, match="worker-killed") as raised,
    ):
        require_starts_left(record.claim)
    assert MOST_STARTS == 3
    assert "killed 3 times" in raised.value.reason


LEASE = sys.modules[mark_stopping.__module__]  # the package has a function of the module's name


def told_to_stop(ledger: Ledger, patch: pytest.MonkeyPatch) -> None:
    """Be another worker from now on, one that is told to stop."""
    patch.setattr(LEASE, "HOLDER", uuid.uuid4().hex)
    mark_stopping(ledger.redis)


def test_a_worker_that_is_told_to_stop_is_not_ended_by_its_work(
    ledger: Ledger, run: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(5):
        told_to_stop(ledger, monkeypatch)
        die_often(ledger, run, 1)
    with ledger.claim(run.id, run.key, seconds=30) as (_, record):
        require_starts_left(record.claim)


def test_a_worker_that_is_told_to_stop_when_it_has_begun_is_not_ended_by_its_work(
    ledger: Ledger, run: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(5):
        monkeypatch.setattr(LEASE, "HOLDER", uuid.uuid4().hex)
        die_often(ledger, run, 1)
        mark_stopping(ledger.redis)
    with ledger.claim(run.id, run.key, seconds=30) as (_, record):
        require_starts_left(record.claim)


def test_what_has_killed_workers_is_remembered_when_one_is_told_to_stop(
    ledger: Ledger, run: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    die_often(ledger, run, 2)
    told_to_stop(ledger, monkeypatch)
    die_often(ledger, run, 1)
    monkeypatch.setattr(LEASE, "HOLDER", "another")
    die_often(ledger, run, 1)
    with (
        ledger.claim(run.id, run.key, seconds=30) as (_, record),
        pytest.raises(ItemFailed, match="worker-killed"),
    ):
        require_starts_left(record.claim)


def test_the_claim_of_a_worker_that_is_told_to_stop_is_still_its_own(
    ledger: Ledger, run: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    told_to_stop(ledger, monkeypatch)
    with (
        ledger.claim(run.id, run.key, seconds=30),
        pytest.raises(Busy, match="claimed-elsewhere"),
        ledger.claim(run.id, run.key, seconds=30),
    ):
        pass


def test_a_claim_on_worn_work_may_record_how_it_ended(ledger: Ledger, run: Opened) -> None:
    die_often(ledger, run, 3)
    with ledger.claim(run.id, run.key, seconds=30) as (_, record):
        ledger.fail(record, "worker-killed", "of a test")
    assert run.item().code == "worker-killed"


def test_the_count_begins_anew_after_an_orderly_end(ledger: Ledger, run: Opened) -> None:
    die_often(ledger, run, 2)
    with ledger.claim(run.id, run.key, seconds=30) as (_, record):
        assert claim_of(record).exhausted is False
    die_often(ledger, run, 3)


def test_an_error_is_an_orderly_end(ledger: Ledger, run: Opened) -> None:
    def fail() -> None:
        with ledger.claim(run.id, run.key, seconds=30) as (_, record):
            assert claim_of(record).exhausted is False
            raise RuntimeError

    for _ in range(5):
        with pytest.raises(RuntimeError):
            fail()


def test_a_claim_that_is_refused_is_no_start(ledger: Ledger, run: Opened) -> None:
    record = run.die_at()
    for _ in range(5):
        with pytest.raises(Busy), ledger.claim(run.id, run.key, seconds=30):
            pass
    lapse(ledger.redis, claim_of(record))
    die_often(ledger, run, 2)


def test_a_search_that_ends_its_workers_is_given_up_as_well(redis: Redis, work: str) -> None:
    for _ in range(3):
        lapse(redis, die_holding(redis, work))
    with pytest.raises(ItemFailed, match="worker-killed"), lease(redis, work, 30):
        pass
    assert is_free(redis, work)


# Put off


def test_a_step_that_is_put_off_is_begun_by_no_copy_of_its_message(ledger: Ledger, run: Opened) -> None:
    ledger.put_off(run.id, run.key, seconds=30)
    with pytest.raises(Busy) as raised, ledger.claim(run.id, run.key, seconds=30):
        pass
    assert raised.value.delay
    assert run.item().state is ItemState.FOUND


def test_a_step_that_was_put_off_is_begun_when_its_time_has_come(ledger: Ledger, run: Opened, clock: Clock) -> None:
    ledger.put_off(run.id, run.key, seconds=0.3)
    clock.move(0.4)
    with ledger.claim(run.id, run.key, seconds=30) as (_, record):
        assert record.state is ItemState.CLAIMED


def test_an_archive_that_is_put_off_holds_up_no_other(ledger: Ledger, run: Opened) -> None:
    ledger.put_off(run.id, run.key, seconds=30, part="a.zip")
    with ledger.claim(run.id, run.key, 30, "b.zip"), pytest.raises(Busy), ledger.claim(run.id, run.key, 30, "a.zip"):
        pass
