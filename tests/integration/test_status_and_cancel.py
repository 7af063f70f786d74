"""A caller asks how far its run is, and cancels it: through Celery and through the intake, its owner's runs only."""

import json
import uuid

import pytest
from celery.result import AsyncResult

from local.processes import Child
from shared.answer import Answer, Status
from shared.context import Context
from shared.ledger import INTAKE
from tests.integration.conftest import Caller, closed_run, of_type, wait_for
from tests.integration.test_halted import standing_still
from tests.requests import raw
from workers.gate import Gate

SECONDS = 60


def asked(result: "AsyncResult[object]") -> Answer:
    return Answer.model_validate(result.get(SECONDS))


def test_the_status_of_a_run_is_how_it_ended(context: Context, caller: Caller) -> None:
    run = caller.stage(of_type("OPER_MPL_ORBSCT"))
    run.get(SECONDS)
    answer = asked(caller.send("auxip.status", run=run.id))
    assert (answer.run, answer.status, answer.owner) == (run.id, Status.SUCCESSFUL, caller.env["owner_id"])
    assert answer.counts is not None
    assert answer.counts.staged == 2
    assert answer.report == context.ledger.run(run.id).artifact


def test_a_run_that_goes_on_can_be_asked_about_and_cancelled_twice(
    context: Context, caller: Caller, workers: list[Child]
) -> None:
    with standing_still(context, workers, "staging"):
        run = caller.stage(of_type("AX___OSF_AX"))
        wait_for(lambda: context.ledger.redis.hget(f"auxip:run:{run.id}", "state") == "working", "it works", SECONDS)
        assert asked(caller.send("auxip.status", run=run.id)).status is Status.WORKING
        first = asked(caller.send("auxip.cancel", run=run.id))
        second = asked(caller.send("auxip.cancel", run=run.id))
        assert first.cancelled
        assert first.cancelled == second.cancelled
    closed_run(context, run.id)
    assert asked(caller.send("auxip.status", run=run.id)).status is Status.CANCELLED


def test_a_run_that_is_closed_is_not_cancelled(caller: Caller) -> None:
    run = caller.stage(of_type("NO_SUCH_TYPE"))
    run.get(SECONDS)
    with pytest.raises(Exception, match="not-cancelled"):
        caller.send("auxip.cancel", run=run.id).get(SECONDS)


@pytest.mark.parametrize("task", ["auxip.status", "auxip.cancel"])
def test_a_run_of_another_owner_is_as_unknown_as_one_that_there_is_not(
    context: Context, caller: Caller, workers: list[Child], task: str
) -> None:
    other = Caller(caller.collection, {"owner_id": "somebody"})
    with standing_still(context, workers, "search"):
        run = caller.stage(of_type("NO_SUCH_TYPE"))
        wait_for(lambda: context.ledger.knows_run(run.id), "it is open", SECONDS)
        missing = str(uuid.uuid4())
        said = [str(other.send(task, run=each).get(SECONDS, propagate=False)) for each in (run.id, missing)]
        assert "unknown-run" in said[0]
        assert said[0].replace(run.id, missing) == said[1]
        assert context.ledger.run(run.id).cancelled is None


def test_a_request_about_a_run_is_answered_with_the_answer_of_the_run(context: Context, caller: Caller) -> None:
    run = caller.stage(of_type("NO_SUCH_TYPE"))
    run.get(SECONDS)
    name = str(uuid.uuid4())
    request = {"task": "auxip.status", "arguments": {"env": caller.env, "run": run.id}, "id": name, "reply": name}
    context.ledger.redis.lpush(INTAKE, raw(request))
    Gate(context.settings).serve_some()
    wait_for(lambda: context.ledger.redis.llen(f"auxip:reply:{name}") == 1, "it is answered", SECONDS)

    reply = Answer.model_validate(json.loads(str(context.ledger.redis.lpop(f"auxip:reply:{name}"))))
    assert (reply.id, reply.run, reply.status) == (name, None, Status.SUCCESSFUL)
    about = Answer.model_validate(reply.result)
    assert (about.run, about.status) == (run.id, Status.EMPTY)


@pytest.mark.parametrize("task", ["auxip.status", "auxip.search"])
def test_a_task_with_the_id_of_a_run_leaves_the_result_of_the_run_alone(
    context: Context, caller: Caller, task: str
) -> None:
    from workers.app import app

    run = caller.stage(of_type("NO_SUCH_TYPE"))
    run.get(SECONDS)
    known = {letter.id for letter in context.dead_letters.letters(kind="message")}
    arguments = {"run": run.id} if task == "auxip.status" else {"auxip_cql2": of_type("NO_SUCH_TYPE")}
    app.send_task(task, kwargs={"env": caller.env, **arguments}, task_id=run.id)

    def refused() -> list[str]:
        letters = context.dead_letters.letters(kind="message")
        return [letter.code for letter in letters if letter.id not in known]

    wait_for(lambda: refused() == ["id-taken"], "it is refused", SECONDS)
    assert run.get(SECONDS) == [True, None]
