"""Flows: messages carry ids, the same step is the same task, and a caller's links survive until the run is closed."""

import json
from collections.abc import Iterator

import pytest
from celery.app.task import Context
from celery.canvas import Signature

from shared.models import Lane
from shared.stac.item import Json
from workers import flows
from workers.queues import queue_for


def steps(message: object) -> Iterator[Json]:
    """Every single task of a message, in the order of their start."""
    if isinstance(message, dict) and str(message.get("task")).startswith("auxip."):
        yield message
    elif isinstance(message, dict | list):
        for each in message.values() if isinstance(message, dict) else message:
            yield from steps(each)


def sent(signature: Signature) -> list[Json]:
    """The tasks of a signature as they go over the wire."""
    return list(steps(json.loads(json.dumps(signature))))


def names(signature: Signature) -> list[str]:
    return [str(step["task"]).removeprefix("auxip.step.") for step in sent(signature)]


def ids(signature: Signature) -> list[str]:
    return [step["options"]["task_id"] for step in sent(signature)]  # type: ignore[index, call-overload, misc]


def leaves(value: object) -> Iterator[object]:
    if isinstance(value, dict):
        for each in value.values():
            yield from leaves(each)
    elif isinstance(value, list):
        for each in value:
            yield from leaves(each)
    else:
        yield value


ITEM = flows.staging("run", "key", ["a.zip", "b.tgz"])
EVERY = {
    "find": flows.find("run"),
    "page": flows.page("run", 3),
    "page of items": flows.page_of_items("run", 3, [ITEM, flows.staging("run", "other", [])]),
    "staging": ITEM,
    "decompression": flows.decompression("run", "key", ["a.zip"]),
    "close": flows.close("run", ""),
}


def test_an_item_is_staged_published_expanded_published_again_and_settled() -> None:
    assert names(ITEM) == [
        "stage_item",
        "publish_item",
        "expand_asset",
        "expand_asset",
        "publish_expanded",
        "settle_item",
    ]


def test_an_item_without_archives_is_not_published_twice() -> None:
    assert names(flows.staging("run", "key", [])) == ["stage_item", "publish_item", "settle_item"]


def test_an_item_of_the_catalog_is_expanded_without_being_staged() -> None:
    assert names(flows.decompression("run", "key", ["a.zip"])) == ["expand_asset", "publish_expanded", "settle_item"]
    assert names(flows.decompression("run", "key", [])) == ["settle_item"]


def test_each_archive_of_an_item_is_expanded_by_a_task_of_its_own() -> None:
    assert [step["args"] for step in sent(ITEM) if step["task"] == "auxip.step.expand_asset"] == [
        ["run", "key", "a.zip"],
        ["run", "key", "b.tgz"],
    ]


def test_a_page_ends_when_all_its_items_are_settled() -> None:
    page = json.loads(json.dumps(EVERY["page of items"]))
    items = [list(steps(item)) for item in page["kwargs"]["header"]]

    assert [item[-1]["task"] for item in items] == ["auxip.step.settle_item", "auxip.step.settle_item"]
    assert [step["task"] for step in steps(page["kwargs"]["body"])] == ["auxip.step.close_page"]


@pytest.mark.parametrize("name", EVERY)
def test_the_same_work_has_the_same_task_ids(name: str) -> None:
    again = {
        "find": lambda: flows.find("run"),
        "page": lambda: flows.page("run", 3),
        "page of items": lambda: flows.page_of_items(
            "run", 3, [flows.staging("run", "key", ["a.zip", "b.tgz"]), flows.staging("run", "other", [])]
        ),
        "staging": lambda: flows.staging("run", "key", ["a.zip", "b.tgz"]),
        "decompression": lambda: flows.decompression("run", "key", ["a.zip"]),
        "close": lambda: flows.close("run", ""),
    }[name]()
    assert ids(again) == ids(EVERY[name])


def test_different_work_has_different_task_ids() -> None:
    work = [
        flows.find("run"),
        flows.find("other"),
        flows.page("run", 1),
        flows.page("run", 2),
        flows.page_of_items(
            "run", 1, [flows.staging("run", "key", ["a.zip"]), flows.staging("run", "key2", ["a.zip"])]
        ),
        flows.staging("other", "key", ["a.zip", "b.zip"]),
        flows.close("run", ""),
    ]
    every = [task_id for each in work for task_id in ids(each)]
    assert len(set(every)) == len(every)


@pytest.mark.parametrize("name", EVERY)
def test_a_message_holds_only_texts_numbers_and_flags(name: str) -> None:
    message = json.loads(json.dumps(EVERY[name]))
    assert all(value is None or isinstance(value, str | int | bool) for value in leaves(message))


@pytest.mark.parametrize("name", EVERY)
def test_a_message_carries_ids_and_nothing_large(name: str) -> None:
    for step in sent(EVERY[name]):
        assert len(json.dumps(step["args"])) < 100
        assert step["kwargs"] == {}


@pytest.mark.parametrize("name", EVERY)
def test_no_step_is_given_the_result_of_another(name: str) -> None:
    assert all(step["immutable"] for step in sent(EVERY[name]))


def test_a_run_is_closed_under_the_id_that_the_caller_waits_on() -> None:
    closing = flows.close("run", "")
    assert (closing.task, closing.args, ids(closing)) == ("auxip.step.close_run", ("run",), ["run"])


def test_what_a_caller_linked_to_its_task_is_linked_to_the_last_step() -> None:
    then: Json = {
        "task": "mine.then",
        "args": [],
        "kwargs": {},
        "options": {},
        "subtask_type": None,
        "immutable": False,
    }
    request = Context(
        callbacks=[then], errbacks=[then], chain=[then], chord=then, group="group-1", group_index=2, id="run", retries=4
    )
    options = flows.close("run", flows.continuation_of(request)).options

    assert options == {
        "task_id": "run",
        "link": [then],
        "link_error": [then],
        "chain": [then],
        "chord": then,
        "group_id": "group-1",
        "group_index": 2,
        "queue": "runs",
    }


def test_a_caller_that_linked_nothing_leaves_nothing_to_link() -> None:
    continuation = flows.continuation_of(Context(id="run"))
    assert json.loads(continuation) == {}
    assert flows.close("run", continuation).options == {"task_id": "run", "queue": "runs"}


@pytest.mark.parametrize("lane", Lane)
def test_every_step_of_a_run_travels_in_its_lane(lane: Lane) -> None:
    item = flows.staging("run", "key", ["a.zip", "b.tgz"], lane)
    every = [
        flows.find("run", lane),
        flows.page("run", 3, lane),
        flows.page_of_items("run", 3, [item, flows.decompression("run", "other", ["c.zip"], lane)], lane),
        flows.close("run", "", lane),
    ]
    messages = [step for each in every for step in sent(each)]
    queues = {step["task"]: step["options"]["queue"] for step in messages}  # type: ignore[index, call-overload]
    assert queues == {task: queue_for(str(task), lane) for task in queues}
    assert len(queues) == 9
