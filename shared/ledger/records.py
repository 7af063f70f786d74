"""How the records of runs and items stand in their hashes."""

import json
from collections.abc import Iterator
from functools import lru_cache
from itertools import islice
from typing import Final, TypeAlias

from shared.answer import Timeliness
from shared.archives import Expansion
from shared.errors import Rejected
from shared.models import Counts, ItemRecord, ItemState, Run, RunRequest, StagedAsset
from shared.stac.item import Found, Item
from shared.stac.search import RECORDED
from shared.times import parse_instant

Fields: TypeAlias = dict[str, str]

EXPANSION: Final = "expansion:"
"""Before an asset key: the name of the field that tells what an archive was expanded to."""

WAITED: Final = "waited:"
"""Before a system: the name of the field that tells how long a run waited for it, and why."""

NOTICED: Final = "noticed:"
"""Before a sentence: the name of the field that has the code of a notice."""

WAITED_SINCE: Final = "waited_since:"
"""Before a system: the name of the field that tells since when."""

SHORTEST_PREFIX: Final = 6
"""How many characters of an id people have to type at least."""

_STAGED = "staged_asset:"
_ENDED = "ended:"


def item_json(item: Item) -> str:
    """Return an item as it is kept."""
    return item.model_dump_json(by_alias=True, exclude_unset=True)


def item_fields(key: str, found: Found) -> list[str | int]:
    """Return what the script ADD_ITEM takes."""
    state = ItemState.FOUND if found.item else ItemState.SKIPPED if found.skipped else ItemState.FAILED
    size = found.item.size if found.item else 0
    stac = item_json(found.item) if found.item else ""
    evicts, published = (evicts_field(found.item), _published(found.item)) if found.item else ("", "")
    return [key, found.item_id, state.value, size, found.code, found.reason, stac, found.station, evicts, published]


def evicts_field(item: Item) -> str:
    """Return when the station removes an item as it is kept; empty where it does not say so."""
    evicted = item.evicted
    return "" if evicted is None else repr(evicted.timestamp())


def _published(item: Item) -> str:
    """When the station published an item, in seconds since the epoch; empty where it does not say so."""
    stated = item.properties.get("published") or item.properties.get("created")
    try:
        return repr(parse_instant(stated).timestamp()) if isinstance(stated, str) else ""
    except Rejected:
        return ""


def run_record(run_id: str, fields: Fields) -> Run:
    """Return a run from its hash.

    Raises:
        Rejected: `unknown-run`, there is none.
    """
    if "request" not in fields:
        raise Rejected("unknown-run", f"the ledger has no run {run_id!r}; `auxip runs` lists them")
    counts = Counts.model_validate({name: fields[name] for name in Counts.model_fields if name in fields})
    since = {system: float(text) for system, text in _under(WAITED_SINCE, fields)}
    waits = [{"system": system, "since": since[system], **json.loads(text)} for system, text in _under(WAITED, fields)]
    waits.sort(key=lambda wait: wait["since"])
    notices = [{"code": code, "reason": reason} for reason, code in sorted(_under(NOTICED, fields))]
    facts = {"id": run_id, "request": _request(fields["request"]), "counts": counts, "waits": waits, "notices": notices}
    facts |= {"selected": json.loads(fields.get("selected", "[]")), "timeliness": _timeliness(fields)}
    facts |= {"searches": json.loads(fields.get("searches", "[]"))}
    return Run.model_validate({**fields, **facts})


def _timeliness(fields: Fields) -> Timeliness | None:
    items = int(fields.get("timed", "0"))
    if not items:
        return None
    mean = round(float(fields["late_sum"]) / items, 3)
    return Timeliness(items=items, mean_seconds=mean, longest_seconds=float(fields["late_max"]))


@lru_cache(maxsize=64)
def _request(text: str) -> RunRequest:
    return RunRequest.model_validate_json(text, context=RECORDED)


def item_record(run_id: str, key: str, fields: Fields) -> ItemRecord:
    """Return an item of a run from its hash.

    Raises:
        Rejected: `unknown-item`, there is none.
    """
    if not fields:
        raise Rejected("unknown-item", f"the run {run_id!r} has no item {key!r}")
    staged = {name: StagedAsset.model_validate_json(text) for name, text in _under(_STAGED, fields)}
    expansions = {name: Expansion.model_validate_json(text) for name, text in _under(EXPANSION, fields)}
    ended = frozenset(name for name, _ in _under(_ENDED, fields))
    known = {name: value for name, value in fields.items() if name in ItemRecord.model_fields}
    facts = {"staged_assets": staged, "expansions": expansions, "ended": ended}
    return ItemRecord.model_validate({**known, **facts, "run_id": run_id, "key": key})


def _under(prefix: str, fields: Fields) -> Iterator[tuple[str, str]]:
    return ((name.removeprefix(prefix), text) for name, text in fields.items() if name.startswith(prefix))


def flat(fields: Fields) -> list[str]:
    """Return fields and values in turn, as scripts take them."""
    return [part for pair in fields.items() for part in pair]


def paired(flat: list[str]) -> Fields:
    """Return a hash from the fields and values that a script returns in turn."""
    return dict(zip(islice(flat, 0, None, 2), islice(flat, 1, None, 2), strict=True))
