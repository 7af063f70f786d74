"""Messages: they carry ids, the same step is the same task, and a caller's links survive until the run is closed."""

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from celery.app.task import Context
from celery.canvas import Signature

from shared.json_types import Json
from shared.models import Lane
from shared.runs.due import Plan, Step, StepName
from workers import flows
from workers.queues import QUEUES, queue_for

LONGEST = "x" * 255
CLOSE = Step(StepName.CLOSE, "run")
EVERY = {
    "find": Step(StepName.FIND, "run"),
    "begin": Step(StepName.BEGIN, "run"),
    "stage": Step(StepName.STAGE, "run", "key"),
    "publish": Step(StepName.PUBLISH, "run", "key"),
    "expand": Step(StepName.EXPAND, "run", "key", "a.zip"),
    "publish expanded": Step(StepName.PUBLISH_EXPANDED, "run", "key"),
}


def wire(step: Step) -> Json:
    """The message of a step as it goes over the wire."""
    message = json.loads(json.dumps(flows.message(step)))
    assert isinstance(message, dict)
    return message


def task_id(step: Step) -> str:
    return str(flows.message(step).options["task_id"])


def leaves(value: object) -> Iterator[object]:
    if isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from leaves(each)
    else:
        yield value


def test_each_step_is_a_task_that_a_queue_has() -> None:
    assert {f"auxip.step.{name}" for name in StepName} <= {task for queue in QUEUES for task in queue.tasks}


@pytest.mark.parametrize("name", EVERY)
def test_a_message_says_what_is_to_be_done_by_ids_alone(name: str) -> None:
    message = wire(EVERY[name])
    assert message["task"] == f"auxip.step.{EVERY[name].name}"
    assert message["args"] == list(EVERY[name].args)
    assert message["kwargs"] == {}
    assert message["options"] == {
        "task_id": task_id(EVERY[name]),
        "queue": queue_for(str(message["task"]), Lane.ON_DEMAND),
        "argsrepr": message["options"]["argsrepr"],  # type: ignore[index, call-overload]
    }
    assert all(value is None or isinstance(value, str | int | bool) for value in leaves(message))


@pytest.mark.parametrize("name", EVERY)
def test_no_step_is_given_the_result_of_another(name: str) -> None:
    assert flows.message(EVERY[name]).immutable is True


@pytest.mark.parametrize("name", EVERY)
def test_the_same_work_is_the_same_task(name: str) -> None:
    step = EVERY[name]
    assert task_id(Step(step.name, step.run_id, step.key, step.part)) == task_id(step)


def test_different_work_is_another_task() -> None:
    expand = StepName.EXPAND
    others = [
        Step(StepName.FIND, "other"),
        Step(StepName.STAGE, "run", "other"),
        Step(StepName.STAGE, "other", "key"),
        Step(expand, "run", "key", "b.zip"),
        Step(expand, "run", "ke", "ya.zip"),
        Step(expand, "run", "key", LONGEST),
    ]
    ids = [task_id(step) for step in [*EVERY.values(), *others]]
    assert len(set(ids)) == len(ids)


def test_a_run_is_closed_under_the_id_that_the_caller_waits_on() -> None:
    closing = flows.closing(CLOSE, "")
    assert (closing.task, closing.args, closing.immutable) == ("auxip.step.close_run", ("run",), True)
    assert closing.options == {"task_id": "run", "queue": "runs", "argsrepr": "run run"}


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
    options = flows.closing(CLOSE, flows.continuation_of(request)).options

    assert options == {
        "task_id": "run",
        "link": [then],
        "link_error": [then],
        "chain": [then],
        "chord": then,
        "group_id": "group-1",
        "group_index": 2,
        "queue": "runs",
        "argsrepr": "run run",
    }


def test_a_caller_that_linked_nothing_leaves_nothing_to_link() -> None:
    continuation = flows.continuation_of(Context(id="run"))
    assert json.loads(continuation) == {}
    assert flows.closing(CLOSE, continuation).options.keys() == {"task_id", "queue", "argsrepr"}


@pytest.mark.parametrize("lane", Lane)
@pytest.mark.parametrize("name", EVERY)
def test_every_step_of_a_run_travels_in_its_lane(name: str, lane: Lane) -> None:
    message = flows.message(replace(EVERY[name], lane=lane))
    assert message.options["queue"] == queue_for(str(message.task), lane)


def test_a_run_is_closed_in_its_lane() -> None:
    assert flows.closing(replace(CLOSE, lane=Lane.BULK), "").options["queue"] == "runs.bulk"


# The canvas of a plan

PLAN: Plan = (
    (EVERY["stage"],),
    (EVERY["publish"],),
    (EVERY["expand"], Step(StepName.EXPAND, "run", "key", "b.zip")),
    (EVERY["publish expanded"],),
)


def names(signature: Signature) -> object:
    """A canvas as the names of its steps: a list is a chain, a pair is a chord's header and body."""
    if signature["subtask_type"] == "chain":
        return [names(each) for each in signature["kwargs"]["tasks"]]
    if signature["subtask_type"] == "chord":
        header = signature["kwargs"]["header"]
        parts = header["kwargs"]["tasks"] if isinstance(header, dict) else header
        return ([names(each) for each in parts], names(signature["kwargs"]["body"]))
    return str(signature["task"]).removeprefix("auxip.step.")


@pytest.mark.parametrize(
    ("plan", "canvas"),
    [
        (PLAN[:1], "stage_item"),
        (PLAN[:2], ["stage_item", "publish_and_fetch"]),
        (PLAN, ["stage_item", "publish_and_fetch", (["expand_asset", "expand_asset"], "publish_expanded")]),
        (PLAN[2:], (["expand_asset", "expand_asset"], "publish_expanded")),
        (((EVERY["expand"],), PLAN[3]), ["expand_asset", "publish_expanded"]),
        (((EVERY["find"],), (EVERY["begin"],)), ["find_items", "begin_items"]),
    ],
)
def test_a_plan_is_a_message_a_chain_or_a_chord(plan: Plan, canvas: object) -> None:
    assert names(flows.canvas(plan)) == canvas


@pytest.mark.parametrize("plan", [PLAN, PLAN[2:]])
def test_the_group_of_a_chord_is_given_no_id(plan: Plan) -> None:
    """Celery counts the parts of a group: those of two publications must not be counted together."""
    link: Any = flows.canvas(plan)
    chord = link.tasks[-1] if link["subtask_type"] == "chain" else link
    assert "task_id" not in chord.options
    assert isinstance(chord.tasks, list)  # no group yet, so Celery makes one for each publication


def test_the_steps_of_a_canvas_have_the_ids_of_their_work_and_their_own_queues() -> None:
    canvas: Any = flows.canvas(PLAN)
    first, second, chord = canvas.tasks
    links = [first, second, *chord.tasks, chord.body]
    assert [link.options["task_id"] for link in links] == [task_id(step) for stage in PLAN for step in stage]
    assert [link.options["queue"] for link in links] == ["staging", "catalog", "decompress", "decompress", "catalog"]


def test_flower_shows_the_run_and_the_item_of_a_step() -> None:
    step = replace(EVERY["expand"], run_id="0123456789abcdef", item_id="S1A_AUX", part="x" * 300)
    shown = str(flows.message(step).options["argsrepr"])
    assert shown.startswith("run 01234567, item S1A_AUX, xxx")
    assert len(shown) < 150


@pytest.mark.parametrize("name", EVERY)
def test_what_is_published_again_is_a_new_task(name: str) -> None:
    ids = {str(flows.canvas(((EVERY[name],),), again=True).options["task_id"]) for _ in range(2)}
    assert len(ids | {task_id(EVERY[name])}) == 3
