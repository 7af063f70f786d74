"""Staging by a service: one job for an item, looked at until it is over, believed once the catalog and S3 agree."""

import hashlib
import json
import time
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest

from local import samples
from local.stack import Stack
from shared.context import Context
from shared.errors import AuxipError, Busy, ItemFailed, Refused, Rejected, Retryable
from shared.models import ItemState
from shared.runs.settle import settle_item
from shared.stac.item import Asset
from shared.steps import delegate
from shared.steps.publish import publish_and_fetch
from shared.steps.stage import stage_item
from shared.storage.location import Location
from tests.integration.conftest import wait_for
from tests.integration.delegated.service import CLOSED, KEY, Job, Service
from tests.integration.test_steps import EVERY_STEP, Work

PLAIN = samples.product(samples.AS_LONG_AS_WINDOW)
ARCHIVE = samples.product(samples.UPPER_CASE_ARCHIVE)


class Delegated(Work):
    """One run over one item that a worker has claimed."""

    def __init__(self, context: Context, collection: str, item_id: str = PLAIN.item_id) -> None:
        super().__init__(context, collection, item_id)
        with self.ledger.claim(self.run_id, self.key, seconds=30):
            pass

    def stage(self) -> None:
        """Call the step until the job is over."""
        wait_for(self._is_over, "the job is over", 20)

    def _is_over(self) -> bool:
        try:
            self.do(stage_item)
        except Busy:
            return False
        return True

    def error(self) -> AuxipError:
        """What the step ends with that is no waiting."""
        with pytest.raises(AuxipError) as raised:
            self.stage()
        return raised.value


@pytest.fixture
def work(context: Context, collection: str) -> Delegated:
    return Delegated(context, collection)


def changed(context: Context, **settings: object) -> Context:
    return Context(context.settings.model_copy(update=settings))


# What it comes to


def test_the_service_stages_and_publishes_and_we_move_no_byte(work: Delegated, context: Context, stack: Stack) -> None:
    work.stage()
    stack.set_catalog_faults([{"path": "/items", "method": method, "status": 500} for method in ("POST", "PUT")])
    work.do(publish_and_fetch, settle_item)

    shown = work.shown()
    assert shown is not None
    assert (
        context.store.get(Location.parse(shown.assets[PLAIN.name].href), limit=10**8)
        == samples.product(PLAIN.name).build()
    )
    assert (work.record.state, work.record.downloaded) == (ItemState.CATALOGUED, 0)
    assert work.run.counts.staged == 1


def test_the_service_is_asked_for_one_item_and_its_assets(work: Delegated, service: Service) -> None:
    work.stage()

    (inputs,) = service.executions
    (feature,) = inputs["items"]["value"]["features"]
    assert (inputs["collection"], inputs["asset_names"]) == (work.run.request.collection, [PLAIN.name])
    assert (feature["id"], feature["collection"]) == (PLAIN.item_id, samples.STATION_COLLECTION)


def test_an_archive_that_the_service_has_staged_is_expanded_where_it_is(
    context: Context, collection: str, service: Service, other_bucket: str
) -> None:
    service.bucket = other_bucket
    work = Delegated(context, collection, ARCHIVE.item_id)
    work.stage()
    work.do(*EVERY_STEP)

    shown = work.shown()
    assert shown is not None
    (asset,) = shown.assets.values()
    assert asset.href.startswith(f"s3://{other_bucket}/{service.user}/{collection}/{ARCHIVE.item_id}/")
    assert list(context.store.list(Location.parse(asset.href)))
    assert work.run.counts.expanded == 1


@pytest.mark.parametrize("product", [PLAIN, ARCHIVE], ids=["plain", "archive"])
def test_a_second_run_asks_for_nothing(
    context: Context, collection: str, service: Service, other_bucket: str, product: samples.Product
) -> None:
    service.bucket = other_bucket
    for state in (ItemState.CATALOGUED if product is PLAIN else ItemState.EXPANDED, ItemState.SKIPPED):
        work = Delegated(context, collection, product.item_id)
        work.stage()
        if not work.record.intact:
            work.do(*(EVERY_STEP[1:] if product is ARCHIVE else [publish_and_fetch]))
        work.do(settle_item)
        assert work.record.state is state
    assert len(service.executions) == 1


def test_what_was_transferred_by_ourselves_is_not_asked_for(
    context: Context, collection: str, service: Service
) -> None:
    with closing(changed(context, staging_backend="transfer")) as own:
        Work(own, collection, PLAIN.item_id).do(stage_item, publish_and_fetch)
    work = Delegated(context, collection)
    work.stage()

    assert work.record.intact
    assert service.executions == []


# While a job runs


def test_a_running_job_is_waited_for_with_its_progress_in_bytes(
    work: Delegated, context: Context, service: Service
) -> None:
    service.work = service.hang
    for _ in range(3):
        with pytest.raises(Busy, match="job-running") as raised:
            work.do(stage_item)
    wait_for(lambda: service.job.status == "running", "the job runs")
    with pytest.raises(Busy, match="42 %"):
        work.do(stage_item)

    assert 0 < (raised.value.delay or 0) < 1
    assert work.ledger.bytes_in_flight(work.run_id) == work.record.size * 42 // 100
    assert (work.record.attempts, len(service.executions)) == (0, 1)


GLITCHES: dict[str, Callable[[Job], int | bytes]] = {
    "connection closed": lambda _: CLOSED,
    "500": lambda _: 500,
    "502": lambda _: 502,
    "408": lambda _: 408,
    "429": lambda _: 429,
    "a page": lambda _: b"<html>Bad Gateway</html>",
    "no object": lambda _: b"[]",
    "no statusInfo": lambda _: b"{}",
    "another job": lambda job: json.dumps({**job.info(), "jobID": "another", "status": "failed"}).encode(),
    "an unknown status": lambda job: json.dumps({**job.info(), "status": "sleeping"}).encode(),
}


@pytest.mark.parametrize("glitch", GLITCHES)
def test_a_glitch_while_a_job_is_looked_at_ends_no_waiting_and_uses_no_attempt(
    work: Delegated, context: Context, service: Service, glitch: str
) -> None:
    with pytest.raises(Busy):
        work.do(stage_item)
    looks = context.settings.attempts + 1
    service.answers.extend([GLITCHES[glitch](service.job)] * looks)
    for _ in range(looks):
        with pytest.raises(Busy, match="job-running: staging-"):
            work.do(stage_item)
    work.stage()

    assert work.record.state is ItemState.STAGED
    assert (work.record.attempts, len(service.executions)) == (0, 1)


def test_glitches_do_not_outlast_the_timeout_of_a_job(work: Delegated, context: Context, service: Service) -> None:
    with pytest.raises(Busy):
        work.do(stage_item)
    service.answers.extend([500] * 1000)
    with closing(changed(context, staging_job_timeout=0.2)) as impatient:
        work.context = impatient
        error = work.error()

    assert (type(error), error.code) == (ItemFailed, "job-timeout")
    assert "staging-unavailable" in error.reason


def test_a_job_that_takes_too_long_is_dismissed_and_the_next_run_asks_anew(
    work: Delegated, context: Context, collection: str, service: Service
) -> None:
    service.work = service.hang
    with closing(changed(context, staging_job_timeout=0.2)) as impatient:
        work.context = impatient
        error = work.error()
    service.work = None
    Delegated(context, collection).stage()

    assert (type(error), error.code) == (ItemFailed, "job-timeout")
    assert len(service.executions) == 2
    assert len(service.dismissed) == 1


def test_a_job_that_ended_while_nobody_looked_is_not_too_late(
    work: Delegated, context: Context, service: Service
) -> None:
    with pytest.raises(Busy):
        work.do(stage_item)
    wait_for(lambda: service.job.status == "successful", "the job is done")
    with closing(changed(context, staging_job_timeout=0.001)) as late:
        work.context = late
        work.do(stage_item)

    assert work.record.state is ItemState.STAGED


def test_two_runs_that_want_an_item_wait_for_one_job(
    work: Delegated, context: Context, collection: str, service: Service
) -> None:
    service.work = service.hang
    other = Delegated(context, collection)
    for each in (work, other):
        with pytest.raises(Busy):
            each.do(stage_item)
    service.stage(service.job)
    for each in (work, other):
        each.stage()
        each.do(*([] if each.record.intact else [publish_and_fetch]), settle_item)

    assert len(service.executions) == 1
    assert (work.record.state, other.record.state) == (ItemState.CATALOGUED, ItemState.SKIPPED)


# How a job ends


def test_only_the_status_counts_though_the_answer_is_201(work: Delegated, service: Service) -> None:
    service.at_once, service.work = True, service.fail
    with pytest.raises(Retryable, match=r"job-failed: .*At least one of the tasks failed"):
        work.do(stage_item)
    service.work = None
    work.do(stage_item)

    assert work.record.state is ItemState.STAGED
    assert len(service.executions) == 2


def test_a_job_that_fails_later_is_tried_again(work: Delegated, service: Service) -> None:
    service.work = service.fail
    assert work.error().code == "job-failed"
    service.work = None
    work.stage()

    assert work.record.state is ItemState.STAGED


def test_a_job_that_somebody_has_dismissed_fails_the_item(work: Delegated, service: Service) -> None:
    service.work = service.hang
    with pytest.raises(Busy):
        work.do(stage_item)
    wait_for(lambda: service.job.status == "running", "the job runs")
    service.job.status = "dismissed"
    error = work.error()

    assert (type(error), error.code) == (ItemFailed, "job-dismissed")


def test_a_service_that_forgot_a_job_may_have_done_it(work: Delegated, service: Service) -> None:
    with pytest.raises(Busy):
        work.do(stage_item)
    wait_for(lambda: service.job.status == "successful", "the job is done")
    service.jobs.clear()
    work.do(stage_item, publish_and_fetch, settle_item)

    assert work.record.state is ItemState.CATALOGUED
    assert len(service.executions) == 1


def test_a_service_that_forgot_a_job_undone_is_asked_again(work: Delegated, service: Service) -> None:
    service.work = service.hang
    with pytest.raises(Busy):
        work.do(stage_item)
    service.jobs.clear()
    error = work.error()
    service.work = None
    work.stage()

    assert (type(error), error.code) == (Retryable, "job-lost")
    assert work.record.state is ItemState.STAGED
    assert len(service.executions) == 2


def test_a_service_that_cannot_be_asked_is_tried_again(work: Delegated, service: Service) -> None:
    service.refusal = 503
    error = work.error()
    assert (type(error), error.code) == (Retryable, "staging-unavailable")
    assert "503: as it was told" in error.reason


@pytest.mark.parametrize(
    ("status", "kind", "code"),
    [
        (401, Refused, "staging-unauthorized"),
        (404, Rejected, "staging-not-found"),
        (422, Rejected, "staging-refused"),
    ],
)
def test_a_service_that_refuses_fails_the_item_with_what_it_said(
    work: Delegated, service: Service, status: int, kind: type[AuxipError], code: str
) -> None:
    service.refusal = status
    error = work.error()

    assert (type(error), error.code) == (kind, code)
    assert f"{status}: as it was told" in error.reason
    assert KEY not in error.reason


# Trust, but verify


def test_a_catalog_that_lags_is_read_again_without_a_second_job(
    work: Delegated, service: Service, stack: Stack
) -> None:
    with pytest.raises(Busy):
        work.do(stage_item)
    wait_for(lambda: service.job.status == "successful", "the job is done")
    stack.set_catalog_faults([{"path": "/items/", "method": "GET", "status": 404}])
    errors = [work.error() for _ in range(3)]
    stack.set_catalog_faults([])
    work.do(stage_item)

    assert {(type(error), error.code) for error in errors} == {(Retryable, "catalog-mismatch")}
    assert work.record.state is ItemState.STAGED
    assert len(service.executions) == 1


def test_a_success_that_nothing_came_of_is_asked_for_again_by_the_next_run_only(
    work: Delegated, context: Context, collection: str, service: Service
) -> None:
    service.work = service.pretend
    for _ in range(3):
        assert work.error().code == "catalog-mismatch"
    assert len(service.executions) == 1
    service.work = None
    later = Delegated(context, collection)
    later.stage()

    assert later.record.state is ItemState.STAGED
    assert len(service.executions) == 2


LIES: dict[str, tuple[dict[str, Any], str]] = {
    "other bytes": ({"altered": lambda content: content[::-1]}, "another MD5"),
    "fewer bytes": ({"altered": lambda content: content[:-1]}, "were announced"),
    "an href of the station": ({"href": lambda _: "https://station.example/x"}, "no s3:// href of this item"),
    "an href of another item": (
        {"href": lambda href: href.replace(PLAIN.item_id + "/", "another/")},
        "no s3:// href of this item",
    ),
    "an href that leads out": ({"href": lambda href: href.replace("/steps/", "/../")}, "no s3:// href of this item"),
}


@pytest.mark.parametrize("lie", LIES)
def test_what_is_not_as_the_station_offers_it_fails_the_item(work: Delegated, service: Service, lie: str) -> None:
    faults, said = LIES[lie]
    for name, value in faults.items():
        setattr(service, name, value)
    error = work.error()

    assert (type(error), error.code) == (ItemFailed, "job-mismatch")
    assert said in error.reason


def test_an_object_that_is_not_there_is_looked_for_again(work: Delegated, context: Context, service: Service) -> None:
    service.href = lambda href: href.replace("/steps/", "/nowhere/")
    error = work.error()
    assert (type(error), error.code) == (Retryable, "s3-mismatch")


@pytest.mark.parametrize(
    ("known", "accepted"), [("the same", True), ("f" * 32, False), ("1220" + "0" * 64, True), (None, True)]
)
def test_of_an_object_in_parts_the_catalog_s_md5_is_compared_where_it_states_one(
    context: Context, collection: str, known: str | None, accepted: bool
) -> None:
    content = b"x" * 9 * 2**20
    md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
    place = Location(context.settings.s3_bucket, f"steps/{collection}/in-parts")
    with context.store.open_writer(place) as writer:
        writer.write(content)
    offered = Asset.model_validate({"href": "h", "file:checksum": md5})
    shown = Asset.model_validate({"href": place.href, "file:checksum": md5 if known == "the same" else known})
    stored = context.store.head(place)
    assert stored is not None
    assert "-" in stored.etag
    if accepted:
        delegate._require_content(context, "k", offered, shown, place)
        return
    with pytest.raises(ItemFailed, match="job-mismatch"):
        delegate._require_content(context, "k", offered, shown, place)


def test_what_could_never_be_verified_is_not_begun(context: Context, collection: str, service: Service) -> None:
    work = Delegated(context, collection)
    item = work.record.stac_item()
    item.assets[PLAIN.name].checksum = "sha1"
    with pytest.raises(ItemFailed, match="bad-checksum"):
        delegate.delegate_item(context, work.run, work.record, item)
    with closing(changed(context, max_asset_bytes=1)) as strict, pytest.raises(ItemFailed, match="too-large"):
        stage_item(strict, work.run, work.record)

    assert service.executions == []


def test_a_service_of_another_user_than_the_owner_fails_the_item(work: Delegated, service: Service) -> None:
    service.user = "somebody"
    error = work.error()
    assert (type(error), error.code) == (ItemFailed, "other-owner")


def test_an_asset_that_the_job_was_not_asked_for_must_stand_as_well(
    context: Context, collection: str, service: Service
) -> None:
    """Of two runs that want an item, the second one may want more of it."""
    service.work = service.hang
    first, second = (Delegated(context, collection, samples.ORBIT_AND_ARCHIVE) for _ in range(2))
    item = first.record.stac_item()
    item.assets.popitem()
    with pytest.raises(Busy):
        delegate.delegate_item(context, first.run, first.record, item)
    service.stage(service.job)
    with pytest.raises(Retryable, match="catalog-mismatch"):
        second.do(stage_item)
    delegate.delegate_item(context, first.run, first.record, item)

    assert first.record.state is ItemState.STAGED


def test_a_job_is_remembered_longer_than_it_may_take(work: Delegated, context: Context, service: Service) -> None:
    service.work = service.hang
    before = time.time()
    with pytest.raises(Busy):
        work.do(stage_item)

    job = work.ledger.job(work.key)
    assert job is not None
    assert (job.id, job.assets) == (service.job.id, (PLAIN.name,))
    assert before <= job.begun <= time.time()
    assert work.ledger.redis.ttl(f"auxip:job:{work.key}") > context.settings.staging_job_timeout
