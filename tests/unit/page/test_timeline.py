"""The timeline of a run: what waited and what was in work, stage by stage, however many items there are."""

import pytest

from shared.models import ItemRecord, ItemState, Run, RunKind
from shared.page.timeline import BINS, Stage, Timeline, area
from tests.unit.making import record_of, run_of

RUN = {"created": 1000.0, "searching": 1001.0, "began": 1004.0, "closed": 1000.0 + BINS}
WHOLE = {
    "claimed": 1010.0,
    "staged": 1020.0,
    "publishing": 1022.0,
    "catalogued": 1025.0,
    "expanding": 1035.0,
    "expanded": 1050.0,
    "finished": 1050.0,
}


def timeline(*records: ItemRecord, now: float = 0, **run: object) -> Timeline:
    made = Timeline(run_of(**{**RUN, **run}), now)
    for record in records:
        made.add(record)
    return made


def stages(made: Timeline) -> dict[str, Stage]:
    return {stage.name: stage for stage in made.stages}


def seconds(made: Timeline) -> dict[str, tuple[float, float]]:
    """By stage: the seconds of waiting and of work, which are one for each bin of this run."""
    return {stage.name: (sum(stage.waiting.values()), sum(stage.working.values())) for stage in made.stages}


def item(**times: float | None) -> ItemRecord:
    return record_of("X", ItemState.EXPANDED, **times)


def test_each_stage_has_its_waiting_and_its_work() -> None:
    made = timeline(item(**WHOLE))
    assert seconds(made) == {"Search": (1, 3), "Stage": (6, 10), "Publish": (2, 3), "Expand": (10, 15)}
    assert [stage.queue for stage in made.stages] == ["search", "staging", "catalog", "decompress"]
    working = stages(made)["Publish"].working.values()
    assert [place for place, value in enumerate(working) if value] == [22, 23, 24]


def test_the_mean_and_the_longest_are_of_all_items() -> None:
    made = timeline(item(**WHOLE), item(**{**WHOLE, "publishing": 1020.0}))
    stage = stages(made)["Publish"]
    assert (stage.waits.count, stage.waits.mean, stage.waits.longest) == (2, 1.0, 2.0)
    assert (stage.works.mean, stage.works.longest) == (4.0, 5.0)


def test_parts_of_a_bin_count_as_parts() -> None:
    made = timeline(item(claimed=1010.25, staged=1010.75, finished=1010.75, publishing=None))
    assert stages(made)["Stage"].working.values()[10] == 0.5


def test_an_item_that_failed_was_in_work_until_then() -> None:
    made = timeline(record_of("X", ItemState.FAILED, claimed=1010.0, finished=1014.0))
    assert seconds(made) == {"Search": (1, 3), "Stage": (6, 4)}


def test_an_item_that_failed_in_the_search_waited_for_nothing() -> None:
    assert [*stages(timeline(record_of("X", ItemState.FAILED, finished=1010.0)))] == ["Search"]


def test_a_run_that_goes_on_is_shown_until_now() -> None:
    waiting, staging = record_of("W"), record_of("S", ItemState.CLAIMED, claimed=1010.0)
    made = timeline(waiting, staging, now=1000.0 + BINS, closed=None)
    assert seconds(made)["Stage"] == (BINS - 4 + 6, BINS - 10)


def test_records_of_before_have_work_and_no_waiting() -> None:
    made = timeline(item(**{**WHOLE, "publishing": None, "expanding": None}), searching=None)
    assert seconds(made) == {"Stage": (6, 10), "Publish": (0, 5), "Expand": (0, 25)}


def test_a_run_that_only_expands_waits_for_its_claim() -> None:
    request = run_of().request.model_copy(update={"kind": RunKind.DECOMPRESS})
    made = timeline(item(claimed=1010.0, expanded=1030.0, finished=1030.0), request=request)
    assert seconds(made)["Expand"] == (6, 20)


def test_clocks_that_differ_make_no_time_negative() -> None:
    made = timeline(item(claimed=1002.0, staged=1001.0, publishing=1000.0, catalogued=999.0, finished=999.0))
    assert all(value >= 0 for stage in made.stages for value in [*stage.waiting.values(), *stage.working.values()])
    assert all(stage.waits.longest >= 0 and stage.works.longest >= 0 for stage in made.stages)


def test_bytes_come_while_an_item_is_staged() -> None:
    made = timeline(record_of("X", ItemState.CATALOGUED, claimed=1010.0, staged=1020.0, downloaded=500))
    assert made.received.values()[9:21] == [0, *[50.0] * 10, 0]


def test_a_run_without_a_length_has_a_timeline() -> None:
    run: Run = run_of(created=5.0, closed=5.0)
    made = Timeline(run, 5.0)
    made.add(record_of("X", ItemState.CATALOGUED, claimed=5.0, staged=5.0, catalogued=5.0, finished=5.0, downloaded=9))
    assert made.end > made.begin


@pytest.mark.parametrize(
    ("base", "peak", "path"), [(60, 0, "M0 60V60h1V0h1V30h1V60Z"), (0, 10, "M0 0V0h1V10h1V5h1V0Z")]
)
def test_an_area_is_a_path_of_steps(base: float, peak: float, path: str) -> None:
    assert area([0.0, 4.0, 2.0], base, peak) == path
