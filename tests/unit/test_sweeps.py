"""Sweeps: one run for each period, whoever begins it, over a window that moves with it."""

import re
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.audit.audit import Scope
from shared.errors import Rejected
from shared.models import Lane
from shared.selection import PolicySelection, Published
from shared.settings import Settings, SettingsError
from tests.unit.making import settings_of
from workers.sweeps import Sweep, find_audit, find_sweep, load_audits, load_sweeps

ORBITS = """
[sweep.orbits]
every = "1h"
owner = "operations"
collection = "aux"
product_types = ["OPER_AUX_RESORB_OPOD"]
start = "-3h"
end = "0h"
"""
NOON = datetime(2024, 3, 25, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def sweep(**changes: object) -> Sweep:
    fields = {
        "name": "orbits",
        "every": "1h",
        "owner": "operations",
        "collection": "aux",
        "product_types": ["A"],
        "start": "-3h",
        "end": "0h",
        "jitter": "0s",
    }
    if "cron" in changes:
        del fields["every"]
    return Sweep.model_validate({**fields, **changes})


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "sweeps.toml"


def of(file: Path, text: str) -> Settings:
    file.write_text(text, "utf-8")
    return settings_of(sweeps_file=file)


def window(sweep: Sweep, now: datetime) -> tuple[datetime, datetime]:
    selection = sweep.tick(now).request.selection
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


def test_sweeps_are_read_from_their_file(file: Path) -> None:
    (found,) = load_sweeps(of(file, ORBITS)).values()
    assert found == sweep(product_types=["OPER_AUX_RESORB_OPOD"], jitter=None)
    assert (found.decompress, found.layout) == (True, None)


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
        ('"1h"', '"soon"', "sweep.orbits.every: is no duration"),
        ('"1h"', f'"{"9" * 20}d"', "sweep.orbits.every: is too long"),
        ('every = "1h"', 'cron = "0 25 * * *"', "sweep.orbits.cron: has '25' as hour"),
        ('every = "1h"', "", "sweep.orbits: give one of every and cron"),
        ('every = "1h"', 'every = "1h"\ncron = "* * * * *"', "sweep.orbits: give one of every and cron"),
        ('"operations"', '"a/b"', "sweep.orbits.owner: "),
        ('"aux"', '"../aux"', "sweep.orbits.collection: "),
        ('["OPER_AUX_RESORB_OPOD"]', "[]", "sweep.orbits.product_types: "),
        ('["OPER_AUX_RESORB_OPOD"]', '"A"', "sweep.orbits.product_types: "),
        ('["OPER_AUX_RESORB_OPOD"]', '[\n "A",\n 5,\n]', "sweep.orbits.product_types.1: "),
        ('"-3h"', '"yesterday"', "sweep.orbits.start: is no duration such as -3h and no instant"),
        ('"-3h"', '"-99999999d"', "sweep.orbits.start: "),
        ('"0h"', '"2024-13-01T00:00:00Z"', "sweep.orbits.end: "),
        ('"0h"', "[]", "sweep.orbits.end: "),
        ('start = "-3h"', "", "sweep.orbits: the policy ValCover needs start and end"),
        ('start = "-3h"', 'begin = "-3h"', "sweep.orbits.begin: is no field of a sweep"),
        ('end = "0h"', 'end = "0h"\nevery_ = 1', "sweep.orbits.every_: is no field of a sweep"),
        ('end = "0h"', 'end = "0h"\nname = "x"', "sweep.orbits: a sweep is a table [sweep.NAME]"),
        ('end = "0h"', 'end = "0h"\nlayout = "deep"', "sweep.orbits.layout: "),
        ('end = "0h"', 'end = "0h"\njitter = "1h"', "sweep.orbits: the jitter must be shorter"),
        ('end = "0h"', 'end = "0h"\njitter = "-1s"', "sweep.orbits.jitter: "),
        ('end = "0h"', 'end = "0h"\nexpires = "0s"', "sweep.orbits.expires: "),
        ('"0h"', '"-4h"', "sweep.orbits: the window ends before it begins"),
        ("[sweep.orbits]", '[sweep."../x"]', "sweep.../x: String should match"),
        ("[sweep.orbits]", r'[sweep."a\n\u001b"]', r"sweep.a\n\x1b: String should match"),
        ("[sweep.orbits]", "[sweeps.orbits]", "sweeps: a sweep is a table [sweep.NAME]"),
        ("[sweep.orbits]", "[[sweep]]", "sweep: a sweep is a table [sweep.NAME]"),
        ("[sweep.orbits]", "[sweep]\n\n# soon\norbits = 5", "sweep.orbits: a sweep is a table"),
        ('end = "0h"', "end = ", "Invalid value"),
        ('end = "0h"', 'end = "0h"\n[sweep.orbits]', "Cannot declare"),
        ('end = "0h"', 'end = "0h', ""),
    ],
)
def test_what_is_wrong_is_told_in_one_line(file: Path, before: str, after: str, said: str) -> None:
    with pytest.raises(SettingsError) as raised:
        load_sweeps(of(file, ORBITS.replace(before, after)))
    assert raised.value.reason.startswith(f"AUXIP_SWEEPS_FILE {file}: {said}")
    assert "\n" not in raised.value.reason


@pytest.mark.parametrize("text", ["\0", "x = " + "[" * 5000, "#" * (2**20 + 1)])
def test_a_file_that_is_no_list_of_sweeps_is_named(file: Path, text: str) -> None:
    with pytest.raises(SettingsError, match=r"AUXIP_SWEEPS_FILE .*sweeps\.toml"):
        load_sweeps(of(file, text))


def test_a_file_has_a_thousand_sweeps_at_most(file: Path) -> None:
    with pytest.raises(SettingsError, match="more than 1000 sweeps"):
        load_sweeps(of(file, "".join(f"[sweep.s{number}]\n" for number in range(1001))))


def test_a_file_that_is_not_there_or_no_text_is_named(file: Path) -> None:
    with pytest.raises(SettingsError, match=r"AUXIP_SWEEPS_FILE .*No such file"):
        load_sweeps(settings_of(sweeps_file=file))
    file.write_bytes(b"# one\n# two\n\xff\xfe")
    with pytest.raises(SettingsError, match="is not UTF-8"):
        load_sweeps(settings_of(sweeps_file=file))


def test_the_example_of_the_documentation_is_one(file: Path) -> None:
    page = Path(__file__).parents[2] / "docs" / "howto" / "sweeps.md"
    (text,) = re.findall("```toml\n(.*?)```", page.read_text("utf-8"), re.DOTALL)
    assert list(load_sweeps(of(file, text))) == ["orbits", "nightly", "everything"]


def test_a_sweep_is_found_by_its_name(file: Path) -> None:
    settings = of(file, ORBITS)
    assert find_sweep(settings, "orbits").name == "orbits"
    with pytest.raises(Rejected, match=r"unknown-sweep: no sweep 'orbit' .* it has: orbits"):
        find_sweep(settings, "orbit")
    with pytest.raises(Rejected, match="it has: none"):
        find_sweep(settings_of(), "orbits")


INSTANTS = st.integers(0, 4 * 10**15).map(lambda each: datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=each))
SWEEPS = [
    sweep(jitter="59m"),
    sweep(jitter=None),
    sweep(every="1s", jitter="0.9s"),
    sweep(cron="*/5 * * * *", jitter="4m"),
    sweep(cron="30 3 1 * *", jitter="23h"),
]


@given(now=INSTANTS, sweep=st.sampled_from(SWEEPS))
def test_the_newest_tick_that_is_due_is_taken(now: datetime, sweep: Sweep) -> None:
    newest = sweep.newest(now)
    assert newest <= sweep.due(newest) <= now < sweep.next_due(now)
    assert sweep.next_due(now) == sweep.due(sweep.schedule.next(newest))


@given(now=INSTANTS, sweep=st.sampled_from(SWEEPS))
def test_jitter_never_brings_a_tick_behind_the_next(now: datetime, sweep: Sweep) -> None:
    tick = sweep.newest(now)
    assert tick <= sweep.due(tick) < sweep.schedule.next(tick)


def test_jitter_spreads_sweeps_and_ticks() -> None:
    names = [sweep(name=f"s{number}", jitter="10m").due(NOON) - NOON for number in range(200)]
    ticks = [sweep(jitter="10m").due(NOON + number * HOUR) - NOON - number * HOUR for number in range(200)]
    for delays in (names, ticks):
        gaps = [later - earlier for earlier, later in pairwise(sorted(delays))]
        assert max(gaps) < timedelta(minutes=1)
        assert timedelta(0) <= min(delays) < timedelta(minutes=1)
        assert timedelta(minutes=9) < max(delays) < timedelta(minutes=10)


@pytest.mark.parametrize(
    ("every", "longest"), [("10s", timedelta(seconds=1)), ("1h", timedelta(minutes=1)), ("7d", timedelta(minutes=1))]
)
def test_jitter_is_a_tenth_of_the_period_and_a_minute_at_most_unless_told(every: str, longest: timedelta) -> None:
    delays = [sweep(name=f"s{number}", every=every, jitter=None).due(NOON) - NOON for number in range(100)]
    assert longest * 0.9 < max(delays) < longest


@given(first=st.floats(0, 3599.99), second=st.floats(0, 3599.99))
def test_within_a_period_there_is_one_tick(first: float, second: float) -> None:
    assert sweep().tick(NOON + timedelta(seconds=first)) == sweep().tick(NOON + timedelta(seconds=second))


@given(periods=st.integers(1, 1000))
def test_every_tick_has_a_run_of_its_own(periods: int) -> None:
    assert sweep().tick(NOON).run_id != sweep().tick(NOON + periods * HOUR).run_id


def test_a_tick_says_when_the_next_one_is() -> None:
    tick = sweep(cron="0 0 1 1 *").tick(NOON)
    assert datetime.fromtimestamp(tick.at, UTC) == datetime(2024, 1, 1, tzinfo=UTC)
    assert datetime.fromtimestamp(tick.next, UTC) == datetime(2025, 1, 1, tzinfo=UTC)


def test_sweeps_of_different_names_have_different_runs() -> None:
    assert sweep().tick(NOON).run_id != sweep(name="other").tick(NOON).run_id


def test_a_relative_window_moves_with_the_tick_and_not_with_its_jitter() -> None:
    late = sweep(jitter="50m")
    assert window(late, late.due(NOON)) == (NOON - 3 * HOUR, NOON)
    assert window(late, late.due(NOON + HOUR)) == (NOON - 2 * HOUR, NOON + HOUR)


@pytest.mark.parametrize(
    "start", ["2024-03-25T02:00:00+02:00", datetime(2024, 3, 25, tzinfo=UTC), "2024-03-25T00:00:00"]
)
def test_an_absolute_window_stays(start: object) -> None:
    fixed = sweep(start=start, end="2024-03-26T00:00:00Z")
    expected = (datetime(2024, 3, 25, tzinfo=UTC), datetime(2024, 3, 26, tzinfo=UTC))

    assert window(fixed, NOON) == window(fixed, NOON + 24 * HOUR) == expected


def test_a_run_does_what_its_sweep_says() -> None:
    request = sweep(decompress=False, layout="tree").request(NOON)
    assert (request.label, request.owner, request.collection) == ("sweep orbits", "operations", "aux")
    assert (request.decompress, request.layout) == (False, "tree")


def test_the_run_of_a_tick_is_a_bulk_one() -> None:
    assert sweep().tick(NOON).request.lane is Lane.BULK


def test_a_sweep_has_a_policy_margins_and_stations_of_its_own() -> None:
    changes: dict[str, object] = {
        "policy": ["LatestValCover", "LatestValIntersect"],
        "platform": "sentinel-1a",
        "before": "6000s",
        "after": "2h",
        "station": ["prip", "adgs"],
    }
    request = sweep(**changes).tick(NOON).request
    assert request.stations == ("prip", "adgs")
    assert request.selection == PolicySelection(
        policies=("LatestValCover", "LatestValIntersect"),
        product_types=("A",),
        platform="sentinel-1a",
        start=NOON - 3 * HOUR,
        end=NOON,
        before=timedelta(seconds=6000),
        after=2 * HOUR,
    )


def test_one_policy_and_one_station_need_no_list() -> None:
    request = sweep(policy="LatestGeneration", station="adgs", start=None, end=None).tick(NOON).request
    assert request.stations == ("adgs",)
    assert request.selection == PolicySelection(policies=("LatestGeneration",), product_types=("A",))


@pytest.mark.parametrize(
    ("field", "said"),
    [
        ('policy = "Newest"', "sweep.orbits.policy"),
        ("policy = []", "sweep.orbits.policy"),
        ('before = "-1h"', "sweep.orbits.before"),
        ('station = "ADGS!"', "sweep.orbits.station"),
    ],
)
def test_a_wrong_policy_margin_or_station_is_told_with_its_line(file: Path, field: str, said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        load_sweeps(of(file, f"{ORBITS}{field}\n"))


def test_a_policy_that_needs_a_window_is_refused_without_one(file: Path) -> None:
    without = "\n".join(line for line in ORBITS.splitlines() if not line.startswith(("start", "end")))
    with pytest.raises(SettingsError, match="the policy ValCover needs start and end"):
        load_sweeps(of(file, without))


BY_PUBLICATION = """
[sweep.everything]
by = "publication"
every = "1h"
jitter = "0s"
owner = "operations"
collection = "aux"
product_types = ["A"]
"""


def by_publication(file: Path, *lines: str) -> Sweep:
    (found,) = load_sweeps(of(file, BY_PUBLICATION + "\n".join(lines))).values()
    return found


def test_a_sweep_by_publication_needs_no_more_than_what_is_searched(file: Path) -> None:
    tick = by_publication(file).publication_tick(NOON + timedelta(minutes=5), "adgs")
    assert (tick.at, tick.target) == (NOON.timestamp(), (NOON - timedelta(minutes=40)).timestamp())
    assert tick.first == (NOON - timedelta(days=7)).timestamp()
    assert (tick.overlap, tick.longest) == (2400, 86_400)
    request = tick.request
    assert (request.label, request.sweep, request.stations) == ("sweep everything", "everything", ("adgs",))
    assert request.lane is Lane.BULK


def test_a_sweep_by_publication_has_a_selection_a_station_and_times_of_its_own(file: Path) -> None:
    found = by_publication(
        file,
        'platform = "sentinel-1a"',
        'station = "prip"',
        'overlap = "1h"',
        'lag = "2h"',
        'longest = "6h"',
        "since = 2024-03-01",
        'filter = { op = "<", args = [{ property = "eo:cloud_cover" }, 10] }',
    )
    tick = found.publication_tick(NOON, "adgs")
    assert (tick.target, tick.overlap, tick.longest) == ((NOON - 2 * HOUR).timestamp(), 3600, 6 * 3600)
    assert tick.first == datetime(2024, 3, 1, tzinfo=UTC).timestamp()
    assert tick.request.stations == ("prip",)
    selection = tick.request.selection
    assert isinstance(selection, Published)
    assert (selection.product_types, selection.platform) == (("A",), "sentinel-1a")
    assert selection.filter == {"op": "<", "args": [{"property": "eo:cloud_cover"}, 10]}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('start = "-3h"', "start: a sweep by publication does not have it"),
        ('end = "0h"', "end: a sweep by publication does not have it"),
        ('before = "1h"', "before: a sweep by publication does not have it"),
        ('after = "1h"', "after: a sweep by publication does not have it"),
        ('policy = "LatestValCover"', "policy: a sweep by publication does not have it: it stages every item"),
        ('station = ["adgs", "prip"]', "station: each station has its own times of publication"),
        ('longest = "40m"', "longest: a window must be longer than the overlap"),
        ('since = "7d"', "since: it is after the tick; write it with a minus"),
        ('filter = { op = "near", args = [] }', "the filter has operators that CQL2 does not know: near"),
    ],
)
def test_what_makes_no_sense_by_publication_is_refused_in_one_line(file: Path, line: str, said: str) -> None:
    with pytest.raises(SettingsError) as raised:
        by_publication(file, line)
    assert said in raised.value.reason
    assert raised.value.reason.startswith(f"AUXIP_SWEEPS_FILE {file}: sweep.everything")


def test_a_sweep_by_publication_of_nothing_is_refused(file: Path) -> None:
    with pytest.raises(SettingsError, match="give product types, a filter, or both"):
        load_sweeps(of(file, BY_PUBLICATION.replace('product_types = ["A"]', "")))


@pytest.mark.parametrize(
    "line",
    ['overlap = "1h"', 'lag = "1h"', 'longest = "1d"', 'since = "-7d"', 'filter = { op = "=", args = [1, 1] }'],
)
def test_what_only_a_sweep_by_publication_has_is_refused_without_it(file: Path, line: str) -> None:
    with pytest.raises(SettingsError, match='only a sweep with by = "publication" has it'):
        load_sweeps(of(file, f"{ORBITS}{line}\n"))


AUDIT = """
[audit.nightly]
cron = "30 3 * * *"
collection = "aux"
requests_per_second = 5
"""


def test_a_table_of_an_audit_says_what_is_audited_and_how_fast(file: Path) -> None:
    (found,) = load_audits(of(file, AUDIT + ORBITS)).values()
    assert found.scope == Scope(None, "aux", requests_per_second=5)
    assert found.tick(NOON) == NOON.replace(hour=3, minute=30).timestamp()


def test_audits_are_no_sweeps_and_sweeps_no_audits(file: Path) -> None:
    settings = of(file, AUDIT + ORBITS)
    assert (list(load_audits(settings)), list(load_sweeps(settings))) == (["nightly"], ["orbits"])
    with pytest.raises(Rejected, match="no audit 'orbits' in AUXIP_SWEEPS_FILE; it has: nightly"):
        find_audit(settings, "orbits")


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("requests_per_second = 5", "requests_per_second = 0", "audit.nightly.requests_per_second: "),
        ('collection = "aux"', "", "audit.nightly.collection: Field required"),
        ('cron = "30 3 * * *"', "", "audit.nightly: give one of every and cron"),
        ('cron = "30 3 * * *"', 'product_types = ["A"]', "audit.nightly.product_types: is no field of an audit"),
        ("[audit.nightly]", "[[audit]]", "audit: an audit is a table [audit.NAME]"),
    ],
)
def test_what_is_wrong_with_an_audit_is_told_in_one_line(file: Path, before: str, after: str, said: str) -> None:
    with pytest.raises(SettingsError) as raised:
        load_audits(of(file, AUDIT.replace(before, after)))
    assert raised.value.reason.startswith(f"AUXIP_SWEEPS_FILE {file}: {said}")
