"""Sweeps on a real ledger, with real beats and workers: each tick is decided once, and a missed one is made good."""

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import pytest

from local import samples
from local.processes import Child
from local.stack import Stack
from shared.archives import load_manifest
from shared.context import Context
from shared.models import Run, RunRequest, RunState, Tick
from shared.runs.due import Step, StepName
from shared.runs.sweep import begin_tick
from shared.selection import Given, PolicySelection
from shared.storage.location import Location
from tests.integration.conftest import wait_for
from tests.integration.test_commands import AUXIP, auxip, counts_in, last_object
from tests.ledger.opened import at_once
from workers import flows
from workers.sweeps import find_sweep

REQUEST = RunRequest(owner="owner", collection="aux", selection=Given(item_id="X"))
HOUR = 3600.0
NOON = time.time() // HOUR * HOUR


class Ticking:
    """The ticks of a sweep of its own, an hour apart."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.name = f"s{uuid.uuid4().hex[:8]}"

    def at(self, hours: float = 0) -> Tick:
        at = NOON + hours * HOUR
        return Tick(sweep=self.name, at=at, next=at + HOUR, run_id=f"{self.name}-{hours}", request=REQUEST)

    def begin(self, hours: float = 0) -> str | None:
        """Do what the task does, but for the sending; returns the run to be sent."""
        return begin_tick(self.context, self.at(hours))

    def send(self, hours: float = 0) -> str:
        run_id = self.begin(hours)
        assert run_id is not None
        self.context.sweeps.mark_sent(self.name, run_id)
        return run_id

    def close(self, run_id: str) -> None:
        self.context.ledger.close_run(run_id, RunState.SUCCESSFUL)

    def known(self, hours: float) -> bool:
        return bool(self.context.ledger.redis.exists(f"auxip:run:{self.at(hours).run_id}"))


@pytest.fixture
def ticking(context: Context) -> Ticking:
    return Ticking(context)


def test_a_tick_is_begun_once_however_many_are_at_it(ticking: Ticking, context: Context) -> None:
    assert sum(at_once(lambda: context.sweeps.begin(ticking.at()))) == 1


def test_a_tick_that_is_begun_cannot_be_left_out_nor_the_other_way_round(ticking: Ticking, context: Context) -> None:
    sweeps = context.sweeps
    assert sweeps.begin(ticking.at(0))
    assert not sweeps.skip(ticking.at(0), "why")
    assert sweeps.skip(ticking.at(1), "why")
    assert not sweeps.begin(ticking.at(1))

    record = sweeps.record(ticking.name)
    assert (record.run, record.skipped) == (ticking.at(0).run_id, NOON + HOUR)
    assert not ticking.known(1)


def test_a_tick_that_was_sent_is_not_sent_again(ticking: Ticking) -> None:
    run_id = ticking.send()
    assert ticking.begin() is None
    ticking.close(run_id)
    assert ticking.begin() is None


def test_a_worker_killed_before_it_sent_the_run_loses_no_tick(ticking: Ticking, context: Context) -> None:
    run_id = ticking.begin()

    assert run_id == ticking.at().run_id
    assert context.ledger.run(run_id).state is RunState.ACCEPTED
    assert ticking.begin() == run_id


def test_a_run_never_sent_is_sent_at_the_next_tick(ticking: Ticking) -> None:
    run_id = ticking.begin(0)
    assert ticking.begin(1) == run_id
    assert not ticking.known(1)


def test_a_sweep_that_still_runs_is_not_started_again_and_the_record_says_why(
    ticking: Ticking, context: Context
) -> None:
    run_id = ticking.send(0)

    assert ticking.begin(1) is None
    assert not ticking.known(1)
    record = context.sweeps.record(ticking.name)
    assert (record.tick, record.skipped) == (NOON + HOUR, NOON + HOUR)
    assert record.reason == f"its run {run_id} still goes on (auxip show {run_id})"


def test_a_tick_left_out_stays_so_when_the_run_is_over(ticking: Ticking) -> None:
    run_id = ticking.send(0)
    ticking.begin(1)
    ticking.close(run_id)

    assert ticking.begin(1) is None
    assert ticking.begin(2) == ticking.at(2).run_id


def test_a_run_begun_by_hand_holds_the_sweep_up_too(ticking: Ticking, context: Context) -> None:
    ticking.close(ticking.send(0))
    context.ledger.open_run("by-hand-" + ticking.name, REQUEST)
    context.sweeps.record_manual(ticking.name, ticking.at(0).next, "by-hand-" + ticking.name)
    assert ticking.begin(1) is None

    ticking.close("by-hand-" + ticking.name)
    assert ticking.begin(2) == ticking.at(2).run_id


def test_a_tick_older_than_the_last_changes_nothing(ticking: Ticking, context: Context) -> None:
    ticking.close(ticking.send(5))
    before = context.sweeps.record(ticking.name)

    assert ticking.begin(4) is None
    assert context.sweeps.record(ticking.name) == before


def test_a_sweep_is_held_up_until_its_run_is_closed_however_long_that_takes(ticking: Ticking, context: Context) -> None:
    run_id = ticking.send(0)
    context.ledger.redis.hset(f"auxip:run:{run_id}", "created", "0")

    assert ticking.begin(1) is None
    ticking.close(run_id)
    assert ticking.begin(2) == ticking.at(2).run_id


def test_a_run_that_the_ledger_has_forgotten_is_over(ticking: Ticking, context: Context) -> None:
    run_id = ticking.send(0)
    context.ledger.redis.delete(f"auxip:run:{run_id}")
    context.ledger.redis.zrem("auxip:runs", run_id)
    assert ticking.begin(1) == ticking.at(1).run_id


def test_the_record_of_a_sweep_that_is_no_more_expires_but_not_before_its_next_tick(
    ticking: Ticking, context: Context
) -> None:
    now = time.time()
    far = ticking.at().model_copy(update={"next": now + 1000 * 86_400})
    begin_tick(context, far)
    left = context.ledger.redis.ttl(f"auxip:sweep:{ticking.name}")

    keep = context.settings.keep_runs_days * 86_400
    assert 1000 * 86_400 + keep - 60 < int(str(left)) <= 1000 * 86_400 + keep


# With beats and workers.


class Swept:
    """A sweep in the file that beats and workers read."""

    def __init__(self, file: Path, context: Context, collection: str) -> None:
        self.file = file
        self.context = context
        self.collection = collection
        self.name = f"s{uuid.uuid4().hex[:8]}"
        self.beats: list[Child] = []

    def write(self, every: str, **changes: object) -> None:
        fields: dict[str, object] = {
            "every": every,
            "owner": "operations",
            "collection": self.collection,
            "product_types": ["NO_SUCH_TYPE"],
            "start": "-1h",
            "end": "0h",
            "jitter": "0s",
            **changes,
        }
        lines = [f"{name} = {json.dumps(value)}" for name, value in fields.items()]
        self.file.write_text("\n".join([f"[sweep.{self.name}]", *lines]) + "\n")

    def beat(self, stack: Stack) -> Child:
        from workers.cli.fleet import start_beat

        child = start_beat(stack, f"beat-{self.name}-{len(self.beats)}")
        self.beats.append(child)
        return child

    def runs(self) -> list[Run]:
        """Its runs, the oldest first."""
        found = [run for run in self.context.ledger.runs(10_000) if run.request.label == f"sweep {self.name}"]
        return sorted(found, key=lambda run: run.created)

    def ticks(self) -> list[float]:
        """The ticks of its runs, told by the windows."""
        selections = [run.request.selection for run in self.runs()]
        return [each.end.timestamp() for each in selections if isinstance(each, PolicySelection) and each.end]

    def today(self) -> Tick:
        return find_sweep(self.context.settings, self.name).tick(datetime.now(UTC))


@pytest.fixture
def swept(workers: list[Child], context: Context, collection: str) -> Iterator[Swept]:
    file = context.settings.sweeps_file
    assert file is not None
    made = Swept(file, context, collection)
    yield made
    for beat in made.beats:
        beat.stop(grace=5)
    file.write_text("")


def sent(beat: Child, name: str) -> int:
    """How often a beat has sent a sweep, by its log."""
    return beat.log.read_text().count(f"Sending due task sweep {name} ")


def handled(workers: list[Child], task: str) -> int:
    """How often the workers have succeeded in a task, by their logs."""
    lines = [line for worker in workers for line in worker.log.read_text().splitlines()]
    return len([line for line in lines if f"Task {task}[" in line and "succeeded" in line])


@pytest.mark.long
def test_two_beats_begin_each_ticks_run_once(swept: Swept, stack: Stack, workers: list[Child]) -> None:
    swept.write("1s")
    beats = [swept.beat(stack), swept.beat(stack)]
    wait_for(lambda: all(sent(beat, swept.name) >= 5 for beat in beats), "both beats have sent five ticks")
    wait_for(lambda: len(swept.runs()) >= 5, "five runs")
    for beat in beats:
        beat.stop(grace=5)
    wait_for(lambda: all(run.state.final for run in swept.runs()), "the runs are over")

    ticks = swept.ticks()
    assert len(set(ticks)) == len(ticks)
    log = next(worker for worker in workers if worker.name == "worker-search").log.read_text()
    tasks = [flows.message(Step(StepName.FIND, run.id)).options["task_id"] for run in swept.runs()]
    assert [log.count(f"[{task}] received") for task in tasks] == [1] * len(ticks)


@pytest.mark.long
def test_a_beat_that_was_killed_and_comes_back_does_no_tick_twice(
    swept: Swept, stack: Stack, workers: list[Child]
) -> None:
    swept.write("1d")
    first = swept.beat(stack)
    wait_for(lambda: len(swept.runs()) == 1, "the newest tick is run at the start")
    first.popen.send_signal(signal.SIGKILL)
    first.popen.wait()
    before = handled(workers, "auxip.sweep")
    second = swept.beat(stack)
    wait_for(lambda: handled(workers, "auxip.sweep") > before, "what the second beat sent is handled")

    assert sent(second, swept.name) == 1
    assert len(swept.runs()) == 1


@pytest.mark.long
def test_three_ticks_missed_are_made_good_by_one_run(
    swept: Swept, stack: Stack, context: Context, workers: list[Child]
) -> None:
    swept.write("1d")
    today = swept.today()
    long_ago = today.model_copy(update={"at": today.at - 3 * 86_400, "run_id": f"old-{swept.name}"})
    context.sweeps.begin(long_ago)
    context.sweeps.mark_sent(swept.name, long_ago.run_id)
    context.ledger.close_run(long_ago.run_id, RunState.SUCCESSFUL)
    swept.beat(stack)
    wait_for(lambda: context.sweeps.record(swept.name).sent == today.run_id, "today's tick is run")

    assert [run.id for run in swept.runs()] == [long_ago.run_id, today.run_id]


@pytest.mark.long
def test_runs_of_one_sweep_do_not_overlap(swept: Swept, stack: Stack, context: Context) -> None:
    stack.set_station_faults([{"path": "/search", "delay": 2.5}])
    swept.write("1s")
    swept.beat(stack)
    wait_for(lambda: len([run for run in swept.runs() if run.state.final]) >= 2, "two runs are over")
    record = context.sweeps.record(swept.name)
    runs = swept.runs()

    assert record.skipped is not None
    assert "still goes on" in record.reason
    for earlier, later in pairwise(runs):
        assert earlier.closed is not None
        assert earlier.closed <= later.created


def test_a_message_from_a_clock_far_ahead_moves_a_sweep_no_further_than_a_minute(
    swept: Swept, context: Context
) -> None:
    from workers.app import app

    swept.write("1h")
    app.send_task("auxip.sweep", args=(swept.name, time.time() + 30 * 86_400))
    wait_for(lambda: context.sweeps.record(swept.name).sent != "", "the run is sent")

    tick = context.sweeps.record(swept.name).tick
    assert tick is not None
    assert tick <= time.time() + 60


@pytest.mark.long
def test_auxip_sweep_runs_one_now_and_auxip_sweeps_tells_how_it_ended(swept: Swept) -> None:
    archive = samples.product(samples.NESTED_ARCHIVE)
    window = {"start": samples.DEMO_START.isoformat(), "end": samples.DEMO_END.isoformat()}
    swept.write("1d", product_types=[archive.product_type], layout="tree", **window)
    ended = auxip("sweep", swept.name, "--json")

    assert ended.returncode == 0, ended.stderr
    run = last_object(ended.stdout)
    listed = json.loads(auxip("sweeps", "--json").stdout)["sweeps"][0]
    assert (listed["sweep"], listed["schedule"]) == (swept.name, "every 1 day, 0:00:00")
    assert (listed["last"]["run"], listed["last"]["status"]) == (run["run"], "successful")
    assert listed["left_out"] is None
    assert datetime.fromisoformat(listed["next"]) > datetime.now(UTC)


@pytest.mark.long
def test_a_sweeps_layout_holds_for_its_archives(swept: Swept, context: Context) -> None:
    archive = samples.product(samples.NESTED_ARCHIVE)
    window = {"start": samples.DEMO_START.isoformat(), "end": samples.DEMO_END.isoformat()}
    swept.write("1d", product_types=[archive.product_type], layout="tree", **window)
    run = last_object(auxip("sweep", swept.name, "--json").stdout)
    assert counts_in(run)["expanded"]

    item = context.catalog_of("operations").get(swept.collection, archive.item_id)
    assert item is not None
    (asset,) = item.assets.values()
    manifest = load_manifest(context.store, Location.parse(str(asset.manifest).removesuffix(".manifest.json") + "/"))
    assert manifest is not None
    assert [member.path for member in manifest.members if "/" in member.path]


def test_auxip_sweeps_without_a_terminal_prints_a_table(swept: Swept, context: Context) -> None:
    swept.write("1d")
    today = swept.today()
    context.sweeps.skip(today, "its run still goes on")
    shown = auxip("sweeps").stdout

    assert swept.name in shown
    assert "left out: its run still goes on" in shown


def test_a_sweep_that_is_not_in_the_file_is_refused_at_once(swept: Swept) -> None:
    swept.write("1d")
    ended = auxip("sweep", "other")

    assert ended.returncode == 1
    assert ended.stderr == f"auxip: unknown-sweep: no sweep 'other' in AUXIP_SWEEPS_FILE; it has: {swept.name}\n"


@pytest.mark.long
@pytest.mark.parametrize(
    "command",
    [
        [sys.executable, "-m", "celery", "-A", "workers.app:app", "beat"],
        [sys.executable, "-m", "celery", "-A", "workers.app:app", "worker", "--queues", "runs"],
        [*AUXIP, "sweeps"],
    ],
    ids=["beat", "worker", "auxip"],
)
def test_a_bad_file_is_refused_at_start_with_its_line(stack: Stack, tmp_path: Path, command: list[str]) -> None:
    file = tmp_path / "sweeps.toml"
    file.write_text("# ours\n[sweep.orbits]\nowner = 'operations'\nevery = 'soon'\n")
    ended = subprocess.run(  # noqa: S603 - our own program
        command,
        env={**os.environ, "AUXIP_SWEEPS_FILE": str(file)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert ended.returncode == 1
    assert f"AUXIP_SWEEPS_FILE {file}: sweep.orbits.every: is no duration" in ended.stderr.splitlines()[-1]
