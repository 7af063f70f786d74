"""The page of a run: what it says, in which order, and that nothing of a station becomes markup or a script."""

import base64
import hashlib
import json
import random
import re
import zlib
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from typing import Any

import pytest

from shared.answer import Selected
from shared.json_types import Json
from shared.models import Counts, ItemRecord, ItemState, Lane, Notice, Run, RunState, Wait
from shared.page import Gathered, page_of
from shared.report import answer_of_run
from tests.unit.making import record_of, run_of

COLLECTION = "https://catalog.example/collections/aux"
END = 1711357260.0
COUNTS = Counts(items=3, staged=1, skipped=1, failed=1, bytes_downloaded=1_234_567)
RECORDS = [
    record_of("b-staged", ItemState.CATALOGUED, size=1_234_567, claimed=1711357210.0, finished=1711357213.5),
    record_of("a-skipped", ItemState.SKIPPED, code="already-staged", reason="as it should be"),
    record_of("z-failed", ItemState.FAILED, code="size-mismatch", reason="3 bytes", attempts=2),
]
HOSTILE = '<script>alert("1")</script>{{ 7 * 7 }}\u202egpj.exe\x1b[2J\x00\'"><img src=x onerror=alert(2)>'


def ended(**changes: object) -> Run:
    times = {"created": END - 60, "began": END - 50, "closed": END, "state": RunState.PARTIAL, "counts": COUNTS}
    return run_of(**{**times, **changes})


def page(records: Iterable[ItemRecord] = (), features: Iterable[Json] = (), collection: str = "", **run: Any) -> str:
    made = ended(**run)
    gathered = Gathered(made, END, collection)
    for record in records:
        gathered.add(record)
    gathered.show(features)
    return page_of(made, answer_of_run(made), gathered)


class Reader(HTMLParser):
    """What a browser makes of a page: its elements, its texts, its attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.texts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    @property
    def links(self) -> list[str]:
        return [value for name, value in self.attributes if name in ("href", "src")]


def rows(shown: str) -> list[str]:
    return re.findall(r"<tr data-state=.*?</tr>", shown)


def ids(shown: str) -> list[str]:
    return [re.sub("<.*?>", "", re.findall(r'class="id">(.*?)(?:<details|</th>)', row)[0]) for row in rows(shown)]


def unpacked(shown: str) -> list[list[object]]:
    match = re.search(r'id="packed">(.*?)</script>', shown)
    return [json.loads(line) for line in zlib.decompress(base64.b64decode(match[1])).splitlines()] if match else []


# What it says


def test_the_verdict_is_a_sentence_with_a_tone() -> None:
    shown = page(RECORDS)
    assert '<header class="verdict warn">' in shown
    assert "1 of 3 items failed. The other 2 are as they should be: 1 staged, 1 skipped." in shown


@pytest.mark.parametrize(
    ("run", "tone", "sentence"),
    [
        ({"state": RunState.SUCCESSFUL, "counts": Counts(items=2, staged=2)}, "good", "All 2 items are as they should"),
        ({"state": RunState.SUCCESSFUL, "counts": Counts(items=1, staged=1)}, "good", "The item is as it should be"),
        ({"state": RunState.SUCCESSFUL, "counts": Counts()}, "warn", "The search found nothing."),
        ({"state": RunState.FAILED, "counts": Counts(items=2, failed=2)}, "bad", "All 2 items failed."),
        ({"state": RunState.FAILED, "code": "c", "reason": "no aux"}, "bad", "The run failed as a whole: no aux"),
        (
            {"state": RunState.CANCELLED, "counts": Counts(items=2, staged=1, skipped=1)},
            "warn",
            "The run was cancelled",
        ),
        ({"state": RunState.WORKING, "closed": None, "counts": Counts(items=2)}, "calm", "The run goes on"),
    ],
)
def test_each_end_has_its_sentence_and_its_tone(run: dict[str, Any], tone: str, sentence: str) -> None:
    shown = page(**run)
    assert f'<header class="verdict {tone}">' in shown
    assert sentence in shown


def test_failed_items_are_the_first_rows() -> None:
    assert ids(page(RECORDS)) == ["z-failed", "b-staged", "a-skipped"]


def test_a_row_says_how_the_item_ended_and_why_in_units_for_people() -> None:
    failed, staged, _ = rows(page(RECORDS))
    assert "<code>size-mismatch</code> 3 bytes" in failed
    assert "2 tries failed" in failed
    assert "1.2 MB" in staged
    assert "3.5 s" in staged


def test_an_item_of_the_catalog_has_its_link_and_its_files() -> None:
    public = "https://data.example/X.EOF"
    assets: Json = {"X": {"href": "s3://bucket/X.EOF", "alternate": {"https": {"href": public}}}}
    shown = page(
        [record_of("X Y", ItemState.CATALOGUED, catalogued=END)], [{"id": "X Y", "assets": assets}], COLLECTION
    )
    assert f'<a href="{COLLECTION}/items/X%20Y">X Y</a>' in shown
    assert f'<a href="{public}">s3://bucket/X.EOF</a>' in shown
    assert "1 file</summary>" in shown


def test_a_file_without_a_url_for_people_is_a_text() -> None:
    assets: Json = {str(number): {"href": f"s3://bucket/{number}"} for number in range(5)}
    shown = page([record_of("X", ItemState.CATALOGUED, catalogued=END)], [{"id": "X", "assets": assets}], COLLECTION)
    assert "<li>s3://bucket/0</li>" in shown
    assert "<li>and 2 more</li>" in shown


def test_an_item_that_the_catalog_was_not_asked_about_is_on_the_page() -> None:
    record = record_of("X", ItemState.CATALOGUED, catalogued=END)
    assert ids(page([record], collection=COLLECTION)) == ["X"]
    assert ids(page([record])) == ["X"]


def test_it_says_what_was_asked() -> None:
    request = run_of().request.model_copy(update={"stations": ("one", "two"), "lane": Lane.BULK, "label": "sweep s"})
    texts = " ".join(Reader(page(request=request)).texts)
    assert "owner, into the collection aux" in texts
    assert "one, else two" in texts
    assert "sweep s; nobody waits for it (bulk)" in texts
    assert '"property": "product:type"' in texts


def test_a_product_type_of_which_nothing_is_offered_is_named() -> None:
    shown = page(selected=(Selected(product_type="MISSPELT"), Selected(product_type="A", offered=3, selected=1)))
    assert shown.count("nothing offered: check the spelling") == 1


def test_it_has_the_requests_of_the_search() -> None:
    assert "curl &#39;x&#39;" in page(searches=("curl 'x'",))
    assert "for a shell" not in page()


def test_it_has_the_notices_and_what_the_run_waited_for() -> None:
    wait = Wait(system="catalog", since=END - 30, until=END - 20, reason="it answered <503>")
    record = record_of("X", ItemState.CATALOGUED, claimed=END - 40, staged=END - 35, finished=END)
    shown = page([record], notices=(Notice(code="unknown-property", reason="by <a>"),), waits=[wait])
    assert "notice: unknown-property: by &lt;a&gt;" in shown
    assert "Waited for the catalog from 2024-03-25T09:00:30Z to 2024-03-25T09:00:40Z: it answered &lt;503&gt;" in shown
    assert 'class="is-away" x="48.0" y="0" width="16.0"' in shown


def test_it_warns_of_what_the_station_removes_soon() -> None:
    made = ended()
    gathered = Gathered(made, END, warn_until=END + 10)
    gathered.add(record_of("X", ItemState.FAILED, evicts=END + 5))
    assert "the station removes 1 of the items soon" in page_of(made, answer_of_run(made), gathered)


def test_it_has_the_versions() -> None:
    assert re.search(r"by auxip-workers \S+, Python 3\.\S+; form of the answer: version 1", page())


def test_it_is_named_for_the_run_its_label_and_its_end() -> None:
    labelled = run_of().request.model_copy(update={"label": "sweep orbits"})
    assert "<title>partial: sweep orbits run-1</title>" in page(request=labelled)
    assert "<title>partial: run run-1</title>" in page()


def test_the_page_of_a_run_without_items_is_a_page() -> None:
    assert rows(page(state=RunState.SUCCESSFUL, counts=Counts())) == []


# What others say


def test_what_others_say_is_a_text_and_nothing_else() -> None:
    request = run_of().request.model_copy(update={"label": HOSTILE, "stations": (HOSTILE,), "asset_names": (HOSTILE,)})
    hostile: dict[str, Any] = {
        "request": request,
        "waits": [Wait(system=HOSTILE, since=END - 9, until=END, reason=HOSTILE)],
        "notices": (Notice(code=HOSTILE, reason=HOSTILE),),
        "selected": (Selected(product_type=HOSTILE, policy=HOSTILE),),
        "searches": (HOSTILE,),
        "code": "x",
        "reason": HOSTILE,
    }
    records = [
        record_of(f"{HOSTILE}{state}", state, code=HOSTILE, reason=HOSTILE, claimed=END - 9, catalogued=END)
        for state in ItemState
    ]
    features: list[Json] = [
        {"id": record.item_id, "assets": {HOSTILE: {"href": HOSTILE, "alternate": {"https": {"href": HOSTILE}}}}}
        for record in records
    ]
    plain, read = Reader(page(RECORDS)), Reader(page(records, features, COLLECTION, **hostile))

    assert {*read.tags} <= {*plain.tags, "article", "h3", "h4", "strong", "pre", "figure", "figcaption", "path"} | {
        *("rect", "details", "summary", "br", "a", "li", "ul", "table", "caption", "thead", "tbody", "tr", "th", "td")
    }
    assert read.tags.count("script") == plain.tags.count("script") == 1
    assert not [name for name, _ in read.attributes if name.startswith("on")]
    assert all(link.startswith(("https://catalog.example/", "data:image/svg+xml,")) for link in read.links)
    assert "alert" in "".join(read.texts)
    assert "{{ 7 * 7 }}" in "".join(read.texts)


def test_no_control_character_and_no_override_of_the_direction_is_on_the_page() -> None:
    shown = page([record_of(HOSTILE, ItemState.FAILED, code="x", reason=HOSTILE)])
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]", shown)
    assert "\\u202egpj.exe\\x1b[2J\\x00" in shown


@pytest.mark.parametrize(
    "href", ["javascript:alert(1)", "data:text/html,x", "//evil.example/x", "file:///etc", "http://"]
)
def test_only_urls_of_the_web_are_links(href: str) -> None:
    features: list[Json] = [{"id": "X", "assets": {"a": {"href": href, "alternate": {"https": {"href": href}}}}}]
    records = [record_of("X", ItemState.CATALOGUED, catalogued=END)]
    assert href not in Reader(page(records, features, COLLECTION)).links
    assert href not in Reader(page(records, features, href)).links


def test_a_catalog_that_answers_nonsense_has_a_page() -> None:
    nonsense: list[Json] = [{"id": "X", "assets": {"a": 3, "b": {"href": 5, "alternate": []}}}, {"assets": []}, {}]
    assert ids(page([record_of("X", ItemState.CATALOGUED, catalogued=END)], nonsense, COLLECTION)) == ["X"]


# What the browser lets it do


def test_the_policy_lets_only_the_pages_own_style_and_script_in() -> None:
    shown = page(RECORDS)
    match = re.search(r'http-equiv="Content-Security-Policy" content="(.*?)"', shown)
    assert match is not None
    policy = match[1].replace("&#39;", "'")
    for tag, name in (("style", "style-src"), ("script", "script-src")):
        content = re.findall(rf"<{tag}>(.*?)</{tag}>", shown, re.DOTALL)
        assert len(content) == 1
        digest = base64.b64encode(hashlib.sha256(content[0].encode()).digest()).decode()
        assert f"{name} 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    assert not [name for name, _ in Reader(shown).attributes if name == "style"]


# Many items


def long_name(number: int, random_bits: random.Random) -> str:
    begun = datetime(2024, 3, 1, tzinfo=UTC) + timedelta(minutes=98 * number, seconds=random_bits.randrange(60))
    stamps = [begun + timedelta(seconds=random_bits.randrange(4000)) for _ in range(3)]
    return "S1A_OPER_AUX_RESORB_OPOD_{}_V{}_{}".format(*(f"{stamp:%Y%m%dT%H%M%S}" for stamp in stamps))


def many(count: int, random_bits: random.Random) -> tuple[list[ItemRecord], list[Json]]:
    records: list[ItemRecord] = []
    features: list[Json] = []
    for number in range(count):
        name = long_name(number, random_bits)
        claimed = END - 60 + random_bits.random() * 50
        times = {"claimed": claimed, "staged": claimed + 1, "catalogued": claimed + 2, "finished": claimed + 2}
        records.append(record_of(name, ItemState.CATALOGUED, size=random_bits.randrange(10**6), **times))
        url = f"https://data.example/bucket/aux/{name}/{name}.EOF.zip"
        asset: Json = {"href": f"s3://bucket/aux/{name}/{name}.EOF.zip", "alternate": {"https": {"href": url}}}
        features.append({"id": name, "assets": {f"{name}.EOF.zip": asset}})
    return records, features


@pytest.mark.long
def test_a_page_of_10000_items_has_all_of_them_in_less_than_a_megabyte() -> None:
    records, features = many(10_000, random.Random(1))  # noqa: S311 - names for a test
    records[7000] = record_of("z-failed", ItemState.FAILED, code="x", reason="y")
    counts = Counts(items=10_000, staged=9_999, failed=1)
    shown = page(records, features, COLLECTION, counts=counts)

    assert len(shown.encode()) < 1_000_000
    assert ids(shown)[0] == "z-failed"
    assert {*ids(shown), *(str(each[0]) for each in unpacked(shown))} == {record.item_id for record in records}
    assert f"The first {len(rows(shown))} of 10,000 items" in shown
    assert 200 <= len(rows(shown)) <= 300


def test_a_packed_item_has_what_a_row_has() -> None:
    records, features = many(400, random.Random(2))  # noqa: S311 - names for a test
    shown = page(records, features, COLLECTION)
    known = {record.item_id: record for record in records}
    for item_id, state, code, reason, size, seconds, attempts, in_catalog, files, file_count in unpacked(shown):
        record = known[str(item_id)]
        assert (state, code, reason, size, attempts) == ("catalogued", "", "", record.size, 0)
        assert (seconds, in_catalog, file_count) == (2.0, 1, 1)
        assert files == [
            [
                f"s3://bucket/aux/{item_id}/{item_id}.EOF.zip",
                f"https://data.example/bucket/aux/{item_id}/{item_id}.EOF.zip",
            ]
        ]


def test_many_items_whose_texts_are_long_and_alike_to_nothing_are_less_than_a_megabyte_and_the_others_are_counted() -> (
    None
):
    random_bits = random.Random(3)  # noqa: S311 - texts for a test
    records = [
        record_of(
            f"{random_bits.randbytes(150).hex()}", ItemState.FAILED, code="x", reason=random_bits.randbytes(400).hex()
        )
        for _ in range(10_000)
    ]
    shown = page(records, counts=Counts(items=10_000, failed=10_000))
    assert len(shown.encode()) < 1_000_000
    left_out = re.search(r'data-left-out="(\d+)"', shown)
    assert left_out is not None
    assert int(left_out[1]) == 10_000 - len(rows(shown)) - len(unpacked(shown)) > 0
    assert "of 10,000 items" in shown
