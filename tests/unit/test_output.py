"""What others have named is shown as it is: it neither changes how the rest looks nor ends the command."""

import pytest

from tests.unit.making import record_of, run_of
from workers.cli.output import print_items, print_runs

HOSTILE = "[/bold]a[red]b[/red]"


def test_items_are_shown_by_their_own_names_and_reasons(capsys: pytest.CaptureFixture[str]) -> None:
    print_items([record_of(HOSTILE, code="bad-item", reason=f"reason {HOSTILE}")])
    shown = capsys.readouterr().out
    assert HOSTILE in shown
    assert f"bad-item: reason {HOSTILE}" in shown


def test_runs_are_shown_by_their_own_labels(capsys: pytest.CaptureFixture[str]) -> None:
    print_runs([run_of(request=run_of().request.model_copy(update={"label": f"replay of {HOSTILE}"}))])
    assert f"replay of {HOSTILE}" in capsys.readouterr().out
