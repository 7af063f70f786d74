"""Runs through real workers that lose their messages, their workers or their catalog: each ends, and once."""

import os
import signal
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from celery.result import AsyncResult

from local import samples
from local.processes import Child
from local.samples import Defect
from local.stack import Stack
from shared.context import Context
from shared.ledger.agenda import OPEN
from shared.ledger.lease import MOST_STARTS
from shared.models import Claim, ItemState, RunRequest, RunState, work_key
from shared.runs.due import searching
from shared.stac.search import Cql2
from tests.integration.conftest import Caller, closed_run, of_type, wait_for
from tests.integration.test_runs import result_of
from tests.processes import descendants

SECONDS = 60
TYPES = ("OPER_AUX_ECMWFD_PDMC", "OPER_AUX_UT1UTC_PDMC", "OPER_MPL_ORBPRE")
ITEMS = len({each.item_id for each in samples.catalogue() if each.product_type in TYPES})
QUEUES = ("search", "staging", "catalog", "decompress", "runs")


class Begun:
    """A run that is open and whose search is on its queue; no other run is on the agenda."""

    def __init__(self, context: Context, caller: Caller, *types: str) -> None:
        from workers.app import app
        from workers.base import publish

        self.context = context
        self.redis = context.ledger.redis
        self.redis.delete(OPEN)
        self.id = f"halted-{uuid.uuid4()}"
        request = RunRequest(
            owner=str(caller.env["owner_id"]),
            collection=caller.collection,
            selection=Cql2(filter=of_type(*(types or TYPES))),
        )
        context.ledger.open_run(self.id, request)
        publish([searching(context.ledger.run(self.id))])
        self.result: AsyncResult[object] = app.AsyncResult(self.id)

    def is_told(self) -> bool:
        """Whether the caller has the result; has the reconciler look whether something has come to a halt."""
        from workers.app import app

        if not self.result.ready():
            app.send_task("auxip.reconcile")
        return self.result.ready()

    def end(self) -> None:
        wait_for(self.is_told, "the caller has the result", SECONDS)

    def closings(self, workers: list[Child]) -> int:
        log = next(worker.log for worker in workers if worker.name == "worker-runs")
        return log.read_text().count(f"Task auxip.step.close_run[{self.id}] succeeded")


@contextmanager
def standing_still(context: Context, workers: list[Child], queue: str) -> Iterator[None]:
    """Let the worker of a queue take no message for the length of the block."""
    from workers.app import app

    redis = context.ledger.redis

    def stays() -> bool:
        """Whether a message stays on the queue, after one that the server may have owed to the worker."""
        app.send_task("auxip.reconcile", queue=queue)
        return int(redis.llen(queue)) > 0

    (worker,) = (worker for worker in workers if worker.name == f"worker-{queue}")
    worker.popen.send_signal(signal.SIGSTOP)
    try:
        wait_for(stays, "the worker takes nothing")
        redis.delete(queue)
        yield
    finally:
        worker.popen.send_signal(signal.SIGCONT)


def expect_whole(begun: Begun, workers: list[Child]) -> None:
    """Make sure that a run has ended as if nothing had happened, exactly once."""
    status, items = result_of(begun.result.get(SECONDS))
    assert status is True
    assert len(items) == ITEMS
    run = closed_run(begun.context, begun.id)
    assert (run.state, run.counts.items, run.counts.staged) == (RunState.SUCCESSFUL, ITEMS, ITEMS)
    wait_for(lambda: not begun.context.ledger.agenda.is_open(begun.id), "the run is off the agenda")
    assert begun.closings(workers) == 1


@pytest.mark.long
@pytest.mark.parametrize("queue", QUEUES)
def test_a_run_whose_messages_on_a_queue_are_all_lost_ends_once(
    caller: Caller, context: Context, workers: list[Child], queue: str
) -> None:
    redis = context.ledger.redis
    with standing_still(context, workers, queue):
        begun = Begun(context, caller)
        wait_for(lambda: redis.llen(queue) > 0, "there are messages to lose")
        redis.delete(queue)
    begun.end()

    expect_whole(begun, workers)


@pytest.mark.long
def test_a_run_that_loses_messages_of_its_items_on_every_queue_ends_once(
    caller: Caller, context: Context, workers: list[Child]
) -> None:
    lost, enough = [0], threading.Event()

    def lose() -> None:
        while not enough.wait(0.002):
            for queue in ("staging", "catalog", "decompress"):
                lost[0] += int(context.ledger.redis.llen(queue))
                context.ledger.redis.delete(queue)

    thief = threading.Thread(target=lose)
    thief.start()
    begun = Begun(context, caller)
    try:
        wait_for(lambda: lost[0] > 10 or begun.is_told(), "messages are lost")
    finally:
        enough.set()
        thief.join()
    begun.end()

    expect_whole(begun, workers)


def test_a_run_that_loses_nothing_is_closed_once_however_often_the_reconciler_looks(
    caller: Caller, context: Context, workers: list[Child]
) -> None:
    begun = Begun(context, caller)
    begun.end()
    expect_whole(begun, workers)


@pytest.mark.long
@pytest.mark.timeout(180)
def test_an_item_that_kills_its_worker_three_times_fails_and_its_neighbours_are_staged(
    caller: Caller, context: Context, workers: list[Child], stack: Stack
) -> None:
    killer, *_ = [each for each in samples.catalogue() if each.product_type == "OPER_MPL_ORBPRE"]
    stack.set_station_faults([{"path": str(killer.uuid), "delay": 30}])
    (worker,) = (worker for worker in workers if worker.name == "worker-staging")
    before = stack.station_traffic().downloads
    begun = Begun(context, caller, "OPER_MPL_ORBPRE")
    claim = Claim(work_key(str(caller.env["owner_id"]), caller.collection, killer.item_id))

    def neighbours_are_done() -> bool:
        counts = context.ledger.run(begun.id).counts
        return counts.items > 1 and counts.finished == counts.items - 1

    wait_for(neighbours_are_done, "its neighbours are staged")
    for start in range(1, MOST_STARTS + 1):
        downloads = before + context.ledger.run(begun.id).counts.items - 1 + start
        wait_for(
            lambda n=start, d=downloads: (  # type: ignore[misc]
                begun.redis.hget(claim.key, "starts") == str(n) and stack.station_traffic().downloads == d
            ),
            f"it is begun for the {start}. time",
        )
        for pid in descendants(worker.popen.pid):
            os.kill(pid, signal.SIGKILL)
    status, _ = result_of(begun.result.get(SECONDS))

    run = closed_run(context, begun.id)
    assert (status, run.state, run.counts.failed) == (False, RunState.PARTIAL, 1)
    codes = {record.item_id: (record.state, record.code) for record in context.ledger.items(begun.id)}
    assert codes.pop(killer.item_id) == (ItemState.FAILED, "worker-killed")
    assert {state for state, _ in codes.values()} == {ItemState.CATALOGUED}
    assert stack.station_traffic().downloads == before + len(codes) + MOST_STARTS


@pytest.mark.long
def test_a_run_whose_items_are_done_is_closed_however_often_the_catalog_is_away(
    caller: Caller, context: Context, workers: list[Child], stack: Stack
) -> None:
    with standing_still(context, workers, "runs"):
        begun = Begun(context, caller, "OPER_MPL_ORBPRE")
        wait_for(lambda: context.ledger.redis.llen("runs") > 0, "it is to be closed")
        stack.set_catalog_faults([{"path": "/search", "status": 503, "times": 2 * context.settings.attempts}])
    begun.end()


def test_a_run_whose_items_are_gone_from_the_catalog_fails_and_is_not_left_open(
    caller: Caller, context: Context, workers: list[Child], stack: Stack
) -> None:
    with standing_still(context, workers, "runs"):
        begun = Begun(context, caller, "OPER_MPL_ORBPRE")
        wait_for(lambda: context.ledger.redis.llen("runs") > 0, "it is to be closed")
        nothing = '{"type": "FeatureCollection", "features": [], "links": []}'
        stack.set_catalog_faults([{"path": "/search", "body": nothing}])
    with pytest.raises(Exception, match="catalog-mismatch"):
        begun.result.get(SECONDS)

    run = closed_run(context, begun.id)
    assert (run.state, run.code) == (RunState.FAILED, "catalog-mismatch")
    wait_for(lambda: not context.ledger.agenda.is_open(begun.id), "the run is off the agenda")


@pytest.mark.long
def test_what_fails_in_an_archive_is_told_when_its_messages_were_lost_too(
    caller: Caller, context: Context, workers: list[Child]
) -> None:
    with standing_still(context, workers, "decompress"):
        begun = Begun(context, caller, samples.FAULTY_PRODUCT_TYPE)
        wait_for(lambda: context.ledger.redis.llen("decompress") >= 2, "archives are to be expanded")
        context.ledger.redis.delete("decompress")
    begun.end()

    codes = {record.item_id: record.code for record in context.ledger.items(begun.id)}
    assert codes[samples.faulty(Defect.BAD_CRC).item_id] == "archive-damaged"
    assert codes[samples.faulty(Defect.PATH_TRAVERSAL).item_id] == "archive-unsafe"
