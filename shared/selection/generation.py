"""When a product was generated: what its properties say, else its name, else when the station took it in."""

import re
from collections.abc import Iterator
from datetime import datetime

from shared.errors import Rejected
from shared.stac.item import Item
from shared.times import BEGINNING, OPEN_END, parse_instant

_STAMP = "[0-9]{8}T[0-9]{6}"
_NAMES = (
    re.compile(rf"_G({_STAMP})(?=[._]|$)"),  # Sentinel-1: S1A_AUX_PP2_V<start>_G<generation>.SAFE
    re.compile(rf"_({_STAMP})_V{_STAMP}(?=[._]|$)"),  # ground segment files: .._OPOD_<creation>_V<start>_<end>.EOF
    re.compile(rf"_{_STAMP}_{_STAMP}_({_STAMP})(?=[._]|$)"),  # Sentinel-3: .._<start>_<stop>_<creation>_.._001.SEN3
    re.compile(rf"_[A-Z]{{4}}_({_STAMP})(?=\.|$)"),  # the second, of a file without a validity: .._PDMC_<creation>.xml
)
"""The names that state it. Others hold no such instant: S1A_OPER_MPL_ORBPRE_<start>_<end>_0001.EOF has none."""


def generation_time(item: Item) -> datetime | None:
    """Return when the item's product was generated, in UTC, or None where nothing tells.

    The first of these that is an instant: `processing:datetime`, what stands in the product's name (the item's id,
    else the key of an asset), `created`. An open end (99991231T235959) and the beginning of the mission
    (00000000T000000) are none.
    """
    for text in _sources(item):
        instant = _instant(text)
        if instant is not None:
            return instant
    return None


def _sources(item: Item) -> Iterator[object]:
    yield item.properties.get("processing:datetime")
    for name in (item.id, *sorted(item.assets)):
        for pattern in _NAMES:
            if found := pattern.search(name):
                yield found[1]
    yield item.properties.get("created")


def _instant(text: object) -> datetime | None:
    try:
        instant = parse_instant(text) if isinstance(text, str) else OPEN_END
    except Rejected:
        return None
    return instant if BEGINNING < instant < OPEN_END else None
