"""Every mutant still changes the product, and asks for kinds of faults that there are."""

import shutil
from pathlib import Path

import pytest

from tests.faults.all_kinds import KINDS
from tests.faults.mutants import MUTANTS, ROOT, Mutant


def _copy(mutant: Mutant, root: Path) -> Path:
    copy = root / mutant.file
    copy.parent.mkdir(parents=True)
    shutil.copy(ROOT / mutant.file, copy)
    return copy


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_every_mutant_applies(mutant: Mutant, tmp_path: Path) -> None:
    copy = _copy(mutant, tmp_path)
    mutant.apply(tmp_path)
    assert copy.read_text() != (ROOT / mutant.file).read_text()
    if copy.suffix == ".py":
        compile(copy.read_text(), mutant.file, "exec")


def test_a_mutant_whose_text_is_gone_or_there_twice_does_not_apply(tmp_path: Path) -> None:
    mutant = MUTANTS[0]
    copy = _copy(mutant, tmp_path)
    for text in ("", mutant.original * 2):
        copy.write_text(text)
        with pytest.raises(ValueError, match=mutant.name):
            mutant.apply(tmp_path)


def test_every_mutant_is_looked_for_by_kinds_that_there_are() -> None:
    assert {kind for mutant in MUTANTS for kind in mutant.kinds} <= KINDS.keys()


def test_the_names_of_mutants_differ() -> None:
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS)
