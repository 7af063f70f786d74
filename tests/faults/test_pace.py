"""With `--defaults` no setting differs from the product's but by one factor; some kinds must be asked for."""

import pytest

from shared.settings import Settings
from tests.faults.all_kinds import KINDS, ONLY_WHEN_ASKED, usual_kinds
from tests.faults.pace import FACTORS, TIMES, defaults
from tests.faults.schedule import plan_of

REQUIRED = {
    "redis_url": "redis://localhost",
    "stations_file": "/stations.toml",
    "catalog_url": "http://localhost",
    "s3_endpoint": "http://localhost",
    "s3_access_key_id": "key",
    "s3_secret_access_key": "secret",
    "s3_bucket": "bucket",
}
DAYS = "keep_runs_days"


def test_every_setting_that_is_a_time_and_has_a_default_is_divided() -> None:
    fields = Settings.model_fields.items()
    ratios = {"archive_max_ratio"}
    times = {name for name, field in fields if field.annotation is float and field.default}
    assert set(TIMES) == times - ratios


@pytest.mark.parametrize("factor", FACTORS)
def test_all_times_are_divided_by_the_same_factor_and_nothing_else_is_set(factor: int) -> None:
    given = {name.removeprefix("AUXIP_").lower(): value for name, value in defaults(factor).settings.items()}
    plain, paced = Settings(**REQUIRED), Settings(**REQUIRED, **given)  # type: ignore[arg-type]
    assert given.keys() <= {*TIMES, DAYS}
    for name in (*TIMES, DAYS):
        assert getattr(paced, name) * factor == pytest.approx(getattr(plain, name))


def test_the_factor_1_sets_nothing() -> None:
    assert defaults(1).settings == {}


def test_systems_are_away_for_20_s_to_10_minutes() -> None:
    pace = defaults(10)
    for seed in range(100):
        for fault in plan_of(seed, usual_kinds(by_defaults=True), pace).faults:
            assert not KINDS[fault.kind].is_outage or 2 <= fault.lasting <= 60


def test_some_kinds_are_played_only_where_they_are_asked_for() -> None:
    assert ONLY_WHEN_ASKED.keys() <= KINDS.keys()
    assert not ONLY_WHEN_ASKED.keys() & set(usual_kinds(by_defaults=False))
    assert "sweep" in usual_kinds(by_defaults=False)
    assert "sweep" not in usual_kinds(by_defaults=True)  # it needs a setting
