"""Pages of runs that never were: one of a usual run, and one all of whose texts want to be something else."""

from shared.answer import Selected, Timeliness
from shared.json_types import Json
from shared.models import Counts, ItemRecord, ItemState, Lane, Notice, Run, RunRequest, RunState, Wait
from shared.page import Gathered, page_of
from shared.report import answer_of_run
from shared.selection import PolicySelection

COLLECTION = "https://catalog.example/stac/collections/s1-aux"
_BEGUN = 1711357200.0
_TEXTS = (
    '<script>alert("1")</script>',
    "\u202egpj.exe\u2066",
    "\x1b[2J\x00",
    "'\"><img src=x onerror=alert(2)>",
    "javascript:alert(3)",
    "]]></style></title><svg onload=alert(4)>",
    "x" * 300,
)


def sample(count: int) -> str:
    """Return the page of a run of so many items, of which every fifteenth failed."""
    records = [_record(number) for number in range(count)]
    failed = sum(record.state is ItemState.FAILED for record in records)
    skipped = sum(record.state is ItemState.SKIPPED for record in records)
    expanded = sum(record.state is ItemState.EXPANDED for record in records)
    counts = Counts(
        items=count,
        staged=count - failed - skipped,
        expanded=expanded,
        skipped=skipped,
        failed=failed,
        bytes_downloaded=sum(record.downloaded for record in records),
    )
    end = max(record.finished or 0 for record in records) + 1
    run = Run(
        id="4f0c2a7e-58a4-4b7d-9d9d-5a4f4b0b8a52",
        request=_request(),
        state=RunState.PARTIAL,
        counts=counts,
        created=_BEGUN,
        searching=_BEGUN + 0.8,
        began=_BEGUN + 4,
        closed=end,
        artifact="s3://auxip/runs/4f0c2a7e-58a4-4b7d-9d9d-5a4f4b0b8a52/report.json",
        searches=(
            "curl --silent --show-error --request POST https://adgs.example/auxip/search --header "
            "'content-type: application/json' --header \"x-api-key: $ADGS_X_API_KEY\" --data "
            '\'{"filter-lang":"cql2-json","filter":{"op":"=","args":[{"property":"product:type"},"AUX_RESORB"]}}\'',
        ),
        waits=(
            Wait(
                system="station adgs",
                since=_BEGUN + (end - _BEGUN) * 0.4,
                until=_BEGUN + (end - _BEGUN) * 0.48,
                reason="GET https://adgs.example/auxip answered 503",
            ),
        ),
        selected=(
            Selected(product_type="AUX_RESORB", policy="ValCover", offered=count + 20, selected=count),
            Selected(product_type="AUX_RESORBB"),
        ),
        timeliness=Timeliness(items=count - failed, mean_seconds=5400, longest_seconds=9000.2),
    )
    features: list[Json] = [_feature(record.item_id) for record in records if record.catalogued is not None]
    return _page(run, records, features)


def hostile() -> str:
    """Return a page all of whose texts of others are markup, scripts, control characters, or very long."""
    whole = " ".join(_TEXTS)
    records = [
        ItemRecord(
            run_id="r",
            key=f"k-{number}",
            item_id=text + str(number),
            state=state,
            code="size-mismatch" if number % 2 else text,
            reason=whole,
            claimed=_BEGUN + 2,
            staged=_BEGUN + 3,
            catalogued=_BEGUN + 4,
            finished=_BEGUN + 5,
            attempts=3,
        )
        for number, (text, state) in enumerate((text, state) for text in _TEXTS for state in ItemState)
    ]
    features: list[Json] = []
    for number, record in enumerate(records):
        text = _TEXTS[number % len(_TEXTS)]
        asset: Json = {"href": text, "alternate": {"https": {"href": text}}}
        features.append({"id": record.item_id, "assets": {text: asset}})
    run = Run(
        id="run-1",
        request=_request().model_copy(update={"label": whole, "stations": _TEXTS, "asset_names": _TEXTS}),
        state=RunState.FAILED,
        code="bad-filter",
        reason=whole,
        counts=Counts(items=len(records), staged=10, failed=10),
        created=_BEGUN,
        searching=_BEGUN,
        began=_BEGUN + 1,
        closed=_BEGUN + 9,
        searches=_TEXTS,
        waits=tuple(Wait(system=text, since=_BEGUN + 1, until=_BEGUN + 2, reason=whole) for text in _TEXTS),
        notices=tuple(Notice(code=text, reason=text) for text in _TEXTS),
        selected=tuple(Selected(product_type=text, policy=text) for text in _TEXTS),
    )
    return _page(run, records, features)


def _page(run: Run, records: list[ItemRecord], features: list[Json]) -> str:
    gathered = Gathered(run, _BEGUN, COLLECTION)
    for record in records:
        gathered.add(record)
    gathered.show(features)
    return page_of(run, answer_of_run(run), gathered)


def _request() -> RunRequest:
    selection = PolicySelection.model_validate(
        {
            "policies": ["ValCover", "LatestValidity"],
            "product_types": ["AUX_RESORB", "AUX_RESORBB"],
            "platform": "sentinel-1a",
            "start": "2024-03-25T00:00:00Z",
            "end": "2024-03-26T00:00:00Z",
            "before": 3600,
        }
    )
    return RunRequest(
        owner="auxip",
        collection="s1-aux",
        label="sweep orbits",
        lane=Lane.BULK,
        selection=selection,
        stations=("adgs", "adgs-2"),
    )


def _record(number: int) -> ItemRecord:
    claimed = _BEGUN + 4.5 + number * 0.13 + (number * 7 % 11) * 0.2
    staged = claimed + 0.6 + (number * 5 % 13) * 0.22
    published = staged + 0.2 + (number * 3 % 7) * 0.1
    catalogued = published + 0.25
    item: dict[str, object] = {
        "run_id": "r",
        "key": f"k-{number}",
        "item_id": f"S1A_OPER_AUX_RESORB_OPOD_{number:04}",
        "station": "adgs",
        "size": 540_000 + number * 7919 % 90_000,
        "claimed": claimed,
    }
    match number % 15:
        case 3:
            ended = _failed(number, staged)
        case 7 | 12:
            ended = {"state": "skipped", "code": "already-staged", "intact": True, "finished": claimed + 0.1}
            ended["reason"] = "catalog and S3 have it as it should be"
        case 5 | 9 | 14:
            times = {"staged": staged, "publishing": published, "catalogued": catalogued, "expanding": catalogued + 0.5}
            ended = {"state": "expanded", **times, "expanded": catalogued + 2.4, "finished": catalogued + 2.4}
        case _:
            times = {"staged": staged, "publishing": published, "catalogued": catalogued}
            ended = {"state": "catalogued", **times, "finished": catalogued}
    downloaded = item["size"] if "staged" in ended else 0
    return ItemRecord.model_validate({**item, "downloaded": downloaded, **ended})


def _failed(number: int, when: float) -> dict[str, object]:
    code, reason = (
        ("station-unavailable", "GET https://adgs.example/Products(42)/$value: ReadTimeout (tried 5 times)"),
        ("checksum-mismatch", "asset X.EOF: the station's MD5 is 1a79a4d6, the downloaded file has 2b00042f"),
        ("archive-damaged", "X.EOF.zip: 2 of 14 members fail their CRC-32"),
    )[number // 15 % 3]
    return {"state": "failed", "code": code, "reason": reason, "attempts": 5, "finished": when}


def _feature(item_id: str) -> Json:
    key = f"{item_id}.EOF"
    href = f"auxip/auxip/s1-aux/{item_id}/{key}"
    asset: Json = {"href": f"s3://{href}", "alternate": {"https": {"href": f"https://data.example/{href}"}}}
    return {"id": item_id, "assets": {key: asset}}
