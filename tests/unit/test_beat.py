"""What beat sends: each sweep once after each tick and once at its start, from any number of beats."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from celery.beat import Scheduler

from tests.unit.making import settings_of
from tests.unit.test_sweeps import ORBITS, of, sweep
from workers.sweeps.beat import Ticks, beat_schedule

NOON = datetime(2024, 3, 25, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


class Clock:
    """What beat takes for the present."""

    def __init__(self, now: datetime) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now


def sendings(ticks: Ticks, clock: Clock, until: datetime, last: datetime) -> list[datetime]:
    """When a beat that was last told to send at `last` sends, up to `until`."""
    sent = []
    while clock.now < until:
        due, seconds = ticks.is_due(last)
        assert seconds > 0
        if due:
            sent.append(clock.now)
            last = clock.now
        clock.now += timedelta(seconds=seconds)
    return sent


def entries(file: Path, text: str = ORBITS) -> dict[str, Any]:
    return dict(beat_schedule(of(file, text)))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "sweeps.toml"


def test_each_tick_is_sent_once_when_it_is_due() -> None:
    hourly = sweep(jitter="10m")
    clock = Clock(NOON)
    sent = sendings(Ticks(hourly, clock), clock, NOON + 6 * HOUR, last=NOON)

    assert sent == [hourly.due(NOON + hours * HOUR) for hours in range(6)]


def test_a_beat_that_was_away_sends_once_for_all_it_missed() -> None:
    hourly = sweep(jitter="0s")
    clock = Clock(NOON + 3.5 * HOUR)
    sent = sendings(Ticks(hourly, clock), clock, NOON + 5.5 * HOUR, last=NOON)

    assert sent == [NOON + 3.5 * HOUR, NOON + 4 * HOUR, NOON + 5 * HOUR]


def test_a_new_beat_sends_everything_at_its_start(file: Path) -> None:
    app = Celery(set_as_current=False, broker="memory://")
    app.conf.beat_schedule = entries(file, ORBITS + ORBITS.replace("orbits", "daily").replace('"1h"', '"1d"'))
    due = {name for name, entry in Scheduler(app).schedule.items() if entry.is_due()[0]}

    assert due >= {"clean up", "sweep orbits", "sweep daily"}


def test_two_beats_that_started_at_different_times_send_at_the_same_moments() -> None:
    times = []
    for start in (NOON, NOON + timedelta(minutes=17)):
        clock = Clock(start)
        times.append(sendings(Ticks(sweep(jitter="10m"), clock), clock, NOON + 4 * HOUR, last=start))

    assert set(times[1]) <= set(times[0])
    assert len(times[1]) >= 3


def test_a_message_that_nobody_takes_is_dropped_when_the_next_is_sent(file: Path) -> None:
    assert entries(file)["sweep orbits"]["options"]["expires"] == 3600.0
    every_minute = ORBITS.replace('every = "1h"', 'cron = "*/5 * * * *"')
    assert entries(file, every_minute)["sweep orbits"]["options"]["expires"] == 300.0


def test_a_file_may_say_when_its_message_is_dropped(file: Path) -> None:
    assert entries(file, ORBITS + 'expires = "5m"')["sweep orbits"]["options"]["expires"] == 300.0


def test_a_message_carries_the_name_and_what_beats_clock_says_then(file: Path) -> None:
    entry = entries(file)["sweep orbits"]
    name, clock = entry["args"]

    assert (entry["task"], name) == ("auxip.sweep", "orbits")
    assert clock() <= clock()
    assert abs(clock() - datetime.now(UTC).timestamp()) < 60


def test_a_broker_that_is_away_is_waited_for_without_end(file: Path) -> None:
    assert all(entry["options"]["retry_policy"]["max_retries"] is None for entry in entries(file).values())


def test_all_that_beat_sends_goes_into_the_bulk_lane(file: Path) -> None:
    assert {entry["options"]["queue"] for entry in entries(file).values()} == {"runs.bulk"}


def test_without_a_file_only_the_upkeep_is_sent() -> None:
    assert list(beat_schedule(settings_of())) == ["reconcile", "clean up"]


def test_an_audit_is_sent_into_the_bulk_lane_of_its_own_queue(file: Path) -> None:
    found = entries(file, '[audit.nightly]\ncron = "30 3 * * *"\ncollection = "aux"')["audit nightly"]
    assert (found["task"], found["options"]["queue"]) == ("auxip.audit", "search.bulk")


def test_an_unchanged_sweep_is_an_unchanged_entry() -> None:
    assert Ticks(sweep()) == Ticks(sweep())
    assert Ticks(sweep()) != Ticks(sweep(every="2h"))
    assert Ticks(sweep()) != "every hour"
    assert len({Ticks(sweep()), Ticks(sweep())}) == 1
    assert "1:00:00" in repr(Ticks(sweep()))
