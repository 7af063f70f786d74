"""Sweeps: one run for each period, whoever begins it, over a window that moves with it."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import Rejected
from shared.selection import PolicySelection
from shared.settings import Settings, SettingsError
from tests.unit.making import settings_of
from workers.sweeps import Sweep, beat_schedule, find_sweep, load_sweeps

ORBITS = """
[sweep.orbits]
every = "1h"
owner = "operations"
collection = "aux"
product_types = ["OPER_AUX_RESORB_OPOD"]
start = "-3h"
end = "0h"
"""
NOON = datetime(2024, 3, 25, 12, tzinfo=UTC).timestamp()


def sweep(**changes: object) -> Sweep:
    fields = {
        "name": "orbits",
        "every": "1h",
        "owner": "operations",
        "collection": "aux",
        "product_types": ["A"],
        "start": "-3h",
        "end": "0h",
    }
    return Sweep.model_validate({**fields, **changes})


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "sweeps.toml"


def of(file: Path, text: str) -> Settings:
    file.write_text(text, "utf-8")
    return settings_of(sweeps_file=file)


def window(sweep: Sweep, now: float) -> tuple[datetime, datetime]:
    selection = sweep.due_run(now)[1].selection
    assert isinstance(selection, PolicySelection)
    assert selection.start is not None
    assert selection.end is not None
    return selection.start, selection.end


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("15m", 900),
        ("6h", 21_600),
        ("1d", 86_400),
        ("5", 5),
        (5, 5),
        ("1.5h", 5400),
        ("+2m", 120),
        (" 2 m ", 120),
    ],
)
def test_a_duration_is_a_number_with_a_unit(text: object, seconds: float) -> None:
    assert sweep(every=text).every == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "text", ["", "h", "1w", "1h30m", "an hour", "-1h", "0s", "0.5s", "1e3", True, None, "9" * 20 + "d"]
)
def test_a_period_that_is_none_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match="every"):
        sweep(every=text)


def test_without_a_file_there_are_no_sweeps() -> None:
    assert load_sweeps(settings_of()) == {}
    assert beat_schedule(settings_of()) == {}


def test_sweeps_are_read_from_their_file(file: Path) -> None:
    (found,) = load_sweeps(of(file, ORBITS)).values()
    assert found == sweep(product_types=["OPER_AUX_RESORB_OPOD"])
    assert found.decompress is True


def test_a_sweep_is_called_as_its_table_is(file: Path) -> None:
    assert load_sweeps(of(file, ORBITS + 'name = "other"'))["orbits"].name == "orbits"


def test_an_instant_of_toml_is_one(file: Path) -> None:
    text = ORBITS.replace('"-3h"', "2024-03-25T02:00:00+02:00").replace('"0h"', "2024-03-26")
    (found,) = load_sweeps(of(file, text)).values()
    assert window(found, NOON) == (datetime(2024, 3, 25, tzinfo=UTC), datetime(2024, 3, 26, tzinfo=UTC))


def test_a_file_may_hold_several_sweeps(file: Path) -> None:
    assert list(load_sweeps(of(file, ORBITS + ORBITS.replace("orbits", "more")))) == ["orbits", "more"]


def test_a_file_without_sweeps_is_one(file: Path) -> None:
    assert load_sweeps(of(file, "# none yet")) == {}


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ('"1h"', '"soon"', "orbits.every"),
        ('"1h"', f'"{"9" * 20}d"', "orbits.every"),
        ('"operations"', '"a/b"', "orbits.owner"),
        ('"aux"', '"../aux"', "orbits.collection"),
        ('["OPER_AUX_RESORB_OPOD"]', "[]", "orbits.product_types"),
        ('["OPER_AUX_RESORB_OPOD"]', '"A"', "orbits.product_types"),
        ('"-3h"', '"yesterday"', "orbits.start"),
        ('"0h"', '"2024-13-01T00:00:00Z"', "orbits.end"),
        ('"0h"', "[]", "orbits.end"),
        ('start = "-3h"', "", "orbits.start"),
        ('start = "-3h"', 'begin = "-3h"', "orbits.start"),
        ('end = "0h"', 'end = "0h"\nevery_ = 1', "orbits.every_"),
        ('"0h"', '"-4h"', "orbits: the window ends before it begins"),
    ],
)
def test_a_wrong_field_of_a_sweep_is_named_in_one_line(file: Path, before: str, after: str, said: str) -> None:
    with pytest.raises(SettingsError) as raised:
        load_sweeps(of(file, ORBITS.replace(before, after)))
    assert raised.value.reason.startswith(f"AUXIP_SWEEPS_FILE {file}: {said}")
    assert "\n" not in raised.value.reason


@pytest.mark.parametrize("text", ["[sweep", "sweep = 5", "[sweep]\norbits = 5", "\0"])
def test_a_file_that_holds_no_sweeps_is_named(file: Path, text: str) -> None:
    with pytest.raises(SettingsError, match=r"AUXIP_SWEEPS_FILE .*sweeps\.toml: "):
        load_sweeps(of(file, text))


def test_a_file_that_is_not_there_or_no_text_is_named(file: Path) -> None:
    with pytest.raises(SettingsError, match=r"AUXIP_SWEEPS_FILE .*No such file"):
        load_sweeps(settings_of(sweeps_file=file))
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(SettingsError, match="AUXIP_SWEEPS_FILE"):
        load_sweeps(settings_of(sweeps_file=file))


def test_a_sweep_is_found_by_its_name(file: Path) -> None:
    settings = of(file, ORBITS)
    assert find_sweep(settings, "orbits").name == "orbits"
    with pytest.raises(Rejected, match=r"unknown-sweep: no sweep 'orbit' .* it has: orbits"):
        find_sweep(settings, "orbit")
    with pytest.raises(Rejected, match="it has: none"):
        find_sweep(settings_of(), "orbits")


def test_beat_sends_each_sweep_once_a_period_and_drops_what_nobody_took(file: Path) -> None:
    assert beat_schedule(of(file, ORBITS)) == {
        "sweep orbits": {
            "task": "auxip.sweep",
            "schedule": timedelta(hours=1),
            "args": ("orbits",),
            "options": {"expires": 3600.0},
        }
    }


@given(first=st.floats(0, 3599.99), second=st.floats(0, 3599.99))
def test_within_a_period_there_is_one_run(first: float, second: float) -> None:
    assert sweep().due_run(NOON + first) == sweep().due_run(NOON + second)


@given(periods=st.integers(1, 1000))
def test_every_period_has_a_run_of_its_own(periods: int) -> None:
    assert sweep().due_run(NOON)[0] != sweep().due_run(NOON + periods * 3600)[0]


def test_the_next_period_begins_on_the_hour() -> None:
    assert sweep().due_run(NOON - 0.001)[0] != sweep().due_run(NOON)[0]


def test_sweeps_of_different_names_have_different_runs() -> None:
    assert sweep().due_run(NOON)[0] != sweep(name="other").due_run(NOON)[0]


def test_a_relative_window_moves_with_the_period() -> None:
    begin = datetime(2024, 3, 25, 12, tzinfo=UTC)
    assert window(sweep(), NOON + 1234) == (begin - timedelta(hours=3), begin)
    assert window(sweep(), NOON + 3600) == (begin - timedelta(hours=2), begin + timedelta(hours=1))


@pytest.mark.parametrize(
    "start", ["2024-03-25T02:00:00+02:00", datetime(2024, 3, 25, tzinfo=UTC), "2024-03-25T00:00:00"]
)
def test_an_absolute_window_stays(start: object) -> None:
    fixed = sweep(start=start, end="2024-03-26T00:00:00Z")
    expected = (datetime(2024, 3, 25, tzinfo=UTC), datetime(2024, 3, 26, tzinfo=UTC))

    assert window(fixed, NOON) == window(fixed, NOON + 86_400) == expected


def test_a_run_of_a_sweep_is_labelled_with_its_name() -> None:
    request = sweep(decompress=False).due_run(NOON)[1]
    assert (request.label, request.owner, request.collection, request.decompress) == (
        "sweep orbits",
        "operations",
        "aux",
        False,
    )


def test_a_sweep_is_due_now_unless_told_otherwise() -> None:
    import time

    before = sweep().due_run(time.time())[0]
    now = sweep().due_run()[0]
    assert now in (before, sweep().due_run(time.time())[0])
