"""Chains and chords between real workers: each link that is lost, killed or doubled, and the canvas of a caller."""

import json
import os
import signal
import sys
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import pytest
from celery import chain, chord
from celery.canvas import Signature
from celery.result import AsyncResult

from local import samples
from local.processes import Child, start
from local.products import formats
from local.stack import Stack
from shared.context import Context
from shared.json_types import Json
from shared.models import Claim, ItemState, work_key
from shared.runs.due import Plan, rest_of
from shared.stac.item import Asset, Item
from shared.storage.keys import Place, asset_location
from tests.integration.conftest import Caller, closed_run, files_of, of_id, of_type, wait_for
from tests.integration.test_halted import standing_still
from tests.ledger.opened import Opened, found
from tests.processes import descendants
from workers.queues import QUEUES

SECONDS = 60
ROOT = Path(__file__).parents[2]
ARCHIVES = ("a.zip", "b.zip", "c.zip")
DECOMPRESS = next(queue for queue in QUEUES if queue.name == "decompress")


class ArchivesOfOneItem:
    """An item in the catalog with several archives, and the run that expands them."""

    def __init__(self, context: Context, caller: Caller, large: str = "") -> None:
        self.context = context
        self.redis = context.ledger.redis
        self.owner, self.collection = str(caller.env["owner_id"]), caller.collection
        self.id = f"ITEM_{uuid.uuid4().hex[:8]}"
        self.key = work_key(self.owner, self.collection, self.id)
        place = Place(context.settings.s3_bucket, "")
        assets: dict[str, Json] = {}
        for name in ARCHIVES:
            content = _large() if name == large else formats.zip_archive({f"{name}.nc": formats.noise(name, 10_000)})
            location = asset_location(place, self.owner, self.collection, self.id, name)
            context.store.put(location, content)
            assets[name] = {"href": location.href, "file:size": len(content)}
        self.item = Item.model_validate(
            {
                "type": "Feature",
                "stac_version": "1.1.0",
                "links": [],
                "id": self.id,
                "collection": self.collection,
                "geometry": None,
                "properties": {"datetime": "2024-03-25T00:00:00Z", "owner": self.owner},
                "assets": assets,
            }
        )
        context.catalog_of(self.owner).publish(self.item)
        self.result: AsyncResult[object] = caller.send("auxip.unzip_decompress", auxip_item=self.item.to_json())

    def plan(self) -> Plan:
        run = self.context.ledger.run(self.result.id)
        return tuple(rest_of(run, self.context.ledger.item(run.id, self.key)))

    def is_claimed(self, part: str) -> bool:
        return bool(self.redis.exists(Claim(f"{self.key}:{part}").key))

    def is_told(self) -> bool:
        """Whether the caller has the result; has the reconciler look for what has come to a halt."""
        from workers.app import app

        if not self.result.ready():
            app.send_task("auxip.reconcile")
        return self.result.ready()

    def expect_whole(self) -> None:
        """Wait for the end, and make sure that all archives are expanded, once, and gone."""
        wait_for(self.is_told, "the caller has the result", SECONDS)
        found = self.result.get(SECONDS)
        assert isinstance(found, dict)
        assert sorted(files_of(found)) == ["a", "b", "c"]
        run = closed_run(self.context, self.result.id)
        assert (run.counts.items, run.counts.expanded, run.counts.failed) == (1, 1, 0)


def _large() -> bytes:
    """An archive that takes about a second to expand."""
    return formats.zip_archive({f"{number}.nc": formats.noise(str(number), 2**20) for number in range(48)})


def lose(context: Context, queue: str, count: int) -> None:
    """Take so many messages off a queue, as a broker does that forgets its last two seconds."""
    wait_for(lambda: int(context.ledger.redis.llen(queue)) >= count, f"{count} messages on {queue}")
    for _ in range(count):
        context.ledger.redis.lpop(queue)


def test_a_chord_whose_messages_all_arrive_needs_no_reconciler(caller: Caller, context: Context) -> None:
    item = ArchivesOfOneItem(context, caller)
    found = item.result.get(SECONDS)
    assert isinstance(found, dict)
    assert sorted(files_of(found)) == ["a", "b", "c"]


# What a broker loses


@pytest.mark.long
@pytest.mark.parametrize("lost", [1, 2, 3])
def test_parts_of_a_chord_that_are_lost_are_published_again_and_its_body_runs(
    caller: Caller, context: Context, workers: list[Child], lost: int
) -> None:
    with standing_still(context, workers, "decompress"):
        item = ArchivesOfOneItem(context, caller)
        wait_for(lambda: item.redis.llen("decompress") >= len(ARCHIVES), "the chord is published")
        lose(context, "decompress", lost)
    item.expect_whole()


@pytest.mark.long
def test_the_body_of_a_chord_that_is_lost_is_published_again(
    caller: Caller, context: Context, workers: list[Child]
) -> None:
    with standing_still(context, workers, "catalog"):
        item = ArchivesOfOneItem(context, caller)
        lose(context, "catalog", 1)
    item.expect_whole()


# What comes twice


@pytest.mark.long
def test_a_plan_that_is_published_many_times_is_done_once(
    caller: Caller, context: Context, workers: list[Child]
) -> None:
    from workers.base import publish

    with standing_still(context, workers, "decompress"):
        item = ArchivesOfOneItem(context, caller)
        wait_for(lambda: item.redis.llen("decompress") >= len(ARCHIVES), "the chord is published")
        for _ in range(4):
            publish([item.plan()])
    item.expect_whole()
    logs = {worker.name: worker.log.read_text() for worker in workers}
    assert logs["worker-runs"].count(f"Task auxip.step.close_run[{item.result.id}] succeeded") == 1
    assert all("Traceback" not in text.partition(item.id)[2] for text in logs.values())


def test_what_is_published_again_stays_in_the_tree_of_its_run(
    caller: Caller, context: Context, workers: list[Child]
) -> None:
    from workers.base import publish

    with standing_still(context, workers, "decompress"):
        item = ArchivesOfOneItem(context, caller)
        lose(context, "decompress", len(ARCHIVES))
        publish([item.plan()])
        messages = [json.loads(str(each)) for each in item.redis.lrange("decompress", 0, -1)]
    assert [message["headers"]["root_id"] for message in messages] == [item.result.id] * len(ARCHIVES)
    item.expect_whole()


@pytest.mark.parametrize(("redelivered", "goes_on"), [(False, False), (True, True)])
def test_a_step_that_is_done_already_goes_on_only_where_its_message_is_delivered_again(
    context: Context, redelivered: bool, goes_on: bool
) -> None:
    from workers.tasks.staging import stage

    run = Opened(context.ledger, found())
    run.begin()
    with context.ledger.claim(run.id, run.key, 30) as (_, record):
        context.ledger.reach(record, ItemState.STAGED)
        context.ledger.next(record)  # and here its worker may have died, before Celery sent the link
    stage.push_request(id="1", chain=[{"task": "the next"}], delivery_info={"redelivered": redelivered})
    try:
        stage.run(run.id, run.key)
        assert bool(stage.request.chain) is goes_on
    finally:
        stage.pop_request()
        context.ledger.agenda.forget_run(run.id)


@pytest.mark.long
def test_what_a_worker_that_stood_still_has_overwritten_is_published_as_it_is_expanded(
    caller: Caller, context: Context
) -> None:
    from workers.tasks.catalog import fetch

    product = samples.product(samples.UPPER_CASE_ARCHIVE)
    result = caller.stage(of_id(product.item_id))
    result.get(SECONDS)
    catalog = context.catalog_of(str(caller.env["owner_id"]))
    before = catalog.get(caller.collection, product.item_id)
    assert before is not None
    ((_, expanded),) = before.assets.items()
    assert expanded.source is not None
    archive = Asset.model_validate({"href": expanded.source.href, "file:size": expanded.source.size})
    catalog.publish(before.model_copy(update={"assets": {samples.UPPER_CASE_ARCHIVE: archive}}))

    fetch.push_request(id="1", chain=[{"task": "the next"}], delivery_info={"redelivered": True})
    try:
        fetch.run(result.id, *context.ledger.keys(result.id))  # its own message, which comes again
        assert fetch.request.chain is None
    finally:
        fetch.pop_request()
    after = catalog.get(caller.collection, product.item_id)
    assert after is not None
    assert {key: asset.href for key, asset in after.assets.items()} == {
        key: asset.href for key, asset in before.assets.items()
    }


def test_a_step_after_which_nothing_is_due_ends_its_chain_and_settles_its_item(context: Context) -> None:
    from workers.tasks.staging import stage

    run = Opened(context.ledger, found())
    run.begin()
    context.ledger.cancel_run(run.id)
    stage.push_request(id="1", chain=[{"task": "the next"}], delivery_info={})
    try:
        stage.run(run.id, run.key)
        assert stage.request.chain is None
        assert run.item().code == "cancelled"
    finally:
        stage.pop_request()
        context.ledger.agenda.forget_run(run.id)


# What kills a part of a chord


@contextmanager
def other_worker(stack: Stack) -> Iterator[Child]:
    """Another worker of the queue `decompress`."""
    argv = [sys.executable, "-m", "celery", "-A", "workers.app:app", "worker", "--concurrency", "2"]
    argv += ["--queues", ",".join(DECOMPRESS.lists), "--hostname", f"other-{uuid.uuid4().hex[:6]}@%h"]
    child = stack.start_process(f"other-{uuid.uuid4().hex[:6]}", argv, {**os.environ, "PYTHONPATH": str(ROOT)})
    try:
        yield child
    finally:
        child.stop(5)


def strike(item: ArchivesOfOneItem, worker: Child, number: signal.Signals) -> None:
    """Send a signal to the processes of a worker's pool while it expands the large archive."""
    wait_for(lambda: item.is_claimed("b.zip"), "the large archive is being expanded")
    for pid in descendants(worker.popen.pid):
        os.kill(pid, number)


@pytest.mark.long
def test_a_child_that_is_killed_in_a_part_of_a_chord_costs_nothing(
    caller: Caller, context: Context, workers: list[Child], stack: Stack
) -> None:
    with standing_still(context, workers, "decompress"), other_worker(stack) as worker:
        item = ArchivesOfOneItem(context, caller, large="b.zip")
        strike(item, worker, signal.SIGKILL)
        item.expect_whole()


@pytest.mark.long
def test_a_part_of_a_chord_that_meets_the_hard_time_limit_is_done_again(
    caller: Caller, context: Context, workers: list[Child], stack: Stack
) -> None:
    from workers import flows

    with standing_still(context, workers, "decompress"):
        item = ArchivesOfOneItem(context, caller, large="b.zip")
        wait_for(lambda: item.redis.llen("decompress") >= len(ARCHIVES), "the chord is published")
        item.redis.delete("decompress")
        again = flows.canvas(item.plan())
        for part in cast("Any", again).tasks:
            part.set(time_limit=3, soft_time_limit=3)  # minutes otherwise; the sender says it
        again.apply_async()
        with other_worker(stack) as worker:
            strike(item, worker, signal.SIGSTOP)  # so that nothing but the hard limit ends it
            wait_for(lambda: "Hard time limit" in worker.log.read_text(), "the hard limit has struck")
            item.expect_whole()


# What is left behind


def test_chords_that_workers_send_leave_no_subscription(caller: Caller, context: Context) -> None:
    items = [ArchivesOfOneItem(context, caller) for _ in range(3)]
    for item in items:
        item.expect_whole()
    channels = {str(name) for name in context.ledger.redis.pubsub_channels("celery-task-meta-*")}
    waited_for = {f"celery-task-meta-{item.result.id}" for item in items}
    parts = {name for name in channels - waited_for if name.removeprefix("celery-task-meta-") in _part_ids(items)}
    assert parts == set()


def _part_ids(items: list[ArchivesOfOneItem]) -> set[str]:
    from shared.runs.due import Step, StepName
    from workers import flows

    return {
        str(flows.message(Step(StepName.EXPAND, item.result.id, item.key, name)).options["task_id"])
        for item in items
        for name in ARCHIVES
    }


# What Flower shows


def test_a_run_is_a_tree_of_tasks_that_a_person_can_follow(caller: Caller, context: Context) -> None:
    from workers.app import app

    events: list[dict[str, object]] = []
    with app.connection_for_read() as connection:
        receiver = app.events.Receiver(connection, handlers={"task-received": events.append})
        listening = threading.Event()
        receiver.on_consume_ready = lambda *_args, **_kwargs: listening.set()
        thread = threading.Thread(target=receiver.capture, kwargs={"wakeup": False})
        thread.start()
        try:
            assert listening.wait(SECONDS)
            item = ArchivesOfOneItem(context, caller)
            item.expect_whole()
            wait_for(lambda: _seen(events, item.result.id, "auxip.step.close_run"), "the last event has come")
        finally:
            receiver.should_stop = True
            thread.join()

    tree = {str(event["name"]): event for event in events if event["root_id"] == item.result.id}
    assert {name.rpartition(".")[2] for name in tree} >= {
        *("find_items", "begin_items", "expand_asset", "publish_expanded", "close_run")
    }
    assert tree["auxip.step.begin_items"]["parent_id"] == tree["auxip.step.find_items"]["uuid"]
    assert tree["auxip.step.expand_asset"]["parent_id"] == tree["auxip.step.begin_items"]["uuid"]
    assert tree["auxip.step.close_run"]["parent_id"] == tree["auxip.step.publish_expanded"]["uuid"]
    shown = f"run {item.result.id[:8]}, item {item.id}"
    assert tree["auxip.step.publish_expanded"]["args"] == shown
    assert str(tree["auxip.step.expand_asset"]["args"]).startswith(f"{shown}, ")


def _seen(events: list[dict[str, object]], root: str, name: str) -> bool:
    return any(event["root_id"] == root and event["name"] == name for event in events)


# A caller's canvas, on a queue that only the caller has


@pytest.fixture
def their_worker(caller: Caller, tmp_path: Path) -> Iterator[Child]:
    argv = [sys.executable, "-m", "celery", "-A", "tests.integration.caller_app", "worker", "--pool", "solo"]
    child = start("theirs", argv, {**os.environ, "PYTHONPATH": str(ROOT)}, tmp_path, tmp_path / "theirs.log")
    yield child
    child.stop(5)


def staging(caller: Caller, product_type: str, collection: str = "") -> Signature:
    from tests.integration.caller_app import app

    kwargs = {
        "env": caller.env,
        "cql2_filter": of_type(product_type),
        "catalog_collection_identifier": collection or caller.collection,
    }
    return app.signature("auxip.staging", kwargs=kwargs, queue="runs")


def notes(context: Context, name: str) -> list[object]:
    from tests.integration.caller_app import NOTES

    found = [json.loads(str(each)) for each in context.ledger.redis.lrange(NOTES, 0, -1)]
    return [result for noted, result in found if noted == name]


@pytest.fixture
def their_url(context: Context) -> Iterator[None]:
    from tests.integration.caller_app import app

    url = context.settings.redis_url.get_secret_value()
    app.conf.update(broker_url=url, result_backend=url)
    yield
    app.backend.client.close()  # type: ignore[attr-defined]
    app.close()


@pytest.mark.long
@pytest.mark.usefixtures("their_worker", "their_url")
def test_what_a_caller_links_goes_on_on_the_callers_own_queue(caller: Caller, context: Context) -> None:
    from tests.integration.caller_app import QUEUE, note, note_error

    name = uuid.uuid4().hex

    def then(what: str) -> Signature:
        return note.s(f"{name} {what}").set(queue=QUEUE)

    error = note_error.s(f"{name} error").set(queue=QUEUE)
    linked = staging(caller, "NO_SUCH_TYPE").apply_async(link=then("link"), link_error=error)
    failing = staging(caller, "NO_SUCH_TYPE", "nowhere").apply_async(link_error=error)
    chained = chain(staging(caller, "NO_SUCH_TYPE"), then("chain")).apply_async()
    both = [staging(caller, "NO_SUCH_TYPE"), staging(caller, "OPER_MPL_ORBSCT")]
    joined = chord(both, then("chord")).apply_async()

    assert linked.get(SECONDS) == [True, None]
    assert chained.get(SECONDS) == [True, None]
    status, third = joined.get(SECONDS)[1]
    assert (status, joined.get(SECONDS)[0]) == (True, [True, None])
    assert third["features"]
    with pytest.raises(Exception, match="unknown-collection"):
        failing.get(SECONDS)
    wait_for(lambda: len(notes(context, f"{name} link")) == 1, "the link has run")
    wait_for(lambda: len(notes(context, f"{name} error")) == 1, "the link of the failure has run")
    assert notes(context, f"{name} chain") == [[True, None]]


@pytest.mark.long
def test_a_worker_with_a_misspelt_queue_does_not_start(context: Context, stack: Stack) -> None:
    argv = [sys.executable, "-m", "celery", "-A", "workers.app:app", "worker", "--queues", "decompres"]
    child = stack.start_process("misspelt", argv, {**os.environ})
    wait_for(lambda: child.popen.poll() is not None, "it has ended")
    assert "decompres" in child.tail()
