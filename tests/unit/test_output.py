"""How runs are shown: small ones whole, of large ones what a person wants to see, and to a program always all."""

import json

import pytest

from shared.answer import Answer, Selected
from shared.models import ItemRecord, ItemState, Notice, Wait
from tests.unit.making import record_of, run_of
from workers.cli.output import (
    print_items,
    print_notices,
    print_outcomes,
    print_run_json,
    print_runs,
    print_selected,
)

LINES = 1000


def done(count: int) -> list[ItemRecord]:
    return [record_of(f"item-{number:04}", ItemState.CATALOGUED) for number in range(count)]


def skipped(count: int, **changes: object) -> list[ItemRecord]:
    same = {"code": "already-staged", "reason": "as it should be", **changes}
    return [record_of(f"item-{number:04}", ItemState.SKIPPED, **same) for number in range(count)]


def names(text: str) -> list[str]:
    return [line.split()[0] for line in text.splitlines()[1:]]


def test_a_notice_is_a_line_for_people_and_an_object_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    notice = Notice(code="unknown-property", reason="the station finds nothing")
    print_notices(run_of(notices=(notice,)))
    assert capsys.readouterr().out == "notice: unknown-property: the station finds nothing\n"

    print_run_json(run_of(notices=(notice,)), [])
    assert json.loads(capsys.readouterr().out)["notices"] == [notice.model_dump()]


def test_a_table_of_few_items_has_all_of_them(capsys: pytest.CaptureFixture[str]) -> None:
    print_items(iter(done(LINES)))
    assert names(capsys.readouterr().out) == [f"item-{number:04}" for number in range(LINES)]


def test_a_table_of_many_items_shows_those_that_failed_and_counts_the_others(
    capsys: pytest.CaptureFixture[str],
) -> None:
    failed = record_of("failed", ItemState.FAILED, code="size-mismatch", reason="3 bytes")
    print_items(iter([*done(5000), failed]))
    *table, last = capsys.readouterr().out.splitlines()

    assert names("\n".join(table)) == ["failed", *(f"item-{number:04}" for number in range(LINES - 1))]
    assert last == "4001 more items are not shown; --json and the report have all"


def test_what_a_station_says_is_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    print_items([record_of("[/x]", ItemState.FAILED, code="x", reason="[red]hostile[/blue]")])
    assert "[/x]" in (out := capsys.readouterr().out)
    assert "x: [red]hostile[/blue]" in out


@pytest.mark.parametrize("hostile", ["a\x1b[2Jb", "a\x9b31mb", "a\nb", "a\u202eb"])
def test_no_control_character_of_a_station_comes_to_a_terminal(
    capsys: pytest.CaptureFixture[str], hostile: str
) -> None:
    print_items([record_of(hostile, ItemState.FAILED, code="bad-item", reason=hostile)])
    print_outcomes([record_of("a", ItemState.SKIPPED, code="no-such-asset", reason=hostile)])
    print_run_json(run_of(), [record_of(hostile, ItemState.FAILED)])
    shown = capsys.readouterr().out
    assert [each for each in shown if not each.isprintable()] == ["\n"] * shown.count("\n")
    assert len(shown.splitlines()) == 4


def test_items_that_were_all_skipped_for_one_reason_are_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    print_outcomes(iter(skipped(3000)))
    assert capsys.readouterr().out == "all 3000 items skipped: already-staged, as it should be\n"


@pytest.mark.parametrize("other", [done(1), skipped(1, reason="another")])
def test_items_that_ended_differently_are_a_table(capsys: pytest.CaptureFixture[str], other: list[ItemRecord]) -> None:
    print_outcomes([*skipped(3), *other])
    assert len(names(capsys.readouterr().out)) == 4


@pytest.mark.parametrize("count", [0, 1, 500, 501, 1500])
def test_a_program_gets_every_item_in_one_object_on_one_line(capsys: pytest.CaptureFixture[str], count: int) -> None:
    print_run_json(run_of(), iter(done(count)))
    (line,) = capsys.readouterr().out.splitlines()
    said = json.loads(line)

    assert said["run"] == "run-1"
    assert [item["id"] for item in said["items"]] == [f"item-{number:04}" for number in range(count)]
    assert Answer.model_validate(said).version == 1


def test_runs_are_shown_with_what_they_waited_for(capsys: pytest.CaptureFixture[str]) -> None:
    wait = Wait(system="s3", since=1711357200.0, until=1711357260.0, reason="no\x1b[0mroom")
    print_runs([run_of(waits=[wait])])
    line = capsys.readouterr().out.splitlines()[-1]
    assert line == "run run-1 waited for the s3 from 2024-03-25T09:00:00Z to 2024-03-25T09:01:00Z: no\\x1b[0mroom"


def test_runs_are_shown_by_their_own_labels(capsys: pytest.CaptureFixture[str]) -> None:
    hostile = "[/bold]a[red]b[/red]"
    print_runs([run_of(request=run_of().request.model_copy(update={"label": f"replay of {hostile}"}))])
    assert f"replay of {hostile}" in capsys.readouterr().out


def test_product_types_of_which_nothing_was_selected_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    selected = [
        Selected(product_type="MISSPELT"),
        Selected(product_type="NONE_FITS", offered=4),
        Selected(product_type="GOOD", policy="ValCover", offered=1, selected=1),
    ]
    print_selected(run_of(selected=selected))
    misspelt, none_fits = capsys.readouterr().out.splitlines()
    assert misspelt.startswith("nothing of MISSPELT: the station offers no such item")
    assert none_fits == "nothing of NONE_FITS: the station offers 4 items, and no policy selects one"
