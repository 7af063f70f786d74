"""A public bucket of orbit files as a station: the same items whatever is listed, and nothing hostile believed."""

from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.errors import Rejected, Retryable
from shared.http.probes import Fault
from shared.json_types import Json
from shared.selection import OrbitSelection
from shared.stac.item import Found, Item
from shared.stac.matching import compiled
from shared.stac.search import Cql2, SortKey
from shared.stations.config import S3ListConfig
from shared.stations.eof import EofName
from shared.stations.s3_list import S3ListStation
from tests.stations.bucket import Bucket, fill, listing, orbit_key, serving_bucket
from tests.stations.serving import Reply, Service
from tests.unit.making import answered_by, settings_of

RECORDED = Path(__file__).parents[1] / "data" / "stations" / "s1_orbits_listbucket_v1_excerpt.xml"
POEORB, RESORB = "OPER_AUX_POEORB_OPOD", "OPER_AUX_RESORB_OPOD"
MARCH = datetime(2025, 3, 1, tzinfo=UTC)
SCENE = "S1A_IW_SLC__1SDV_20250310T170000_20250310T170027_058244_0732B5_1A2B"


@pytest.fixture
def bucket() -> Bucket:
    return Bucket()


@pytest.fixture
def service(bucket: Bucket) -> Iterator[Service]:
    with serving_bucket(bucket) as service:
        yield service


Make = Callable[..., S3ListStation]


@pytest.fixture
def station(service: Service) -> Iterator[Make]:
    made: list[S3ListStation] = []

    def make(**changes: object) -> S3ListStation:
        config = S3ListConfig.model_validate({"kind": "s3-list", "url": service.url, **changes})
        made.append(S3ListStation("orbits", config, settings_of(backoff_base=0.01, backoff_max=0.05)))
        return made[-1]

    yield make
    for each in made:
        each.close()


def equals(name: str, value: object) -> Json:
    return {"op": "=", "args": [{"property": name}, value]}  # type: ignore[list-item]


def both(*conditions: Json) -> Json:
    return {"op": "and", "args": [*conditions]}


def valid_at(begin: str, end: str = "..") -> Json:
    bounds: Json = {"interval": [{"property": "start_datetime"}, {"property": "end_datetime"}]}
    return {"op": "t_intersects", "args": [bounds, {"interval": [begin, end]}]}


def ids(found: Iterator[Found]) -> list[str]:
    return [one.item_id for one in found]


# What a key says


def test_a_recorded_list_becomes_items_that_say_what_is_known(bucket: Bucket, station: Make) -> None:
    bucket.listing = [Reply(RECORDED.read_bytes().replace(b"<IsTruncated>true", b"<IsTruncated>false"))]
    found = list(station().search(Cql2(filter=equals("product:type", RESORB))))

    assert len(found) == 3
    item = found[2].item
    assert item is not None
    name = "S1A_OPER_AUX_RESORB_OPOD_20241226T073457_V20241226T033641_20241226T065411"
    assert item.id == name
    assert item.properties == {
        "datetime": "2024-12-26T03:36:41Z",
        "start_datetime": "2024-12-26T03:36:41Z",
        "end_datetime": "2024-12-26T06:54:11Z",
        "created": "2024-12-26T07:34:57Z",
        "published": "2024-12-26T07:34:57Z",
        "processing:datetime": "2024-12-26T07:34:57Z",
        "product:type": RESORB,
        "platform": "sentinel-1a",
        "constellation": "sentinel-1",
    }
    asset = item.assets[f"{name}.EOF"]
    assert asset.href == f"{station().api.url}/AUX_RESORB/{name}.EOF"
    assert (asset.size, asset.checksum) == (590312, "d50110152683493abfe1cefaf01041cd670f13")


def test_the_etag_of_an_upload_in_parts_is_no_checksum(bucket: Bucket, station: Make) -> None:
    fill(bucket, MARCH, 1, ("S1A",))
    (poeorb,) = [key for key in bucket.objects if "POEORB" in key]
    bucket.etags[poeorb] = "96afa55e4f572f08c634d55a7791a691-2"
    (found,) = station().search(Cql2(filter=equals("product:type", POEORB)))
    assert found.item is not None
    (asset,) = found.item.assets.values()
    assert (asset.size, asset.checksum) == (5, None)


def test_keys_that_are_no_orbit_files_are_not_offered_and_are_named(
    bucket: Bucket, station: Make, caplog: pytest.LogCaptureFixture
) -> None:
    good = bucket.add(orbit_key("POEORB", "S1A", MARCH, MARCH, MARCH))
    bucket.add("AUX_POEORB/")
    bucket.add(good.replace("20250301", "20251301"))
    bucket.add(good.replace(".EOF", "\u001b.EOF"))
    bucket.listing = [listing("".join(map(bucket._contents, sorted(bucket.objects))).replace("\u001b", "&#10;"))]
    assert ids(station().search(Cql2(filter=equals("product:type", POEORB)))) == [EofName.of(good[11:]).item_id]  # type: ignore[union-attr]
    assert "2 keys that are no EOF files" in caplog.text
    assert len(caplog.messages) == len(caplog.text.splitlines()) == 1


def test_a_size_that_is_none_fails_its_own_item_alone(bucket: Bucket, station: Make) -> None:
    fill(bucket, MARCH, 2, ("S1A",))
    wrong, _ = sorted(key for key in bucket.objects if "POEORB" in key)
    bucket.sizes[wrong] = "-1"
    codes = [one.code for one in station().search(Cql2(filter=equals("product:type", POEORB)))]
    assert codes == ["bad-item", ""]


# What is listed


def test_no_credentials_are_sent(bucket: Bucket, service: Service, station: Make) -> None:
    fill(bucket, MARCH, 1)
    list(station().search(Cql2(filter=equals("product:type", POEORB))))
    assert not {"authorization", "x-api-key", "cookie"} & set().union(*service.headers)


def test_every_page_is_read(bucket: Bucket, service: Service, station: Make) -> None:
    fill(bucket, MARCH, 10)
    found = ids(station(page_size=7).search(Cql2(filter=equals("product:type", RESORB))))
    assert len(set(found)) == len(found) == 60
    assert sum("continuation-token" in query for _, query in service.asked) == 8


def test_a_selection_by_type_platform_and_validity_lists_from_the_first_day_that_can_matter(
    bucket: Bucket, service: Service, station: Make
) -> None:
    fill(bucket, MARCH, 60)
    wanted = both(
        equals("product:type", POEORB),
        equals("platform", "sentinel-1b"),
        valid_at("2025-04-20T00:00:00Z", "2025-04-20T01:00:00Z"),
    )
    assert len(ids(station().search(Cql2(filter=wanted)))) == 2
    ((_, query),) = service.asked
    assert query["prefix"] == "AUX_POEORB/S1B_OPER_AUX_POEORB_OPOD_"
    assert query["start-after"] == "AUX_POEORB/S1B_OPER_AUX_POEORB_OPOD_20250419T000000"


def test_what_was_generated_at_another_time_is_jumped_over_for_each_satellite(
    bucket: Bucket, service: Service, station: Make
) -> None:
    fill(bucket, MARCH, 100, ("S1A", "S1B", "S1C"))
    day = both(
        equals("product:type", RESORB),
        {"op": ">=", "args": [{"property": "created"}, {"timestamp": "2025-05-20T00:00:00Z"}]},
        {"op": "<", "args": [{"property": "created"}, {"timestamp": "2025-05-21T00:00:00Z"}]},
    )
    assert len(ids(station(page_size=10).search(Cql2(filter=day)))) == 9
    assert len(service.asked) < 12  # of 90 pages


def test_a_precise_orbit_that_was_generated_anew_years_later_is_found(bucket: Bucket, station: Make) -> None:
    anew = "S1A_OPER_AUX_POEORB_OPOD_20210315T155112_V20191230T225942_20200101T005942"
    bucket.add(f"AUX_POEORB/{anew}.EOF")
    bucket.add("AUX_POEORB/S1A_OPER_AUX_POEORB_OPOD_20200119T155112_V20191229T225942_20191231T005942.EOF")
    scene = "S1A_IW_SLC__1SDV_20200101T000000_20200101T000000_030600_038166_ABCD"
    chosen = OrbitSelection(scene=scene).choose(lambda search: station().search(search))
    assert ids(chosen) == [anew]


def test_the_orbit_of_a_scene_is_the_precise_one_then_the_restituted_one(bucket: Bucket, station: Make) -> None:
    fill(bucket, MARCH, 12)
    bucket.add(orbit_key("RESORB", "S1A", MARCH.replace(day=11), MARCH.replace(day=10), MARCH.replace(day=11)))
    selection = OrbitSelection(scene=SCENE)
    (precise,) = ids(selection.choose(station().search))
    assert precise == "S1A_OPER_AUX_POEORB_OPOD_20250330T120000_V20250309T225942_20250311T005942"

    bucket.objects = {key: content for key, content in bucket.objects.items() if "POEORB" not in key}
    (restituted,) = ids(selection.choose(station().search))
    assert restituted == "S1A_OPER_AUX_RESORB_OPOD_20250311T000000_V20250310T000000_20250311T000000"

    bucket.objects.clear()
    assert ids(selection.choose(station().search)) == []


def test_the_limit_and_the_order_of_a_search_hold(bucket: Bucket, station: Make) -> None:
    fill(bucket, MARCH, 5, ("S1A", "S1B"))
    newest = (SortKey(field="created", direction="desc"),)
    wanted = equals("product:type", POEORB)
    every = ids(station().search(Cql2(filter=wanted, sortby=newest)))
    two = ids(station().search(Cql2(filter=wanted, sortby=newest, limit=2)))
    assert len(every) == 10
    assert {name[25:33] for name in two} == {"20250325"}
    assert ids(station().search(Cql2(filter=wanted, limit=3))) == sorted(every)[:3]


_PLACES = ("start_datetime", "end_datetime", "created", "published", "processing:datetime")
_INSTANTS = st.datetimes(datetime(2025, 2, 20), datetime(2025, 4, 30)).map(lambda at: f"{at:%Y-%m-%dT%H:%M:%SZ}")  # noqa: DTZ001
_LEAVES = st.one_of(
    st.sampled_from([POEORB, RESORB, "AUX_POEORB", "x"]).map(lambda kind: equals("product:type", kind)),
    st.sampled_from(["sentinel-1a", "sentinel-1b", "sentinel-1", "x"]).map(lambda name: equals("platform", name)),
    st.tuples(st.sampled_from(["=", "<", "<=", ">", ">="]), st.sampled_from(_PLACES), _INSTANTS).map(
        lambda parts: {"op": parts[0], "args": [{"property": parts[1]}, {"timestamp": parts[2]}]}
    ),
    st.tuples(st.sampled_from(_PLACES), _INSTANTS, _INSTANTS).map(
        lambda parts: {
            "op": "between",
            "args": [{"property": parts[0]}, {"timestamp": parts[1]}, {"timestamp": parts[2]}],
        }
    ),
    _INSTANTS.map(valid_at),
    st.lists(st.sampled_from([POEORB, RESORB]), min_size=1, max_size=2).map(
        lambda kinds: {"op": "in", "args": [{"property": "product:type"}, kinds]}
    ),
)
_FILTERS = st.recursive(
    _LEAVES,
    lambda inner: st.one_of(
        st.tuples(st.sampled_from(["and", "or"]), st.lists(inner, min_size=2, max_size=3)).map(
            lambda parts: {"op": parts[0], "args": parts[1]}
        ),
        inner.map(lambda part: {"op": "not", "args": [part]}),
    ),
    max_leaves=5,
)


def test_what_is_listed_is_never_narrower_than_the_filter() -> None:
    bucket = Bucket()
    fill(bucket, MARCH, 8)
    bucket.add(orbit_key("POEORB", "S1A", datetime(2025, 9, 1, tzinfo=UTC), MARCH, MARCH.replace(day=2)))
    config = S3ListConfig.model_validate({"kind": "s3-list", "url": "http://bucket.example"})
    with closing(S3ListStation("orbits", config, settings_of())) as station:
        answered_by(station.api, lambda request: as_httpx(bucket("/", dict(request.url.params))))
        files = [EofName.of(key.rpartition("/")[2]) for key in bucket.objects]
        items = {file.item_id: Item.model_validate(file.feature({"href": "http://h/x"})) for file in files if file}

        @settings(max_examples=30)
        @given(_FILTERS, st.sampled_from([13, 1000]))
        def judge(expression: Json, page_size: int) -> None:
            station._page_size = page_size
            matches = compiled(expression)
            expected = [one for one, item in items.items() if matches(item)]
            found = ids(station.search(Cql2.model_construct(filter=expression, limit=None, sortby=())))
            assert sorted(found) == sorted(expected)

        judge()


def as_httpx(reply: Reply) -> httpx.Response:
    return httpx.Response(reply.status, headers=dict(reply.headers), content=reply.body)


# Hostile lists

BOMB = (
    b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;">]>'
    b"<ListBucketResult><IsTruncated>false</IsTruncated><Contents><Key>&b;</Key></Contents></ListBucketResult>"
)
OUTSIDE = BOMB.replace(b'<!ENTITY b "&a;&a;&a;&a;">', b'<!ENTITY b SYSTEM "file:///etc/passwd">')
DEEP = b"<ListBucketResult>" + b"<a>" * 5000 + b"</a>" * 5000 + b"</ListBucketResult>"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (BOMB, "declares a document type"),
        (OUTSIDE, "declares a document type"),
        (DEEP, "more than 100 levels"),
        (b"<ListBucketResult>" + b"<a/>" * 200_001 + b"</ListBucketResult>", "200000 elements"),
        (b"<ListBucketResult><Contents>", "not well-formed"),
        (b"<html><body>Log in</body></html>", "its root is 'html'"),
        (b"", "not well-formed"),
        (b"<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>", "no NextContinuationToken"),
    ],
)
def test_what_is_no_list_of_a_bucket_is_an_error_and_not_an_empty_answer(
    bucket: Bucket, station: Make, body: bytes, said: str
) -> None:
    bucket.listing = [Reply(body)]
    with pytest.raises(Retryable, match=said) as failed:
        list(station().search(Cql2(filter=equals("product:type", POEORB))))
    assert failed.value.code == "station-bad-answer"


def test_a_list_that_is_not_in_order_is_an_error_since_something_might_be_missed(bucket: Bucket, station: Make) -> None:
    fill(bucket, MARCH, 3, ("S1A",))
    keys = sorted(key for key in bucket.objects if "POEORB" in key)
    bucket.listing = [listing("".join(bucket._contents(key) for key in reversed(keys)))]
    with pytest.raises(Retryable, match="out of order"):
        list(station().search(Cql2(filter=equals("product:type", POEORB))))


def test_pages_that_lead_in_a_circle_end(bucket: Bucket, station: Make) -> None:
    page = listing("<IsTruncated>true</IsTruncated><NextContinuationToken>again</NextContinuationToken>")
    bucket.listing = [page] * 5
    with pytest.raises(Retryable, match="lead in a circle"):
        list(station().search(Cql2(filter=equals("product:type", POEORB))))


def test_a_list_larger_than_the_limit_is_not_read_to_its_end(bucket: Bucket, service: Service) -> None:
    bucket.listing = [listing("<x>" + "a" * 100_000 + "</x>")]
    config = S3ListConfig.model_validate({"kind": "s3-list", "url": service.url})
    station = S3ListStation("orbits", config, settings_of(max_answer_bytes=10_000))
    with pytest.raises(Retryable, match="more than 10000 bytes"):
        list(station.search(Cql2(filter=equals("product:type", POEORB))))
    station.close()


def test_a_redirect_to_another_host_is_not_followed(bucket: Bucket, station: Make) -> None:
    bucket.listing = [Reply(b"", 307, {"Location": "http://169.254.169.254/"})]
    with pytest.raises(Rejected, match="station-foreign-link"):
        list(station().search(Cql2(filter=equals("product:type", POEORB))))


# Faults


def test_a_page_in_the_middle_that_fails_is_asked_for_again(bucket: Bucket, service: Service, station: Make) -> None:
    fill(bucket, MARCH, 10, ("S1A",))
    search = station(page_size=4).search(Cql2(filter=equals("product:type", POEORB)))
    found = [next(search)]
    bucket.listing = [Reply(b"slow down", 503), Reply(b"", 500)]
    found += search
    assert len({one.item_id for one in found}) == 10


def test_an_absent_bucket_is_told(bucket: Bucket, station: Make) -> None:
    bucket.listing = [Reply(b"<Error><Code>NoSuchBucket</Code></Error>", 404)]
    with pytest.raises(Rejected, match="station-not-found"):
        list(station().search(Cql2(filter=equals("product:type", POEORB))))


@pytest.mark.parametrize(
    ("reply", "suspected", "found"),
    [
        (None, Fault.BAD_ANSWER, None),
        (None, Fault.UNAVAILABLE, None),
        (Reply(b"<html/>"), Fault.BAD_ANSWER, Fault.BAD_ANSWER),
        (Reply(b"<html/>"), Fault.UNAVAILABLE, None),
        (Reply(b"", 503), Fault.BAD_ANSWER, Fault.UNAVAILABLE),
        (Reply(b"", 403), Fault.REFUSED, Fault.REFUSED),
        (Reply(b"", 429), Fault.UNAVAILABLE, None),
    ],
)
def test_a_probe_asks_for_a_list(
    bucket: Bucket, station: Make, reply: Reply | None, suspected: Fault, found: Fault | None
) -> None:
    bucket.listing = [] if reply is None else [reply] * 2
    finding = station().probe(suspected)
    assert (finding.fault if finding else None) is found
