"""Tables on terminals of 80 and 50 columns: no id is cut, no column is empty, and a state is told without a colour."""

import io
import re
import time

import pytest

from shared.ledger import Letter
from shared.models import Counts, ItemState, RunState, SweepRecord
from shared.stac.item import Found
from tests.unit.making import record_of, run_of
from workers.cli.output import SweepStanding, print_found, print_items, print_letters, print_runs, print_sweeps
from workers.cli.tables import ago, marked, short_id

RUN = "ec31d0aa-7f1c-4f8e-9b5e-0a1b2c3d4e5f"
ITEM = "S1A_OPER_AUX_RESORB_OPOD_20240325T101002_V20240325T060729_20240325T092459.EOF"
LETTER = "1711357200123-0"
ANSI = re.compile(r"\x1b\[[0-9;]*m")


@pytest.fixture(params=[80, 50])
def width(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """The columns of a terminal that this process writes to."""
    columns: int = request.param
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    return columns


def shown(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return [ANSI.sub("", line).rstrip() for line in capsys.readouterr().out.splitlines()]


def test_runs_fit_and_their_ids_are_whole(width: int, capsys: pytest.CaptureFixture[str]) -> None:
    counts = Counts(items=32, staged=30, expanded=15, failed=2, bytes_downloaded=4_200_000)
    print_runs([run_of(id=RUN, state=RunState.PARTIAL, counts=counts, created=time.time() - 300)])
    lines = shown(capsys)

    assert max(map(len, lines)) <= width
    assert lines[0].split() == ["run", "begun", "state", "outcome"]
    assert lines[1].startswith("ec31d0aa  5 min ago  ! partial  32 items")
    words = " ".join(part for line in lines for part in line.split())
    assert "30 staged," in words
    assert "failed;" in words
    assert "repaired" not in words


def test_a_callers_own_id_is_whole(width: int, capsys: pytest.CaptureFixture[str]) -> None:
    print_runs([run_of(id="pass-4711-of-sentinel-1a", created=time.time())])
    lines = shown(capsys)
    assert max(map(len, lines)) <= width
    assert [line for line in lines if line.startswith("pass-4711-of-sentinel-1a  0 s ago")]


def test_letters_fit_and_their_ids_are_whole(width: int, capsys: pytest.CaptureFixture[str]) -> None:
    reason = "the station's MD5 is 1a2b, the downloaded file has 2b3c"
    letter = Letter(id=LETTER, kind="item", code="checksum-mismatch", reason=reason, where=RUN, size=900)
    print_letters([letter])
    lines = shown(capsys)

    assert max(map(len, lines)) <= width
    assert lines[1].startswith(f"{LETTER}  ")
    words = " ".join(part for line in lines[1:] for part in line.split())
    assert "item of run ec31d0aa:" in words


def test_items_are_named_whole_however_narrow_the_terminal_is(width: int, capsys: pytest.CaptureFixture[str]) -> None:
    failed = record_of(ITEM, ItemState.FAILED, code="checksum-mismatch", reason="other bytes", size=704_200)
    print_items([failed, record_of("short", ItemState.CATALOGUED, size=10)])
    lines = shown(capsys)

    # A name that is wider than the terminal is one line, which the terminal breaks: so it is selected as one.
    assert ITEM in lines
    assert all(len(line) <= width for line in lines if line != ITEM)
    assert lines[1].startswith("  \N{BALLOT X} failed, 704.2 kB, checksum-mismatch: other")


def test_items_with_short_names_are_a_table_without_empty_columns(
    width: int, capsys: pytest.CaptureFixture[str]
) -> None:
    print_items([record_of("item-1", ItemState.CATALOGUED, size=10), record_of("item-2", ItemState.SKIPPED, size=10)])
    lines = shown(capsys)
    assert lines[0].split() == ["item", "state", "size"]
    assert [line.split()[:3] for line in lines[1:]] == [
        ["item-1", "\N{CHECK MARK}", "catalogued"],
        ["item-2", "\N{EN DASH}", "skipped"],
    ]


def test_sweeps_fit_and_their_last_runs_can_be_shown(width: int, capsys: pytest.CaptureFixture[str]) -> None:
    last = run_of(id=RUN, state=RunState.PARTIAL, counts=Counts(items=9, failed=2), created=time.time() - 300)
    standing = SweepStanding("orbits-of-sentinel-1", "every 1h", last, SweepRecord(), time.time() + 3590)
    print_sweeps([standing, SweepStanding("new", "every 1d", None, SweepRecord(), time.time() + 90)])
    lines = shown(capsys)

    assert max(map(len, lines)) <= width
    assert [line for line in lines if line.startswith("orbits-of-sentinel-1  in 59 min  ec31d0aa")]
    words = " ".join(part for line in lines for part in line.split())
    assert all(word in words for word in ("every 1h;", "5 min", "partial: 9", "2 failed"))


def test_what_was_looked_for_is_named_whole(width: int, capsys: pytest.CaptureFixture[str]) -> None:
    print_found([Found.unusable(ITEM, "not-found", "the station does not have it")])
    lines = shown(capsys)
    assert lines[0] == ITEM
    assert lines[1].startswith("  \N{BALLOT X} missing, not-found: the station")


def test_a_run_that_found_nothing_says_so(width: int, capsys: pytest.CaptureFixture[str]) -> None:
    print_runs([run_of(id=RUN, state=RunState.SUCCESSFUL, created=time.time())])
    assert "\N{EN DASH} nothing found" in " ".join(shown(capsys))


def test_every_state_has_a_mark_of_its_own_kind() -> None:
    states = [*RunState, *ItemState, "nothing found"]
    assert not [state for state in states if marked(state).startswith("?")]
    assert marked("failed")[0] != marked("successful")[0]


def test_a_terminal_that_has_no_such_characters_gets_letters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(io.BytesIO(), encoding="ascii"))
    assert (marked("failed"), marked("successful")) == ("x failed", "+ successful")


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "0 s ago"),
        (119, "119 s ago"),
        (300, "5 min ago"),
        (7300, "2 h ago"),
        (200_000, "2 d ago"),
        (-700, "in 11 min"),
    ],
)
def test_times_are_said_as_people_say_them(monkeypatch: pytest.MonkeyPatch, seconds: float, said: str) -> None:
    monkeypatch.setattr(time, "time", lambda: 1_711_357_200.0)
    assert ago(1_711_357_200.0 - seconds) == said


def test_the_short_id_of_a_uuid_is_its_first_part() -> None:
    assert (short_id(RUN), short_id("pass-4711")) == ("ec31d0aa", "pass-4711")
