"""Mends what an audit has found, as far as that can be done: deletes at once, and says what is to be staged again."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from shared.archives import is_archive, manifest_for
from shared.audit.audit import Audit, of_ids
from shared.audit.findings import Finding, Kind, Mend
from shared.context import Context
from shared.errors import AuxipError
from shared.json_types import Json
from shared.ledger import lease
from shared.models import ItemRecord, ItemState, work_key
from shared.stac.item import Item
from shared.steps.publish import delete_archive
from shared.steps.standing import Standing, expanded_standing, keeps_archive
from shared.storage.location import Listed, Location

_ITEMS_OF_A_RUN: Final = 50
_BY_STAGING: Final = (Mend.STAGE, Mend.STAGE_OR_DELETE)


@dataclass(frozen=True)
class Restaging:
    """Items to be staged again by one run.

    Attributes:
        owner: of them.
        items: their ids.
        decompress: whether their archives are to be expanded, as they were.
    """

    owner: str
    items: tuple[str, ...]
    decompress: bool

    def message(self, collection: str, station: str | None) -> Json:
        """Return the arguments of `auxip.staging`."""
        return {
            "env": {"owner_id": self.owner},
            "cql2_filter": of_ids(self.items),
            "catalog_collection_identifier": collection,
            "decompress": self.decompress,
            "station": station or None,
        }


def delete_what_is_too_much(
    context: Context, audit: Audit, collection: str, finding: Finding, orphans_older_than: timedelta | None
) -> Finding:
    """Delete an archive beside its published content, or an orphan, under the claim on its item.

    Args:
        context: of the process.
        audit: looks again before anything is deleted.
        collection: of the catalog.
        finding: what was found.
        orphans_older_than: of orphans only those that were written longer ago; None deletes none.

    Returns:
        The finding with its outcome, which begins with `left` where it is not mended; as it was, where deleting is not
        what mends it.
    """
    is_leftover = finding.mends is Mend.DELETE_ARCHIVE
    if not is_leftover and (finding.mends not in _DELETED or orphans_older_than is None):
        return finding
    try:
        with lease(context.ledger.redis, _work(collection, finding), context.settings.lease):
            if finding.item and not any(_same(finding, each) for each in audit.look(finding.owner, finding.item)):
                return _with_outcome(finding, "left: it is not so any more")
            if is_leftover:
                return _with_outcome(finding, _delete_archive(context, collection, finding))
            assert orphans_older_than is not None  # noqa: S101 - see above
            return _with_outcome(finding, _delete_orphan(context, finding, orphans_older_than))
    except AuxipError as error:
        return _with_outcome(finding, f"left: {error}")


def to_stage_again(context: Context, collection: str, findings: Sequence[Finding]) -> Iterator[Restaging]:
    """Yield what is to be staged again, so many items a run: those findings that nothing has mended yet.

    Archives are expanded again, unless the catalog has them as they are.
    """
    wanted = [each for each in findings if _is_to_be_staged(each)]
    unpublished = {(each.owner, each.item) for each in wanted if each.kind is Kind.ARCHIVE}
    waiting: dict[tuple[str, bool], list[str]] = {}
    for owner, name in dict.fromkeys((each.owner, each.item) for each in wanted):
        decompress = (owner, name) in unpublished or _was_expanded(context.catalog_of(owner).get(collection, name))
        waiting.setdefault((owner, decompress), []).append(name)
    for (owner, decompress), names in waiting.items():
        items = tuple(names)
        for start in range(0, len(items), _ITEMS_OF_A_RUN):
            yield Restaging(owner, items[start : start + _ITEMS_OF_A_RUN], decompress)


def staged_again(findings: Sequence[Finding], restaging: Restaging, records: dict[str, ItemRecord]) -> list[Finding]:
    """Return findings with what a run that stages items again has come to.

    Args:
        findings: all of them.
        restaging: what the run was asked for.
        records: of the run's items, by their ids.
    """
    return [
        _with_outcome(each, _outcome(records.get(each.item)))
        if _is_to_be_staged(each) and each.owner == restaging.owner and each.item in restaging.items
        else each
        for each in findings
    ]


def leave(finding: Finding) -> Finding:
    """Return a finding that nothing has mended with an outcome that says so."""
    return finding if finding.outcome else _with_outcome(finding, f"left: {finding.mends}")


_DELETED: Final = (Mend.DELETE_ORPHAN, Mend.STAGE_OR_DELETE)


def _is_to_be_staged(finding: Finding) -> bool:
    return not finding.outcome and finding.mends in _BY_STAGING


def _was_expanded(shown: Item | None) -> bool:
    if shown is None:
        return True
    archives = [asset for key, asset in shown.assets.items() if is_archive(key) and asset.source is None]
    return not archives or any(
        asset.source is not None and not keeps_archive(shown, asset) for asset in shown.assets.values()
    )


def _delete_archive(context: Context, collection: str, finding: Finding) -> str:
    shown = context.catalog_of(finding.owner).get(collection, finding.item)
    asset = None if shown is None else shown.assets.get(finding.asset)
    archive = Location.parse(finding.key)
    if shown is None or asset is None or expanded_standing(context, asset, archive) is not Standing.LEFTOVER:
        return "left: its content is not whole; stage the item again"
    delete_archive(context, shown, asset)
    return "deleted"


def _delete_orphan(context: Context, finding: Finding, older_than: timedelta) -> str:
    objects = _objects(context, Location.parse(finding.key))
    latest = time.time() - older_than.total_seconds()
    if any(each.modified > latest for each in objects):
        return f"left: younger than {older_than}, so it may be another's work that goes on"
    bucket = Location.parse(finding.key).bucket
    for each in objects:
        if not context.store.control.delete(Location(bucket, each.key), each.etag):
            return "left: it was written or deleted meanwhile"
    return "deleted"


def _objects(context: Context, place: Location) -> list[Listed]:
    """Return the object of a finding or, where it is a prefix, all below it, and its manifest last."""
    if not place.key.endswith("/"):
        return _one(context, place)
    found: list[Listed] = []
    more = True
    while more:
        page, more = context.store.control.list_page(place, found[-1].key if found else "")
        found += page
    return found + _one(context, manifest_for(place))


def _one(context: Context, place: Location) -> list[Listed]:
    page, _ = context.store.control.list_page(place, "", most=1)
    return [each for each in page if each.key == place.key]


def _work(collection: str, finding: Finding) -> str:
    return work_key(finding.owner, collection, finding.item) if finding.item else finding.key


def _same(one: Finding, other: Finding) -> bool:
    return (one.kind, one.key) == (other.kind, other.key)


def _outcome(record: ItemRecord | None) -> str:
    if record is None:
        return "left: the station does not offer the item any more"
    if record.state is ItemState.REPAIRED:
        return "repaired"
    if record.state in (ItemState.FAILED, ItemState.SKIPPED):
        return f"left: {record.code}: {record.reason}"
    return "staged again" if record.downloaded else "published again"


def _with_outcome(finding: Finding, outcome: str) -> Finding:
    return finding.model_copy(update={"outcome": outcome})
