"""The oracle: compares what the station offered with what catalog, store, ledger, caller and queues have in the end."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from pydantic import ValidationError

from shared.archives.manifest import Manifest
from shared.models import ItemRecord, ItemState, Run, RunState
from shared.stac.item import Asset, Item
from tests.faults.offer import File, Json, Offer

Kind = Literal["lost", "wrong", "hung"]


@dataclass(frozen=True)
class Finding:
    """What is not as it must be.

    Attributes:
        kind: `lost`, something is not there that must be; `wrong`, something is there that must not be, or says what
            is not so; `hung`, something has not ended.
        what: for a person.
    """

    kind: Kind
    what: str


@dataclass
class ObservedRun:
    """What is known of one run in the end.

    Attributes:
        record: the ledger's.
        items: the ledger's.
        result: what stands under the task's id, as Celery spells it: `status` and `result`.
        first_closed: when it was closed, as it was seen first; a run that is closed again has another time.
        report: the ids of the items in its report; None where there is none.
        artifact: the ids of the items in its artifact; None where there is none.
    """

    id: str
    record: Run | None = None
    items: list[ItemRecord] = field(default_factory=list)
    result: Json | None = None
    first_closed: float | None = None
    report: list[str] | None = None
    artifact: list[str] | None = None

    @property
    def closed(self) -> bool:
        return self.record is not None and self.record.closed is not None


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
    """

    base: str
    runs: list[ObservedRun]
    objects: dict[str, bytes]
    catalog: dict[str, Item]
    uploads: list[str] = field(default_factory=list)
    messages: dict[str, int] = field(default_factory=dict)
    malformed: list[bytes] = field(default_factory=list)
    letters: list[bytes] = field(default_factory=list)


def judge(offers: list[Offer], seen: Observed) -> list[Finding]:
    """Return all that is not as it must be."""
    return [
        *(finding for run in seen.runs for finding in _run(offers, run)),
        *_objects(offers, seen),
        *_catalog(offers, seen),
        *(Finding("wrong", f"the upload of {key} is unfinished after the clean-up") for key in seen.uploads),
        *(Finding("hung", f"{count} messages are left in {name}") for name, count in seen.messages.items() if count),
        *_letters(seen),
    ]


def _run(offers: list[Offer], run: ObservedRun) -> Iterator[Finding]:
    if run.record is None:
        yield Finding("lost", f"the ledger has no run {run.id}")
        return
    if not run.closed:
        ended = sum(item.finished is not None for item in run.items)
        yield Finding("hung", f"run {run.id} is {run.record.state}, {ended} of {len(run.items)} items are finished")
        return
    if run.first_closed not in (None, run.record.closed):
        yield Finding("wrong", f"run {run.id} was closed twice")
    yield from _items(offers, run)
    yield from _counts(run)
    yield from _result(offers, run)
    yield from _artifacts(offers, run)


def _items(offers: list[Offer], run: ObservedRun) -> Iterator[Finding]:
    records = {item.item_id: item for item in run.items}
    for offer in offers:
        record = records.pop(offer.item_id, None)
        if record is None or record.finished is None:
            state = "not in the ledger" if record is None else f"{record.state} and not finished"
            yield Finding("lost", f"{offer.item_id} is {state}, and run {run.id} is closed")
        elif offer.code:
            if record.state is not ItemState.FAILED or record.code != offer.code:
                yield Finding("wrong", f"{offer.item_id} must fail with {offer.code}, but is {_told(record)}")
        elif record.state not in (_goal(offer), ItemState.SKIPPED):
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
    truth = (len(run.items), len(states) - failed - skipped, skipped, failed, states.count(ItemState.EXPANDED))
    told = (counts.items, counts.staged, counts.skipped, counts.failed, counts.expanded)
    if truth != told:
        yield Finding("wrong", f"run {run.id} counts {told} items, staged, skipped, failed, expanded; it has {truth}")


def _result(offers: list[Offer], run: ObservedRun) -> Iterator[Finding]:
    if run.result is None:
        yield Finding("hung", f"run {run.id} is closed, and its caller has no result")
        return
    wanted = [not any(offer.code for offer in offers), sorted(_held(offers))]
    value = run.result.get("result")
    if run.result.get("status") != "SUCCESS" or not isinstance(value, list):
        yield Finding("wrong", f"the caller of run {run.id} is told {str(run.result)[:300]}")
    elif [value[0], _ids(value[1])] != wanted:
        yield Finding("wrong", f"the result of run {run.id} is {value[0]} with {_ids(value[1])}, it must be {wanted}")


def _artifacts(offers: list[Offer], run: ObservedRun) -> Iterator[Finding]:
    if run.record is None:
        return
    failed = [offer for offer in offers if offer.code]
    state = RunState.SUCCESSFUL if not failed else RunState.PARTIAL if len(failed) < len(offers) else RunState.FAILED
    if run.record.state is not state:
        yield Finding("wrong", f"run {run.id} must be {state}, but is {run.record.state}")
    if run.report is None or sorted(run.report) != sorted(offer.item_id for offer in offers):
        yield Finding("lost", f"the report of run {run.id} does not tell of every item: {run.report}")
    if not failed and (run.artifact is None or sorted(run.artifact) != sorted(_held(offers))):
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
    for item_id in unseen:
        yield Finding("wrong", f"the catalog has {item_id}, which nobody offered")


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
        else:
            shown[file.name] = (f"{base}{offer.item_id}/{file.name}", len(file.content), file.md5)
    return shown


def _described(asset: Asset) -> tuple[str, int | None, str]:
    return asset.href, asset.size, (asset.checksum or "")[-32:]


def _letters(seen: Observed) -> Iterator[Finding]:
    """Each malformed message must be a dead letter, also twice where it was delivered twice, and no other message."""
    malformed, letters = (Counter(map(_undelivered, messages)) for messages in (seen.malformed, seen.letters))
    for message, count in (malformed - letters).items():
        yield Finding("lost", f"{count} times this message is not among the dead letters: {message[:200]!r}")
    for message in letters.keys() - malformed.keys():
        yield Finding("wrong", f"this message is among the dead letters: {message[:200]!r}")


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
    """Whether all that wanted an item are through with it: what is still worked on is not judged."""
    if any(run.record is None or not run.closed for run in seen.runs):
        ended = [{item.item_id for item in run.items if item.finished is not None} for run in seen.runs]
        return all(offer.item_id in ids for ids in ended)
    return True


def _held(offers: list[Offer]) -> list[str]:
    return [offer.item_id for offer in offers if offer.stands]


def _ids(collection: object) -> list[str]:
    features = collection.get("features", []) if isinstance(collection, dict) else []
    return sorted(str(feature.get("id")) for feature in features)


def ids_of(document: bytes | None, name: str = "") -> list[str] | None:
    """Return the ids of the items in a JSON list, or in the list `name` of a JSON object; None where there is none."""
    if document is None:
        return None
    listed = json.loads(document)
    return [str(item["id"]) for item in (listed[name] if name else listed)]
