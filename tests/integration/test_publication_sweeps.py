"""Sweeps by publication on a real ledger, station and workers: whatever stops them, nothing published is lost."""

import json
import re
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from local.processes import Child
from local.stack import Stack
from shared.context import Context
from shared.ledger import watermark_key
from shared.models import ItemState, PublicationTick, Run, RunState, Watermark
from shared.runs.due import searching
from shared.runs.windows import begin_window
from shared.selection import Published
from shared.steps.find import search_run
from tests.integration.conftest import closed_run, wait_for
from tests.integration.plain import Publisher, publishing
from tests.integration.test_commands import auxip, counts_in, last_object
from tests.ledger.opened import at_once
from workers.sweeps import Sweep

NOW = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)


class Swept:
    """A sweep by publication of its own, and the clock by which it is due."""

    def __init__(self, context: Context, collection: str, publisher: Publisher) -> None:
        self.context = context
        self.collection = collection
        self.publisher = publisher
        self.fields: dict[str, object] = {
            "by": "publication",
            "every": "1h",
            "jitter": "0s",
            "owner": "operations",
            "collection": collection,
            "product_types": [publisher.product_type],
            "since": (NOW - 5 * DAY).isoformat(),
        }
        self.name = f"s{uuid.uuid4().hex[:8]}"

    def sweep(self, **changes: object) -> Sweep:
        return Sweep.model_validate({**self.fields, "name": self.name, **changes})

    def tick(self, now: datetime, **changes: object) -> PublicationTick:
        return self.sweep(**changes).publication_tick(now, "local")

    def begin(self, now: datetime, **changes: object) -> str | None:
        """Do what a worker does at a tick, but for the sending."""
        return begin_window(self.context, self.tick(now, **changes))

    def begun(self, now: datetime, **changes: object) -> str:
        run_id = self.begin(now, **changes)
        assert run_id is not None
        return run_id

    def write(self, **changes: object) -> None:
        """Write it into the file that the workers read."""
        file = self.context.settings.sweeps_file
        assert file is not None
        lines = [f"{name} = {json.dumps(value)}" for name, value in {**self.fields, **changes}.items()]
        file.write_text("\n".join([f"[sweep.{self.name}]", *lines]) + "\n")

    @property
    def mark(self) -> Watermark:
        found = self.context.watermarks.record(self.key)
        assert found is not None
        return found

    @property
    def key(self) -> str:
        return watermark_key(self.tick(NOW).request)

    def done(self, run_id: str) -> Run:
        """Let the workers do a run."""
        from workers.base import publish

        publish([searching(self.context.ledger.run(run_id))])
        return closed_run(self.context, run_id)

    def wait(self, until: datetime) -> None:
        """Wait until everything is searched that is due: what was published before an instant, or more."""

        def searched() -> bool:
            record = self.context.watermarks.record(self.key)
            return record is not None and record.until is None and record.at == record.target >= until.timestamp()

        wait_for(searched, "everything is searched")

    def runs(self) -> list[Run]:
        """Its runs, the oldest first."""
        found = [run for run in self.context.ledger.runs(10_000) if run.request.collection == self.collection]
        return sorted(found, key=lambda run: run.created)

    def staged(self) -> Counter[str]:
        """How often each item was staged, in all of its runs."""
        records = (record for run in self.runs() for record in self.context.ledger.items(run.id))
        return Counter(record.item_id for record in records if record.state is ItemState.CATALOGUED)


def window(run: Run) -> tuple[datetime, datetime]:
    selection = run.request.selection
    assert isinstance(selection, Published)
    return selection.begin, selection.end


@pytest.fixture
def swept(context: Context, stack: Stack, collection: str) -> Iterator[Swept]:
    with publishing(stack) as publisher:
        yield Swept(context, collection, publisher)
    file = context.settings.sweeps_file
    assert file is not None
    file.write_text("")


@pytest.fixture
def served(swept: Swept, workers: list[Child]) -> Swept:
    """The same, and workers."""
    assert all(child.popen.poll() is None for child in workers)
    return swept


def once(ids: list[str]) -> dict[str, int]:
    return dict.fromkeys(ids, 1)


# Nothing is lost


@pytest.mark.long
def test_after_a_stop_of_three_days_the_workers_catch_up_window_after_window(served: Swept) -> None:
    served.begin(NOW - 3 * DAY - 2 * HOUR, since=(NOW - 3 * DAY - 3 * HOUR).isoformat())
    served.done(served.mark.run)
    published = [NOW - 3 * DAY - 2 * HOUR + number * 4 * HOUR for number in range(18)]
    ids = served.publisher.publish(*published)
    served.write()

    from workers.app import app

    app.send_task("auxip.sweep", (served.name, time.time()))
    served.wait(until=NOW - 40 * MINUTE)

    assert served.staged() == once(ids)
    windows = [window(run) for run in served.runs()[1:]]
    assert len(windows) >= 4
    for (_, end), (begin, _) in pairwise(windows):
        assert begin == end - 40 * MINUTE
    assert all(end - begin <= DAY for begin, end in windows)


@pytest.mark.long
def test_windows_of_one_watermark_never_go_on_at_once(served: Swept) -> None:
    served.publisher.publish(*(NOW - number * HOUR for number in range(1, 9)))
    served.write(longest="2h", since=(NOW - 8 * HOUR).isoformat())

    from workers.app import app

    for _ in range(4):
        app.send_task("auxip.sweep", (served.name, time.time()))
    served.wait(until=NOW - 40 * MINUTE)

    for earlier, later in pairwise(served.runs()):
        assert earlier.closed is not None
        assert earlier.closed <= later.created


def test_what_is_dated_into_a_window_that_is_searched_already_is_found_by_the_next_one(served: Swept) -> None:
    (early,) = served.publisher.publish(NOW - 2 * HOUR)
    served.done(served.begun(NOW - HOUR, since=(NOW - 3 * HOUR).isoformat()))
    searched_to = datetime.fromtimestamp(served.mark.until or 0, UTC)
    (late,) = served.publisher.publish(searched_to - 30 * MINUTE)
    served.done(served.begun(NOW))

    assert served.staged() == once([early, late])


@pytest.mark.long
@pytest.mark.parametrize("overlap", ["0s", "40m"])
def test_products_of_one_instant_at_the_end_of_a_window_are_all_found(swept: Swept, overlap: str) -> None:
    times = {"since": (NOW - 2 * HOUR).isoformat(), "lag": "0s", "overlap": overlap}
    ids = swept.publisher.publish(*[NOW - HOUR] * 3000)
    found = Counter[str]()
    for now in (NOW - HOUR, NOW):
        run_id = swept.begun(now, **times)
        search_run(swept.context, run_id)
        found += Counter(record.item_id for record in swept.context.ledger.items(run_id))
        swept.context.ledger.close_run(run_id, RunState.SUCCESSFUL)

    assert found == once(ids)


@pytest.mark.long
def test_a_storm_that_two_windows_find_is_staged_once(served: Swept) -> None:
    times = {"since": (NOW - 2 * HOUR).isoformat(), "lag": "0s"}
    ids = served.publisher.publish(*[NOW - HOUR - MINUTE] * 200)
    first, second = (served.done(served.begun(now, **times)) for now in (NOW - HOUR, NOW))

    assert (first.counts.staged, second.counts.skipped) == (200, 200)
    assert second.counts.bytes_downloaded == 0
    assert served.staged() == once(ids)


def test_a_window_whose_run_fails_is_searched_again_at_the_next_tick(served: Swept, stack: Stack) -> None:
    ids = served.publisher.publish(NOW - 3 * HOUR, NOW - 2 * HOUR)
    since = (NOW - 4 * HOUR).isoformat()
    stack.set_station_faults([{"path": "/search", "method": "POST", "status": 400}])
    failed = served.done(served.begun(NOW - HOUR, since=since))
    assert failed.state is RunState.FAILED
    assert served.begin(NOW - HOUR) is None
    assert served.mark.at == (NOW - 4 * HOUR).timestamp()

    stack.set_station_faults([])
    again = served.done(served.begun(NOW))
    assert again.state is RunState.SUCCESSFUL
    assert window(again)[0] == window(failed)[0]
    assert served.staged() == once(ids)


def test_an_item_that_fails_holds_nothing_up_and_has_a_dead_letter(served: Swept, stack: Stack) -> None:
    (good,) = served.publisher.publish(NOW - 3 * HOUR)
    good_href, served.publisher.href = served.publisher.href, "ftp://station.example/x"
    (bad,) = served.publisher.publish(NOW - 3 * HOUR)
    served.publisher.href = good_href
    run = served.done(served.begun(NOW, since=(NOW - 4 * HOUR).isoformat()))
    assert run.state is RunState.PARTIAL
    served.begin(NOW)

    assert served.mark.at == (NOW - 40 * MINUTE).timestamp()
    assert served.staged() == once([good])
    letters = list(served.context.dead_letters.letters(where=run.id))
    assert [bad in letter.reason for letter in letters] == [True]


def test_a_product_without_a_publication_date_that_the_station_answers_with_is_staged(
    served: Swept, stack: Stack
) -> None:
    from tests.integration.test_already_staged import PLAIN, feature, offering

    with offering(stack, feature(stack, [PLAIN], properties={"datetime": "2024-01-01T00:00:00Z"})):
        run = served.done(served.begun(NOW))
    assert run.counts.staged == 1


# Whatever happens in between


@pytest.mark.parametrize(
    ("state", "code"),
    [(RunState.FAILED, "search-timeout"), (RunState.CANCELLED, "")],
)
def test_a_run_that_failed_as_a_whole_or_was_cancelled_moves_nothing(swept: Swept, state: RunState, code: str) -> None:
    run_id = swept.begun(NOW - HOUR)
    first, before = swept.mark.until, swept.mark.at
    swept.context.ledger.close_run(run_id, state, code=code)
    assert swept.begin(NOW - HOUR) is None
    assert swept.mark.at == before

    swept.begun(NOW)
    assert swept.mark.until == first


@pytest.mark.parametrize("state", [RunState.SUCCESSFUL, RunState.PARTIAL, RunState.FAILED])
def test_a_run_whose_search_was_whole_moves_the_watermark_however_its_items_ended(
    swept: Swept, state: RunState
) -> None:
    run_id = swept.begun(NOW)
    until = swept.mark.until
    swept.context.ledger.close_run(run_id, state)
    assert swept.begin(NOW) is not None
    assert swept.mark.at == until


def test_while_a_run_goes_on_no_tick_begins_another(swept: Swept) -> None:
    swept.begun(NOW - 2 * HOUR)
    before = swept.mark
    assert swept.begin(NOW - HOUR) is None
    assert swept.begin(NOW) is None
    assert (swept.mark.at, swept.mark.run, swept.mark.until) == (before.at, before.run, before.until)
    assert swept.mark.target == (NOW - 40 * MINUTE).timestamp()


def test_two_beats_and_messages_that_come_twice_begin_one_run(swept: Swept) -> None:
    begun = at_once(lambda: swept.begin(NOW))
    assert len([run_id for run_id in begun if run_id]) == 1
    assert len(swept.runs()) == 1


def test_a_crash_between_the_end_of_a_run_and_the_watermark_loses_nothing(swept: Swept) -> None:
    until = swept.mark.until if swept.begun(NOW) else None
    swept.context.ledger.close_run(swept.mark.run, RunState.SUCCESSFUL)
    begun = at_once(lambda: swept.begin(NOW))

    assert len([run_id for run_id in begun if run_id]) == 1
    assert swept.mark.at == until
    assert len(swept.runs()) == 2


def test_a_run_that_the_ledger_has_lost_is_done_again_at_the_next_tick(swept: Swept) -> None:
    run_id = swept.begun(NOW - HOUR)
    before, until = swept.mark.at, swept.mark.until
    swept.context.ledger.redis.delete(f"auxip:run:{run_id}")
    assert swept.begin(NOW - HOUR) is None
    swept.begun(NOW)
    assert (swept.mark.at, swept.mark.until) == (before, until)


def test_a_lost_ledger_begins_anew_by_since_and_downloads_nothing_twice(served: Swept) -> None:
    ids = served.publisher.publish(NOW - 3 * HOUR)
    since = (NOW - 4 * HOUR).isoformat()
    served.done(served.begun(NOW, since=since))
    served.context.ledger.redis.delete(served.key)
    again = served.done(served.begun(NOW, since=since))

    assert (again.counts.skipped, again.counts.bytes_downloaded) == (1, 0)
    assert served.staged() == once(ids)


def test_a_sweep_under_another_name_goes_on_where_it_was_and_another_selection_begins_anew(swept: Swept) -> None:
    run_id = swept.begun(NOW - HOUR)
    swept.context.ledger.close_run(run_id, RunState.SUCCESSFUL)
    at = swept.mark.until
    swept.name = "renamed"
    swept.begun(NOW)
    assert swept.mark.at == at

    other = swept.tick(NOW, platform="sentinel-1a")
    assert begin_window(swept.context, other) is not None
    record = swept.context.watermarks.record(watermark_key(other.request))
    assert record is not None
    assert record.at == (NOW - 5 * DAY).timestamp()


@pytest.mark.long
def test_the_reconciler_begins_a_window_whose_message_was_lost(served: Swept) -> None:
    served.write(since=(NOW - 2 * HOUR).isoformat())

    from workers.app import app

    app.send_task("auxip.reconcile")
    wait_for(lambda: any(run.state is RunState.SUCCESSFUL for run in served.runs()), "the window is searched")


@pytest.mark.long
def test_a_run_by_hand_searches_up_to_now_and_leaves_the_watermark(served: Swept) -> None:
    (new,) = served.publisher.publish(datetime.now(UTC) - MINUTE)
    served.write(since=(NOW - 2 * HOUR).isoformat())
    ended = auxip("sweep", served.name, "--json")

    assert ended.returncode == 0, ended.stderr
    assert counts_in(last_object(ended.stdout))["staged"] == 1
    assert served.staged() == once([new])
    assert served.context.watermarks.record(served.key) is None


# The command line


@pytest.mark.long
def test_auxip_sweeps_shows_how_far_a_sweep_by_publication_is_behind(swept: Swept) -> None:
    swept.write(since=(NOW - 2 * DAY).isoformat())
    listed = json.loads(auxip("sweeps", "--json").stdout)["sweeps"][0]
    at_first = datetime.now(UTC) - 40 * MINUTE - (NOW - 2 * DAY)
    assert listed["watermark"] == (NOW - 2 * DAY).isoformat().replace("+00:00", "Z")
    assert abs(listed["behind"] - at_first.total_seconds()) < 60

    run_id = swept.begun(NOW, since=(NOW - 2 * DAY).isoformat())
    swept.context.ledger.close_run(run_id, RunState.SUCCESSFUL)
    swept.begin(NOW)
    listed = json.loads(auxip("sweeps", "--json").stdout)["sweeps"][0]
    assert listed["last"]["run"] == swept.mark.run
    assert abs(at_first.total_seconds() - listed["behind"] - (DAY - 40 * MINUTE).total_seconds()) < 60
    said = re.search(r"1 day, (\d+):(\d\d):(\d\d) behind", auxip("sweeps").stdout)
    assert said is not None
    hours, minutes, seconds = map(int, said.groups())
    shown = DAY + timedelta(hours=hours, minutes=minutes, seconds=seconds)
    assert 0 <= shown.total_seconds() - listed["behind"] < 60


@pytest.mark.long
def test_auxip_replay_searches_again_between_two_dates_and_leaves_the_watermark(served: Swept) -> None:
    ids = served.publisher.publish(NOW - 30 * HOUR, NOW - 3 * HOUR)
    served.write(longest="1d")
    arguments = ["--from", (NOW - 31 * HOUR).isoformat(), "--to", (NOW - 2 * HOUR).isoformat()]
    ended = auxip("replay", *arguments, served.name, "--json")

    assert ended.returncode == 0, ended.stderr
    said = json.loads(ended.stdout)
    runs = [closed_run(served.context, each["run"]) for each in said["replays"]]
    assert said["sweep"] == served.name
    assert [window(run) for run in runs] == [(NOW - 31 * HOUR, NOW - 7 * HOUR), (NOW - 7 * HOUR, NOW - 2 * HOUR)]
    assert served.staged() == once(ids)
    assert served.context.watermarks.record(served.key) is None


def test_auxip_replay_refuses_a_sweep_that_is_not_by_publication(swept: Swept) -> None:
    file = swept.context.settings.sweeps_file
    assert file is not None
    file.write_text(
        f'[sweep.{swept.name}]\nevery = "1h"\nowner = "o"\ncollection = "aux"\nproduct_types = ["A"]\n'
        'policy = "LatestGeneration"\n'
    )
    ended = auxip("replay", "--from", "2024-03-01T00:00:00Z", "--to", "2024-03-02T00:00:00Z", swept.name)
    assert ended.returncode == 2
    assert ended.stderr.startswith(f"auxip: bad-request: the sweep '{swept.name}' is not by publication")


@pytest.mark.long
def test_auxip_replay_of_dates_that_make_no_sense_begins_nothing(swept: Swept) -> None:
    swept.write()
    for begin, end in [
        ("soon", "2024-03-02T00:00:00Z"),
        ("2024-03-02T00:00:00Z", "2024-03-02T00:00:00Z"),
        ("2014-03-02T00:00:00Z", "2024-03-02T00:00:00Z"),
    ]:
        assert auxip("replay", "--from", begin, "--to", end, swept.name).returncode == 2
    assert swept.runs() == []
