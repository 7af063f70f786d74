"""Lanes: what somebody waits for overtakes what nobody waits for, and the latter goes on nevertheless."""

from collections.abc import Callable

import pytest
from celery.app.task import Context

from shared.models import Lane, RunRequest
from shared.selection import Given
from workers.lanes import MOST_IN_A_ROW, Turns
from workers.queues import QUEUES, Queue, bulk_max_of, lane_of, lane_of_queue, queue_for, queue_name

BOTH = ["staging.bulk", "staging"]


def after(*taken: str) -> Turns:
    turns = Turns()
    for queue in taken:
        turns.took(queue)
    return turns


def taken(turns: Turns, waiting: dict[str, int], takes: int) -> list[str]:
    """The lists that a worker takes from, which has so many messages waiting on each."""
    names = []
    for _ in range(takes):
        name = next(name for name in turns.order(BOTH) if waiting[name])
        waiting[name] -= 1
        turns.took(name)
        names.append(name)
    return names


# The turns


def test_an_on_demand_message_is_next_however_many_bulk_ones_wait() -> None:
    assert after(*["staging.bulk"] * 500).order(BOTH) == ["staging", "staging.bulk"]


def test_a_worker_begins_with_the_on_demand_lane() -> None:
    assert Turns().order(BOTH) == ["staging", "staging.bulk"]


def test_every_eighth_of_a_stream_of_on_demand_messages_gives_way_to_a_bulk_one() -> None:
    names = taken(Turns(), {"staging": 100, "staging.bulk": 100}, 24)
    assert names == (["staging"] * MOST_IN_A_ROW + ["staging.bulk"]) * 3


def test_bulk_messages_that_are_not_there_cost_the_others_nothing() -> None:
    assert taken(Turns(), {"staging": 20, "staging.bulk": 0}, 20) == ["staging"] * 20


def test_a_bulk_message_that_comes_after_many_on_demand_ones_is_next_but_only_one() -> None:
    turns = after(*["staging"] * 100)
    assert taken(turns, {"staging": 9, "staging.bulk": 9}, 2) == ["staging.bulk", "staging"]


def test_the_lists_of_one_lane_keep_the_order_in_which_they_take_turns() -> None:
    rotated = ["catalog.bulk", "runs", "staging.bulk", "catalog", "runs.bulk", "staging"]
    on_demand, bulk = ["runs", "catalog", "staging"], ["catalog.bulk", "staging.bulk", "runs.bulk"]
    assert Turns().order(rotated) == on_demand + bulk
    assert after(*["runs"] * MOST_IN_A_ROW).order(rotated) == bulk + on_demand


# Room for on-demand work


class Working:
    """As much of a request that a process works on as its lane needs."""

    def __init__(self, queue: str) -> None:
        self.delivery_info = {"routing_key": queue}


@pytest.fixture
def working(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """What has the worker's processes work on messages of lists."""

    def work(*queues: str) -> None:
        monkeypatch.setattr("celery.worker.state.reserved_requests", {Working(queue) for queue in queues})

    return work


def test_bulk_lists_are_left_out_while_bulk_work_has_the_processes_that_it_may_have(
    working: Callable[..., None],
) -> None:
    working("staging.bulk", "staging.bulk", "staging")
    assert Turns().order(BOTH, bulk_max=3) == ["staging", "staging.bulk"]
    assert Turns().order(BOTH, bulk_max=2) == ["staging"]
    assert Turns().order(BOTH) == ["staging", "staging.bulk"]


@pytest.mark.parametrize(
    ("lists", "concurrency", "bulk_max"),
    [
        (("search", "search.bulk"), 2, 1),
        (("runs.bulk",), 4, 3),
        (("search", "search.bulk"), 1, 1),
        (("staging", "staging.bulk", "catalog"), 12, 11),
        (("catalog", "catalog.bulk"), 2, None),
        (("replies-of-a-caller",), 2, None),
    ],
)
def test_a_worker_keeps_a_process_for_on_demand_work_where_a_message_may_take_minutes(
    lists: tuple[str, ...], concurrency: int, bulk_max: int | None
) -> None:
    assert bulk_max_of(lists, concurrency) == bulk_max


# The names


@pytest.mark.parametrize("queue", QUEUES, ids=lambda queue: queue.name)
def test_a_queue_has_a_list_for_each_lane(queue: Queue) -> None:
    assert queue.lists == (queue.name, f"{queue.name}.bulk")
    assert [lane_of_queue(queue_name(queue.name, lane)) for lane in Lane] == [*Lane]


def test_the_name_of_no_queue_is_that_of_a_lane() -> None:
    names = [name for queue in QUEUES for name in queue.lists]
    assert len(names) == len(set(names)) == 2 * len(QUEUES)
    assert not any("." in queue.name for queue in QUEUES)


def test_a_task_is_put_on_its_queues_list_for_the_lane() -> None:
    assert queue_for("auxip.step.stage_item", Lane.ON_DEMAND) == "staging"
    assert queue_for("auxip.step.stage_item", Lane.BULK) == "staging.bulk"


@pytest.mark.parametrize(
    ("delivery_info", "lane"),
    [
        ({"routing_key": "runs"}, Lane.ON_DEMAND),
        ({"routing_key": "runs.bulk"}, Lane.BULK),
        ({"routing_key": None}, Lane.ON_DEMAND),
        ({}, Lane.ON_DEMAND),
        (None, Lane.ON_DEMAND),
    ],
)
def test_a_message_tells_its_lane_by_the_list_that_it_came_from(delivery_info: object, lane: Lane) -> None:
    assert lane_of(Context(delivery_info=delivery_info)) is lane


# The record


def test_a_request_that_was_recorded_before_there_were_lanes_is_on_demand() -> None:
    request = RunRequest(owner="owner", collection="aux", selection=Given(item_id="X"))
    recorded = request.model_dump_json(exclude={"lane"})
    assert "lane" not in recorded
    assert RunRequest.model_validate_json(recorded).lane is Lane.ON_DEMAND
