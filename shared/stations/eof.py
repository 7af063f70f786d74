"""Files of the ground segment by their names: `S1A_OPER_AUX_POEORB_OPOD_<creation>_V<start>_<stop>.EOF`.

The product type is spelled as ESA's stations and RS-Server do, `OPER_AUX_POEORB_OPOD`, so that a selection finds the
same at each.
"""

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Self

from shared.errors import Rejected
from shared.json_types import Json
from shared.times import format_instant, parse_instant

_STAMP: Final = "[0-9]{8}T[0-9]{6}"
_NAME: Final = re.compile(
    rf"(?P<mission>S[0-9][A-Z0-9_])_(?P<type>[A-Z0-9]{{4}}_[A-Z0-9_]{{10}}_[A-Z0-9_]{{4}})"
    rf"_(?P<created>{_STAMP})_V(?P<start>{_STAMP})_(?P<stop>{_STAMP})\.EOF"
)
"""Earth Explorer file names (PE-TN-ESA-GS-0001): mission, class, type, site, creation, validity."""


@dataclass(frozen=True)
class EofName:
    """What the name of a file says of it.

    Attributes:
        name: with its extension.
        mission: `S1A`, or `S1_` for all satellites of the mission.
        product_type: such as OPER_AUX_POEORB_OPOD: class, type and site.
        created: when it was generated.
        start: from when it is valid.
        stop: until when; an open end is `OPEN_END`.
    """

    name: str
    mission: str
    product_type: str
    created: datetime
    start: datetime
    stop: datetime

    @classmethod
    def of(cls, name: str) -> Self | None:
        """Read a name; None where it is another kind of name, or has a date that no calendar has."""
        match = _NAME.fullmatch(name)
        if match is None:
            return None
        try:
            created, start, stop = (parse_instant(match[part]) for part in ("created", "start", "stop"))
        except Rejected:
            return None
        return cls(name, match["mission"], match["type"], created, start, stop)

    @property
    def item_id(self) -> str:
        """The id of its item: the name without extension."""
        return self.name.removesuffix(".EOF")

    @property
    def platform(self) -> str:
        """Such as sentinel-1a; sentinel-1 where it is for all satellites."""
        return f"sentinel-{self.mission[1:].rstrip('_').lower()}"

    def feature(self, asset: Json) -> Json:
        """Return the STAC item of the file.

        Args:
            asset: its href and what else is known of its content.
        """
        created = format_instant(self.created)
        return {
            "type": "Feature",
            "stac_version": "1.1.0",
            "id": self.item_id,
            "geometry": None,
            "properties": {
                "datetime": format_instant(self.start),
                "start_datetime": format_instant(self.start),
                "end_datetime": format_instant(self.stop),
                "created": created,
                "published": created,
                "processing:datetime": created,
                "product:type": self.product_type,
                "platform": self.platform,
                "constellation": f"sentinel-{self.mission[1]}",
            },
            "assets": {self.name: asset},
            "links": [],
        }
