"""The oracle: compares what the station offered with what catalog, store, ledger, callers and queues have at last."""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from pydantic import ValidationError

from shared.archives.manifest import Manifest
from shared.archives.names import MANIFEST_SUFFIX
from shared.models import ItemRecord, ItemState, Run, RunState
from shared.stac.item import Asset, Item
from tests.faults.offer import File, Json, Offer

Kind = Literal["lost", "wrong", "hung"]

OWNER = "faults"
"""On whose behalf all runs are."""

_COMPARED = ("id", "collection", "properties", "assets")
_ARTIFACTS = ("report.json", "report.html", "auxiliary-files.json")


@dataclass(frozen=True)
class Finding:
    """What is not as it must be.

    Attributes:
        kind: `lost`, something is not there that must be; `wrong`, something is there that must not be, or says what
            is not so; `hung`, something has not ended.
        what: for a person.
        check: the name of the check that found it.
    """

    kind: Kind
    what: str
    check: str = field(default="", compare=False)


@dataclass
class ObservedRun:
    """What is known of one run in the end.

    Attributes:
        record: the ledger's.
        wanted: the ids of the items that it was asked for; None for all that are offered.
        answers: how many requests for it name the round's reply list.
        items: the ledger's.
        result: what stands under the task's id, as Celery spells it: `status` and `result`.
        first_closed: when it was closed, as it was seen first; a run that is closed again has another time.
        report: the ids of the items in its report; None where there is none.
        artifact: the ids of the items in its artifact; None where there is none.
    """

    id: str
    record: Run | None = None
    wanted: frozenset[str] | None = None
    answers: int = 0
    items: list[ItemRecord] = field(default_factory=list)
    result: Json | None = None
    first_closed: float | None = None
    report: list[str] | None = None
    artifact: list[str] | None = None

    @property
    def closed(self) -> bool:
        return self.record is not None and self.record.closed is not None

    @property
    def cancelled(self) -> bool:
        return self.record is not None and self.record.cancelled is not None

    def asked_for(self, offers: list[Offer]) -> list[Offer]:
        """Return those of the offers that the run is about."""
        return [offer for offer in offers if self.wanted is None or offer.item_id in self.wanted]


@dataclass(frozen=True)
class ItemLetter:
    """What a dead letter of an item says."""

    run_id: str
    item_id: str
    code: str


@dataclass
class Observed:
    """What is there in the end.

    Attributes:
        base: `s3://bucket/prefix` below which the items' objects are, ending in a slash.
        runs: each one that was asked for.
        objects: every object below `base`: its key there, and its content.
        catalog: every item of the collection, by id.
        uploads: keys of multipart uploads that are unfinished after the clean-up sweep.
        messages: how many are left, by queue or other place.
        malformed: the messages that were put on queues and that no worker can run.
        letters: the messages among the dead letters, whole.
        elsewhere: keys of objects that the round has written outside `base`, in any bucket of the store.
        known_elsewhere: those that are as they must be there.
        unfinished: keys of multipart uploads that were unfinished before the clean-up sweep.
        leftovers: keys below `base` that only the clean-up sweep has removed.
        claims: work that somebody still has a claim on; the claims are renewed, or have not lapsed yet.
        lapsed: work whose claim nobody has ended.
        outages: systems that the ledger still knows as away.
        unasked: runs in the ledger that nobody has asked for.
        item_letters: the items among the dead letters.
        replayed: of those that there were, the ones that were replayed.
        refused: requests that the gate must refuse, with the code that their answer must have.
        request_letters: the requests among the dead letters, whole.
        answers: everything on the round's reply list.
        results: what the callers of tasks that are no run got: the task's id, what it must be, what it is.
        dangling: what the catalog showed at some time of the round while the store did not have it.
        history: of each item the keys of its assets in every version that was written to the catalog, in their order.
        may_leave: what the faults of the round may leave: `claims` until they lapse, `uploads` and `archives` until a
            sweep removes them, `stale` items in the catalog until a worker that stood still learns of it, the
            property `published` as a staging service has set it, and `forgotten` letters and answers: the broker has
            lost what it had said it keeps.
        may_fail: codes that items may fail with because of the faults of the round, as the README says.
        may_refuse: codes that callers of tasks that are no run may be answered with because of them.
    """

    base: str
    runs: list[ObservedRun]
    objects: dict[str, bytes]
    catalog: dict[str, Item]
    uploads: list[str] = field(default_factory=list)
    messages: dict[str, int] = field(default_factory=dict)
    malformed: list[bytes] = field(default_factory=list)
    letters: list[bytes] = field(default_factory=list)
    elsewhere: set[str] = field(default_factory=set)
    known_elsewhere: set[str] = field(default_factory=set)
    unfinished: list[str] = field(default_factory=list)
    leftovers: set[str] = field(default_factory=set)
    claims: list[str] = field(default_factory=list)
    lapsed: list[str] = field(default_factory=list)
    outages: list[str] = field(default_factory=list)
    unasked: list[str] = field(default_factory=list)
    item_letters: list[ItemLetter] = field(default_factory=list)
    replayed: list[ItemLetter] = field(default_factory=list)
    refused: dict[bytes, str] = field(default_factory=dict)
    request_letters: list[bytes] = field(default_factory=list)
    answers: list[Json] = field(default_factory=list)
    results: list[tuple[str, object, object]] = field(default_factory=list)
    dangling: list[str] = field(default_factory=list)
    history: dict[str, list[set[str]]] = field(default_factory=dict)
    may_leave: frozenset[str] = frozenset()
    may_fail: frozenset[str] = frozenset()
    may_refuse: frozenset[str] = frozenset()


def judge(offers: list[Offer], seen: Observed) -> list[Finding]:
    """Return all that is not as it must be, each finding with the name of its check."""
    return [replace(finding, check=check.__name__.strip("_")) for check in _CHECKS for finding in check(offers, seen)]


def _runs(offers: list[Offer], seen: Observed) -> Iterator[Finding]:
    for run in seen.runs:
        yield from _run(run.asked_for(offers), run, seen)
    for run_id in seen.unasked:
        yield Finding("wrong", f"the ledger has run {run_id}, which nobody asked for")


def _run(offers: list[Offer], run: ObservedRun, seen: Observed) -> Iterator[Finding]:
    if run.record is None:
        yield Finding("lost", f"the ledger has no run {run.id}")
        return
    if not run.closed:
        ended = sum(item.finished is not None for item in run.items)
        yield Finding("hung", f"run {run.id} is {run.record.state}, {ended} of {len(run.items)} items are finished")
        return
    if run.first_closed not in (None, run.record.closed):
        yield Finding("wrong", f"run {run.id} was closed twice")
    yield from _items(offers, run, seen)
    yield from _counts(run)


def _items(offers: list[Offer], run: ObservedRun, seen: Observed) -> Iterator[Finding]:
    records = {item.item_id: item for item in run.items}
    for offer in offers:
        record = records.pop(offer.item_id, None)
        if record is None and run.cancelled:
            continue
        if record is None or record.finished is None:
            state = "not in the ledger" if record is None else f"{record.state} and not finished"
            yield Finding("lost", f"{offer.item_id} is {state}, and run {run.id} is closed")
        elif _is_excused(run, record, seen):
            continue
        elif offer.code:
            if record.state is not ItemState.FAILED or record.code != offer.code:
                yield Finding("wrong", f"{offer.item_id} must fail with {offer.code}, but is {_told(record)}")
        elif record.state not in (_goal(offer), ItemState.REPAIRED) and record.code != "already-staged":
            yield Finding("wrong", f"{offer.item_id} must be done, but is {_told(record)}")
    for item_id in records:
        yield Finding("wrong", f"run {run.id} has {item_id}, which nobody offered")


def _goal(offer: Offer) -> ItemState:
    return ItemState.EXPANDED if offer.expands else ItemState.CATALOGUED


def _told(record: ItemRecord) -> str:
    return f"{record.state} {record.code}: {record.reason}"


def _counts(run: ObservedRun) -> Iterator[Finding]:
    if run.record is None:
        return
    counts = run.record.counts
    states = [item.state for item in run.items if item.finished is not None]
    failed, skipped = states.count(ItemState.FAILED), states.count(ItemState.SKIPPED)
    repaired, expanded = states.count(ItemState.REPAIRED), states.count(ItemState.EXPANDED)
    staged = len(states) - failed - skipped - repaired
    truth = (len(run.items), staged, repaired, skipped, failed, expanded)
    told = (counts.items, counts.staged, counts.repaired, counts.skipped, counts.failed, counts.expanded)
    if truth != told:
        yield Finding(
            "wrong", f"run {run.id} counts {told} items, staged, repaired, skipped, failed, expanded; it has {truth}"
        )


def _results(offers: list[Offer], seen: Observed) -> Iterator[Finding]:
    for run in seen.runs:
        if run.closed:
            yield from _result(run.asked_for(offers), run, seen)
    for task_id, wanted, result in seen.results:
        if result is None:
            yield Finding("hung", f"task {task_id} has no result")
        elif result != wanted and not (isinstance(result, dict) and result.get("code") in seen.may_refuse):
            yield Finding("wrong", f"the caller of task {task_id} got {_short(result)}, not {_short(wanted)}")


def _result(offers: list[Offer], run: ObservedRun, seen: Observed) -> Iterator[Finding]:
    if run.result is None:
        yield Finding("hung", f"run {run.id} is closed, and its caller has no result")
        return
    value = run.result.get("result")
    if run.result.get("status") != "SUCCESS" or not isinstance(value, list):
        yield Finding("wrong", f"the caller of run {run.id} is told {_short(run.result)}")
        return
    wanted = [_successful(offers, run), _held(offers, run)]
    if [value[0], _ids(value[1])] != wanted:
        yield Finding("wrong", f"the result of run {run.id} is {value[0]} with {_ids(value[1])}, it must be {wanted}")
        return
    for feature in _features(value[1]) if all(other.closed for other in seen.runs) else []:
        item = seen.catalog.get(str(feature.get("id")))
        if item is not None and not run.cancelled and (names := _different(feature, item)):
            yield Finding("wrong", f"the result of run {run.id} has another {item.id} than the catalog: {names}")


def _successful(offers: list[Offer], run: ObservedRun) -> bool:
    return not run.cancelled and not _failed(offers, run)


def _failed(offers: list[Offer], run: ObservedRun) -> int:
    failed = {item.item_id for item in run.items if item.state is ItemState.FAILED}
    return sum(bool(offer.code) or offer.item_id in failed for offer in offers)


def _different(feature: Json, item: Item) -> list[str]:
    one, other = Item.model_validate(feature).to_json(), item.to_json()
    return [name for name in _COMPARED if one.get(name) != other.get(name)]


def _artifacts(offers: list[Offer], seen: Observed) -> Iterator[Finding]:
    for run in seen.runs:
        if run.record is not None and run.closed:
            yield from _artifacts_of(run.asked_for(offers), run, run.record)
    known = {f"runs/{run.id}/{name}" for run in seen.runs for name in _ARTIFACTS} | seen.known_elsewhere
    for key in sorted(seen.known_elsewhere - seen.elsewhere):
        yield Finding("lost", f"{key} is not there")
    for key in sorted(seen.elsewhere - known):
        yield Finding("wrong", f"{key} was written outside the prefix of the items, and nothing accounts for it")


def _artifacts_of(offers: list[Offer], run: ObservedRun, record: Run) -> Iterator[Finding]:
    failed = _failed(offers, run)
    state = RunState.SUCCESSFUL if not failed else RunState.PARTIAL if failed < len(offers) else RunState.FAILED
    state = RunState.CANCELLED if run.cancelled else state
    if record.state is not state:
        yield Finding("wrong", f"run {run.id} must be {state}, but is {record.state}")
    ids = [item.item_id for item in run.items] if run.cancelled else [offer.item_id for offer in offers]
    if run.report is None or sorted(run.report) != sorted(ids):
        yield Finding("lost", f"the report of run {run.id} does not tell of every item: {run.report}")
    if state is RunState.SUCCESSFUL and (run.artifact is None or sorted(run.artifact) != _held(offers, run)):
        yield Finding("lost", f"the artifact of run {run.id} has not every item: {run.artifact}")


def _objects(offers: list[Offer], seen: Observed) -> Iterator[Finding]:
    for offer in offers:
        for file in offer.files if offer.stands else ():
            if not _over(offer, seen):
                yield from _unfinished(offer, file, seen)
            elif offer.opens(file):
                yield from _expansion(offer, file, seen)
            else:
                yield from _compared({f"{offer.item_id}/{file.name}": file.content}, seen, "")
    yield from _orphans(offers, seen)
    if "archives" not in seen.may_leave:
        for key in sorted(seen.leftovers):
            yield Finding("wrong", f"{key} was left for the clean-up to remove")


def _unfinished(offer: Offer, file: File, seen: Observed) -> Iterator[Finding]:
    """What a run has put into the catalog must be there, also while there is more to do: whole, or as its members."""
    states = {item.state for run in seen.runs for item in run.items if item.item_id == offer.item_id}
    held = {f"{offer.item_id}/{file.stem}/{name}" for name in file.members}
    stands = f"{offer.item_id}/{file.name}" in seen.objects or (held and held <= seen.objects.keys())
    if ItemState.CATALOGUED in states and not stands:
        yield Finding("lost", f"{offer.item_id}/{file.name} is deleted before its content stands")


def _expansion(offer: Offer, file: File, seen: Observed) -> Iterator[Finding]:
    archive = f"{offer.item_id}/{file.name}"
    if archive in seen.objects:
        yield Finding("wrong", f"{archive} stands beside what it was expanded to")
    gone = "" if archive in seen.objects else ", and the archive that held it is deleted"
    members = {f"{offer.item_id}/{file.stem}/{name}": content for name, content in file.members.items()}
    yield from _compared(members, seen, gone)
    yield from _manifest(offer, file, seen)


def _compared(wanted: Mapping[str, bytes], seen: Observed, missing: str) -> Iterator[Finding]:
    for key, content in wanted.items():
        held = seen.objects.get(key)
        if held is None:
            yield Finding("lost", f"{key} is not there{missing}")
        elif held != content:
            yield Finding("wrong", f"{key} has other bytes than the station offers ({len(held)} of {len(content)})")


def _manifest(offer: Offer, file: File, seen: Observed) -> Iterator[Finding]:
    key = f"{offer.item_id}/{file.stem}.manifest.json"
    data = seen.objects.get(key)
    if data is None:
        yield Finding("lost", f"{key} is not there")
        return
    truth = {name: hashlib.sha256(content).hexdigest() for name, content in file.members.items()}
    try:
        manifest = Manifest.model_validate_json(data)
    except ValidationError:
        yield Finding("wrong", f"{key} is no manifest")
        return
    told = {member.path: member.sha256 for member in manifest.members}
    if manifest.state != "complete" or told != truth or manifest.prefix != f"{seen.base}{offer.item_id}/{file.stem}/":
        yield Finding("wrong", f"{key} tells of other members than the archive has, or is {manifest.state}")


def _orphans(offers: list[Offer], seen: Observed) -> Iterator[Finding]:
    known = {key for offer in offers if offer.stands for file in offer.files for key in _accounted(offer, file)}
    worked_on = tuple(f"{offer.item_id}/" for offer in offers if not _over(offer, seen))
    for key in seen.objects:
        if key not in known and not key.startswith(worked_on):
            yield Finding("wrong", f"{key} is an orphan: nothing that was offered accounts for it")


def _accounted(offer: Offer, file: File) -> Iterator[str]:
    yield f"{offer.item_id}/{file.name}"
    if offer.opens(file):
        yield f"{offer.item_id}/{file.stem}.manifest.json"
        yield from (f"{offer.item_id}/{file.stem}/{name}" for name in file.members)


def _catalog(offers: list[Offer], seen: Observed) -> Iterator[Finding]:
    unseen = dict(seen.catalog)
    for offer in offers:
        item = unseen.pop(offer.item_id, None)
        if not _over(offer, seen):
            continue
        if item is None:
            if offer.stands:
                yield Finding("lost", f"the catalog has no {offer.item_id}")
            continue
        wanted = _assets(offer, seen.base) if offer.stands else {}
        shown = {key: _described(asset) for key, asset in item.assets.items()}
        if shown != wanted:
            yield Finding("wrong", f"the catalog shows {offer.item_id} with {shown}, it must have {wanted}")
        yield from _hrefs(item, seen)
        yield from _described_as_offered(offer, item, seen)
    for item_id in unseen:
        yield Finding("wrong", f"the catalog has {item_id}, which nobody offered")
    if "stale" not in seen.may_leave:
        yield from (Finding("lost", f"while the round went on, {what}") for what in seen.dangling)
        yield from _history(offers, seen)


def _history(offers: list[Offer], seen: Observed) -> Iterator[Finding]:
    """Once the catalog shows what an archive was expanded to, no write shows the archive again."""
    for offer in offers:
        expanded: set[str] = set()
        for keys in seen.history.get(offer.item_id, ()):
            back = {file.name for file in offer.files if file.stem in expanded and file.name in keys}
            if back:
                yield Finding("wrong", f"the catalog's item {offer.item_id} was set back to {sorted(back)}")
            expanded |= {file.stem for file in offer.files if offer.opens(file) and file.stem in keys}


def _described_as_offered(offer: Offer, item: Item, seen: Observed) -> Iterator[Finding]:
    wanted = {**offer.properties, "owner": OWNER}
    for name in sorted(wanted.keys() | item.properties.keys()):
        shown, stated = item.properties.get(name), wanted.get(name)
        if shown != stated and name not in seen.may_leave:
            yield Finding("wrong", f"the catalog shows {item.id} with {name} {shown!r}, it must have {stated!r}")


def _hrefs(item: Item, seen: Observed) -> Iterator[Finding]:
    for asset in item.assets.values():
        key = asset.href.removeprefix(seen.base)
        there = any(name.startswith(key) for name in seen.objects) if key.endswith("/") else key in seen.objects
        if not there:
            yield Finding("lost", f"the catalog shows {asset.href}, and the store has nothing there")


def _assets(offer: Offer, base: str) -> dict[str, tuple[str, int | None, str]]:
    """What the catalog must show of each asset: href, size and the end of its checksum."""
    shown: dict[str, tuple[str, int | None, str]] = {}
    for file in offer.files:
        if offer.opens(file):
            size = sum(map(len, file.members.values()))
            shown[file.stem] = (f"{base}{offer.item_id}/{file.stem}/", size, "")
            manifest = f"{file.stem}{MANIFEST_SUFFIX}"
            shown[manifest] = (f"{base}{offer.item_id}/{manifest}", None, "")
        else:
            shown[file.name] = (f"{base}{offer.item_id}/{file.name}", len(file.content), file.md5)
    return shown


def _described(asset: Asset) -> tuple[str, int | None, str]:
    return asset.href, asset.size, (asset.checksum or "")[-32:]


def _letters(offers: list[Offer], seen: Observed) -> Iterator[Finding]:
    """Each malformed message must be a dead letter, also twice where it was delivered twice, and no other message."""
    malformed, letters = (Counter(map(_undelivered, messages)) for messages in (seen.malformed, seen.letters))
    for message, count in (malformed - letters).items():
        yield Finding("lost", f"{count} times this message is not among the dead letters: {message[:200]!r}")
    for message in letters.keys() - malformed.keys():
        yield Finding("wrong", f"this message is among the dead letters: {message[:200]!r}")
    yield from _item_letters(seen)
    refused, kept = Counter(seen.refused), Counter(seen.request_letters)
    for request in dict.fromkeys(refused, 1) | kept:
        if kept[request] != (request in refused):
            kind: Kind = "wrong" if kept[request] else "lost"
            yield Finding(kind, f"this request is {kept[request]} times among the dead letters: {request[:200]!r}")


def _item_letters(seen: Observed) -> Iterator[Finding]:
    """Each item that failed has one letter, as its run records it; one that was replayed has none any more."""
    failed = Counter(
        ItemLetter(run.id, item.item_id, item.code)
        for run in seen.runs
        for item in run.items
        if item.state is ItemState.FAILED and item.finished is not None
    )
    wanted, letters = failed - Counter(seen.replayed), Counter(seen.item_letters)
    for letter in wanted - letters if "forgotten" not in seen.may_leave else ():
        yield Finding("lost", f"{letter.item_id} of run {letter.run_id} failed ({letter.code}) and has no dead letter")
    for letter in letters - wanted:
        if all(run.closed for run in seen.runs):
            told = f"{letter.item_id} of run {letter.run_id} ({letter.code})"
            yield Finding(
                "wrong", f"{told} is {letters[letter]} times among the dead letters, {wanted[letter]} are due"
            )


def _answers(offers: list[Offer], seen: Observed) -> Iterator[Finding]:
    """Each request that names a reply list is answered, and as its caller would be told in Python."""
    wanted = {run.id: _answer_of(run) for run in seen.runs if run.answers and run.closed}
    dues = {run.id: run.answers for run in seen.runs if run.answers and run.closed}
    for request, code in seen.refused.items():
        if (request_id := _id_of(request)) is not None:
            wanted[request_id], dues[request_id] = code, 1
    counts = Counter(str(answer.get("id")) for answer in seen.answers)
    for request_id in sorted(dues.keys() | counts.keys()):
        count, due = counts[request_id], dues.get(request_id, 0)
        if count < due and "forgotten" in seen.may_leave:
            continue
        if count != due and (request_id in dues or all(run.closed for run in seen.runs)):
            kind: Kind = "lost" if count < due else "wrong"
            yield Finding(kind, f"request {request_id} is answered {count} times, {due} are due")
    for answer in seen.answers:
        told = wanted.get(str(answer.get("id")))
        if told is not None and _told_in(answer) != told:
            yield Finding("wrong", f"the answer to request {answer.get('id')} is {_short(answer)}, not {_short(told)}")


def _answer_of(run: ObservedRun) -> object:
    return run.result.get("result") if run.result is not None else None


def _told_in(answer: Json) -> object:
    """The result that an answer has, or the code of its error."""
    error = answer.get("error")
    return error.get("code") if isinstance(error, dict) else answer.get("result")


def _id_of(request: bytes) -> str | None:
    """The id of a request that names a reply list; None of any other."""
    try:
        fields = json.loads(request)
        return str(fields["id"]) if "reply" in fields else None
    except (ValueError, LookupError, TypeError):
        return None


def _left(offers: list[Offer], seen: Observed) -> Iterator[Finding]:
    """What must not be left once all is quiet."""
    yield from (
        Finding("hung", f"{count} messages are left in {name}") for name, count in seen.messages.items() if count
    )
    yield from (Finding("hung", f"somebody still has the claim on {work}") for work in seen.claims)
    yield from (Finding("hung", f"the ledger has the {system} as away, and it is there") for system in seen.outages)
    yield from (Finding("wrong", f"the upload of {key} is unfinished after the clean-up") for key in seen.uploads)
    if "claims" not in seen.may_leave:
        yield from (Finding("wrong", f"the claim on {work} was never ended") for work in seen.lapsed)
    if "uploads" not in seen.may_leave:
        yield from (Finding("wrong", f"the upload of {key} was left for the clean-up") for key in seen.unfinished)


def _undelivered(text: bytes) -> bytes:
    """A message without the marks of one that is delivered again, so that it is the same before and after."""
    try:
        message = json.loads(text)
        message["headers"].pop("redelivered", None)
        message["properties"]["delivery_info"].pop("redelivered", None)
        return json.dumps(message, sort_keys=True).encode()
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return text


def _over(offer: Offer, seen: Observed) -> bool:
    """Whether all that wanted an item are through with it, and one of them had to do it; what is not is not judged."""
    wanting = [run for run in seen.runs if run.wanted is None or offer.item_id in run.wanted]
    records = [_record(run, offer) for run in wanting]
    if any(not run.closed for run in seen.runs):
        return all(record is not None and record.finished is not None for record in records)
    return not wanting or not all(map(_is_excused, wanting, records, [seen] * len(wanting)))


def _is_excused(run: ObservedRun, record: ItemRecord | None, seen: Observed) -> bool:
    """Whether a run may leave an item undone."""
    if record is None:
        return run.cancelled
    return record.code in seen.may_fail or (run.cancelled and record.code == "cancelled")


def _record(run: ObservedRun, offer: Offer) -> ItemRecord | None:
    return next((item for item in run.items if item.item_id == offer.item_id), None)


def _held(offers: list[Offer], run: ObservedRun) -> list[str]:
    """The ids of the items that a run leaves in the catalog: by its own records where it was cancelled."""
    return sorted(offer.item_id for offer in offers if offer.stands and _holds(run, offer))


def _holds(run: ObservedRun, offer: Offer) -> bool:
    record = _record(run, offer)
    if record is None or not (run.cancelled or (record.state is ItemState.FAILED and not offer.code)):
        return not run.cancelled
    return record.intact or record.catalogued is not None


def _ids(collection: object) -> list[str]:
    return sorted(str(feature.get("id")) for feature in _features(collection))


def _features(collection: object) -> list[Json]:
    return collection.get("features", []) if isinstance(collection, dict) else []


def _short(value: object) -> str:
    return str(value)[:300]


def ids_of(document: bytes | None, name: str = "") -> list[str] | None:
    """Return the ids of the items in a JSON list, or in the list `name` of a JSON object; None where there is none."""
    if document is None:
        return None
    listed = json.loads(document)
    return [str(item["id"]) for item in (listed[name] if name else listed)]


_CHECKS: tuple[Callable[[list[Offer], Observed], Iterator[Finding]], ...] = (
    _runs,
    _results,
    _artifacts,
    _objects,
    _catalog,
    _letters,
    _answers,
    _left,
)
