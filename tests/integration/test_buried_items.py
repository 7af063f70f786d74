"""Items that failed for good: one dead letter of each, by the rules, and replayed by a run that does what was asked."""

import json
import re
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from click.testing import CliRunner
from redis import Redis

from local import samples
from local.samples import Defect
from local.stack import Stack
from shared.context import Context
from shared.errors import Rejected
from shared.json_types import Json
from shared.ledger import DeadLetters, Letter, dead_letters
from shared.letter_rules import read_rules
from shared.models import ItemRecord, ItemState, Run, RunKind, RunRequest, RunState
from shared.runs.bury import FailedWork, bury_item, bury_replay, open_replay
from shared.selection import Given, PolicySelection
from shared.stac.search import RECORDED, Cql2
from tests.integration.conftest import Caller, closed_run, of_id, wait_for
from tests.integration.test_already_staged import PLAIN, offering
from tests.integration.test_bad_items import asset_with
from tests.integration.test_runs import SECONDS
from tests.unit.making import record_of, run_of
from workers.cli.main import auxip
from workers.replays import replay_due, replay_item

POLICIES = PolicySelection(product_types=("OPER_MPL_ORBPRE",), start=samples.DEMO_START, end=samples.DEMO_END)


@pytest.fixture(autouse=True)
def letters(context: Context) -> Iterator[DeadLetters]:
    yield context.dead_letters
    for letter in list(context.dead_letters.letters("item")):
        context.dead_letters.drop(letter.id)


@pytest.fixture
def redis(context: Context) -> Redis:
    return context.ledger.redis


@pytest.fixture
def run() -> Run:
    return a_run()


@pytest.fixture
def ruled(context: Context) -> Callable[..., Context]:
    """Makes a context with rules."""

    def make(**rules: str) -> Context:
        written = json.dumps({pattern.replace("_", "-"): outcome for pattern, outcome in rules.items()})
        return Context(context.settings.model_copy(update={"dead_letter_rules": read_rules(written)}))

    return make


def a_run(**request: Any) -> Run:
    return run_of(id=str(uuid.uuid4()), request=run_of().request.model_copy(update=request))


def failed(item_id: str = "X", code: str = "station-not-found", **changes: Any) -> ItemRecord:
    reason = "the station answered 404"
    return record_of(item_id, ItemState.FAILED, code=code, reason=reason, **{"claimed": 1.0, **changes})


def buried(context: Context, run: Run) -> list[Letter]:
    return list(context.dead_letters.letters("item", where=run.id))


def work_of(context: Context, letter: Letter) -> FailedWork:
    return FailedWork.model_validate_json(context.dead_letters.payload(letter.id), context=RECORDED)


# What is kept


def test_a_letter_tells_what_failed_where_and_why(context: Context, run: Run) -> None:
    bury_item(context, run, failed(attempts=3))
    (letter,) = buried(context, run)
    work = work_of(context, letter)

    assert (letter.kind, letter.code, letter.due) == ("item", "station-not-found", None)
    assert letter.reason == "X: the station answered 404"
    assert (work.run, work.key, work.item_id, work.attempts) == (run.id, "k-X", "X", 3)
    assert (work.code, work.reason) == ("station-not-found", "the station answered 404")


def test_an_item_that_is_buried_twice_has_one_letter(context: Context, run: Run) -> None:
    bury_item(context, run, failed())
    bury_item(context, run, failed())
    assert len(buried(context, run)) == 1


def test_a_letter_that_was_dropped_does_not_come_back_with_a_step_that_is_delivered_again(
    context: Context, run: Run
) -> None:
    bury_item(context, run, failed())
    context.dead_letters.drop(buried(context, run)[0].id)
    bury_item(context, run, failed())
    assert buried(context, run) == []


def test_of_a_run_in_which_much_fails_one_letter_stands_for_what_is_beyond_its_share(
    context: Context, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dead_letters, "RUN_SHARE", 2)
    for _ in range(2):
        for number in range(5):
            bury_item(context, run, failed(f"item-{number}"))

    rest, *own = buried(context, run)
    assert [work_of(context, letter).item_id for letter in own] == ["item-1", "item-0"]
    assert (rest.code, work_of(context, rest).request.selection) == ("many-failed", run.request.selection)


def test_a_run_takes_a_tenth_of_the_room_at_most(redis: Redis) -> None:
    assert [DeadLetters(redis, maximum).run_share for maximum in (5, 200, 10_000)] == [0, 20, 100]


def test_where_there_is_little_room_one_letter_stands_for_the_run(context: Context, run: Run) -> None:
    small = Context(context.settings.model_copy(update={"dead_letters_max": 9}))
    for number in range(5):
        bury_item(small, run, failed(f"item-{number}"))
    assert [letter.code for letter in buried(context, run)] == ["many-failed"]


# Rules


def test_what_a_rule_drops_has_no_letter(ruled: Callable[..., Context], context: Context, run: Run) -> None:
    bury_item(ruled(station_not_found="drop"), run, failed())
    assert buried(context, run) == []


def test_what_a_rule_retries_is_due_when_it_says(
    ruled: Callable[..., Context], context: Context, run: Run, redis: Redis
) -> None:
    bury_item(ruled(station_not_found="retry after 1h at most 3"), run, failed())
    (letter,) = buried(context, run)

    assert letter.due == pytest.approx(letter.parked + 3600, abs=2)
    assert context.dead_letters.due() == []
    assert context.dead_letters.letter(letter.id).due == letter.due


@pytest.mark.parametrize(("replays", "again"), [(0, True), (2, True), (3, False), (7, False)])
def test_what_was_retried_as_often_as_the_rule_says_waits_for_a_person(
    ruled: Callable[..., Context], context: Context, replays: int, again: bool
) -> None:
    run = a_run(replays=replays)
    bury_item(ruled(station_not_found="retry after 1h at most 3"), run, failed())
    (letter,) = buried(context, run)

    assert (letter.due is not None) is again
    assert work_of(context, letter).request.replays == replays + 1


def test_a_rule_for_many_failed_is_about_the_letter_that_stands_for_them(
    ruled: Callable[..., Context], context: Context, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dead_letters, "RUN_SHARE", 1)
    retrying = ruled(many_failed="retry after 1h at most 1")
    for number in range(3):
        bury_item(retrying, run, failed(f"item-{number}"))
    assert [letter.due is not None for letter in buried(context, run)] == [True, False]


def test_a_letter_that_is_no_more_is_not_due(ruled: Callable[..., Context], context: Context, redis: Redis) -> None:
    retrying = ruled(station_not_found="retry after 1h at most 3")
    first, second = a_run(), a_run()
    bury_item(retrying, first, failed())
    bury_item(retrying, second, failed())
    context.dead_letters.drop(buried(context, first)[0].id)
    DeadLetters(redis, 1).park("message", b"drives out all others", "c", "r", "nowhere")

    assert buried(context, second) == []
    assert redis.zcard(dead_letters.DUE) == 0
    for letter in list(context.dead_letters.letters(where="nowhere")):
        context.dead_letters.drop(letter.id)


# What a replay does


def test_a_replay_asks_for_the_item_as_its_run_did(context: Context) -> None:
    run = a_run(
        stations=("one", "two"), decompress=False, asset_names=("a.EOF",), layout="tree", timeout_seconds=7.0, label="l"
    )
    bury_item(context, run, failed())
    (letter,) = buried(context, run)
    replay = context.ledger.run(open_replay(context, letter.id)).request

    assert replay.selection == Cql2(filter=of_id("X"))
    changed = {"selection": replay.selection, "label": "replay of X", "replays": 1}
    assert replay == run.request.model_copy(update=changed)


def test_an_item_that_the_caller_named_is_named_again(context: Context) -> None:
    run = a_run(kind=RunKind.DECOMPRESS, selection=Given(item_id="X"))
    bury_item(context, run, failed())
    request = work_of(context, buried(context, run)[0]).request
    assert (request.kind, request.selection) == (RunKind.DECOMPRESS, Given(item_id="X"))


def test_what_no_policy_could_judge_is_judged_again_and_not_taken_by_its_id(context: Context) -> None:
    run = a_run(selection=POLICIES)
    bury_item(context, run, failed("unjudged", "bad-validity", claimed=None))
    bury_item(context, run, failed("selected"))
    selected, unjudged = (work_of(context, letter).request.selection for letter in buried(context, run))
    assert (selected, unjudged) == (Cql2(filter=of_id("selected")), POLICIES)


def test_a_replay_does_not_need_the_record_of_the_run_that_failed(context: Context, run: Run) -> None:
    bury_item(context, run, failed())
    (letter,) = buried(context, run)
    with pytest.raises(Rejected, match="unknown-run"):
        context.ledger.run(run.id)
    assert context.ledger.run(open_replay(context, letter.id)).state is RunState.ACCEPTED


def test_a_run_that_was_recorded_before_there_were_replays_has_had_none() -> None:
    recorded = json.loads(run_of().request.model_dump_json())
    del recorded["replays"]
    assert RunRequest.model_validate(recorded).replays == 0


def test_a_letter_that_cannot_be_read_is_not_replayed(context: Context, letters: DeadLetters) -> None:
    letter = letters.park("item", b'{"run": 7}', "c", "r", "nowhere")
    with pytest.raises(Rejected, match=r"not-replayable: .* cannot be read: run: "):
        open_replay(context, letter)


def test_a_run_that_is_no_replay_and_fails_as_a_whole_has_no_letter(context: Context, run: Run) -> None:
    context.ledger.open_run(run.id, run.request)
    bury_replay(context, run.id, "station-unavailable", "answered 503")
    assert buried(context, run) == []


def test_a_replay_that_fails_as_a_whole_has_one_letter_again(context: Context) -> None:
    run = a_run(replays=1, label="replay of X")
    context.ledger.open_run(run.id, run.request)
    for _ in range(2):
        bury_replay(context, run.id, "station-unavailable", "answered 503")
    (letter,) = buried(context, run)

    assert (letter.code, letter.reason) == ("station-unavailable", "replay of X: answered 503")
    assert work_of(context, letter).request == run.request.model_copy(update={"replays": 2})


def test_of_a_run_that_is_forgotten_nothing_can_be_kept(context: Context, run: Run) -> None:
    bury_replay(context, run.id, "station-unavailable", "answered 503")
    assert buried(context, run) == []


# Replays through the queues


def failed_run(caller: Caller, context: Context, stack: Stack, **options: object) -> Run:
    """A run whose only item has failed for the station's fault, which the station has mended since; it is buried."""
    with offering(stack, asset_with(stack, **{"file:checksum": "0" * 32})):
        result = caller.stage(of_id(PLAIN.item_id), **options)
        result.get(SECONDS)
    return closed_run(context, result.id)


def replayed(*arguments: str) -> list[dict[str, str]]:
    result = CliRunner().invoke(auxip, ["dead", "replay", *arguments, "--json"])
    assert result.exception is None, result.output
    answer: list[dict[str, str]] = json.loads(result.output)["replayed"]
    return answer


def test_the_command_replays_an_item_by_a_run_that_stages_it(caller: Caller, context: Context, stack: Stack) -> None:
    run = failed_run(caller, context, stack)
    (answer,) = replayed("--where", run.id)
    replay = closed_run(context, answer["run"])

    assert (replay.state, replay.counts.staged, replay.request.owner) == (RunState.SUCCESSFUL, 1, run.request.owner)
    assert context.catalog_of("").get(caller.collection, PLAIN.item_id) is not None
    assert buried(context, run) == []


@pytest.mark.parametrize("command", [["dead", "replay", "--where"], ["retry"]])
def test_a_letter_that_cannot_be_done_again_does_not_stop_the_others(
    context: Context, run: Run, command: list[str]
) -> None:
    context.ledger.open_run(run.id, run.request)
    bury_item(context, run, failed())
    unreadable = context.dead_letters.park("item", b'{"run": 7}', "c", "r", run.id)  # the newest, and so the first
    result = CliRunner().invoke(auxip, [*command, run.id, "--json"])

    answer = json.loads(result.output)
    assert result.exit_code == 1
    assert [(each["id"], each["code"]) for each in answer["refused"]] == [(unreadable, "not-replayable")]
    assert len(answer["replayed"]) == 1
    assert [letter.id for letter in buried(context, run)] == [unreadable]


def test_the_command_tells_the_runs_to_people_too(caller: Caller, context: Context, stack: Stack) -> None:
    run = failed_run(caller, context, stack)
    (letter,) = buried(context, run)
    output = CliRunner().invoke(auxip, ["dead", "replay", letter.id]).output

    (line, _) = output.splitlines()
    assert line.split()[0] == letter.id
    assert closed_run(context, line.split()[1]).state is RunState.SUCCESSFUL


def test_a_replay_that_was_cut_off_before_its_first_step_was_on_the_queue_is_taken_up(
    caller: Caller, context: Context, stack: Stack
) -> None:
    (letter,) = buried(context, failed_run(caller, context, stack))
    opened = open_replay(context, letter.id)
    assert context.dead_letters.letter(letter.id) == letter

    assert replayed(letter.id) == [{"id": letter.id, "run": opened}]
    assert closed_run(context, opened).state is RunState.SUCCESSFUL


def test_a_replay_that_was_cut_off_before_its_letter_was_dropped_is_one_run(
    caller: Caller, context: Context, stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    (letter,) = buried(context, failed_run(caller, context, stack))
    with monkeypatch.context() as patched:
        patched.setattr(DeadLetters, "drop", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            replay_item(context, letter.id)
    first = context.ledger.runs(1)[0]
    closed = closed_run(context, first.id)

    assert replay_item(context, letter.id) == first.id
    with pytest.raises(Rejected, match="unknown-letter"):
        context.dead_letters.letter(letter.id)
    assert context.ledger.run(first.id) == closed


def test_what_is_due_is_replayed_once_and_counted_in_the_next_failure(
    caller: Caller, context: Context, ruled: Callable[..., Context]
) -> None:
    run = a_run(owner=caller.env["owner_id"], collection=caller.collection)
    bad = failed(samples.faulty(Defect.WRONG_CHECKSUM).item_id, code="checksum-mismatch")
    bury_item(ruled(checksum_mismatch="retry after 0.001s at most 1"), run, bad)
    wait_for(lambda: bool(context.dead_letters.due()), "the letter is due")

    assert (replay_due(context), replay_due(context)) == (1, 0)
    again = closed_run(context, context.ledger.runs(1)[0].id)
    (parked,) = buried(context, again)
    assert (parked.due, work_of(context, parked).request.replays) == (None, 2)


def test_one_letter_that_cannot_be_replayed_does_not_stop_the_others(
    caller: Caller, context: Context, ruled: Callable[..., Context]
) -> None:
    unreadable = f"run-{uuid.uuid4()}"
    context.dead_letters.park_item(unreadable, "k", b"{}", "c", "r", again_in=0)
    run = a_run(owner=caller.env["owner_id"], collection=caller.collection)
    bury_item(ruled(station_not_found="retry after 0.001s at most 1"), run, failed(PLAIN.item_id))
    wait_for(lambda: len(context.dead_letters.due()) == 2, "both are due")

    assert replay_due(context) == 1
    assert context.dead_letters.due() == []
    (left,) = context.dead_letters.letters(where=unreadable)
    assert left.due is None


def test_a_replay_whose_search_fails_is_among_the_letters_again(caller: Caller, context: Context, stack: Stack) -> None:
    run = failed_run(caller, context, stack)
    stack.set_station_faults([{"path": "/search", "status": 503}])
    (answer,) = replayed("--where", run.id)
    replay = closed_run(context, answer["run"])
    assert (replay.state, replay.code) == (RunState.FAILED, "station-unavailable")

    stack.set_station_faults([])
    (answer,) = replayed("--where", replay.id)
    assert closed_run(context, answer["run"]).state is RunState.SUCCESSFUL


def test_a_replay_of_what_the_station_has_no_more_says_so(caller: Caller, context: Context) -> None:
    run = a_run(owner=caller.env["owner_id"], collection=caller.collection)
    bury_item(context, run, failed("gone"))
    (answer,) = replayed("--where", run.id)
    replay = closed_run(context, answer["run"])

    assert (replay.state, replay.code) == (RunState.FAILED, "nothing-found")
    (letter,) = buried(context, replay)
    assert letter.reason == "replay of gone: no station offers any more what is to be tried again"


def test_an_item_of_the_catalog_that_failed_is_expanded_by_its_replay(caller: Caller, context: Context) -> None:
    archive = samples.product(samples.UPPER_CASE_ARCHIVE)
    caller.stage(of_id(archive.item_id), decompress=False).get(SECONDS)
    run = a_run(
        kind=RunKind.DECOMPRESS,
        owner=caller.env["owner_id"],
        collection=caller.collection,
        selection=Given(item_id=archive.item_id),
    )
    bury_item(context, run, failed(archive.item_id, "s3-unavailable"))
    (answer,) = replayed("--where", run.id)
    replay = closed_run(context, answer["run"])

    assert (replay.state, replay.counts.expanded) == (RunState.SUCCESSFUL, 1)


def test_a_letter_shows_when_it_is_tried_again(ruled: Callable[..., Context], context: Context, run: Run) -> None:
    bury_item(ruled(station_not_found="retry after 1h at most 3"), run, failed())
    (letter,) = buried(context, run)
    assert letter.due is not None
    due = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(letter.due))

    shown = CliRunner().invoke(auxip, ["dead", "list"]).output
    told: Json = json.loads(CliRunner().invoke(auxip, ["dead", "show", letter.id, "--json"]).output)
    assert re.search("again in (59|60) min", shown)
    assert told["due"] == due
