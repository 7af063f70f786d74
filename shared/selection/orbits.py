"""Which orbit file belongs to a Sentinel-1 scene: the precise one, else the restituted one.

The rules are those of the public tools that process Sentinel-1 (sentineleof, s1-orbits): a file must cover the scene
and the whole orbit before it, and of several files the one that was generated last is taken.
"""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from shared.errors import Rejected
from shared.selection.choice import Ask, choose
from shared.selection.request import PolicySelection
from shared.stac.item import Found, Item

T_ORBIT: Final = timedelta(seconds=12 * 86_400 / 175)
"""Sentinel-1 flies 175 orbits in 12 days."""

MARGIN: Final = timedelta(seconds=60)
PRECISE_AFTER: Final = timedelta(days=20)
"""After so many days the precise orbit of a scene is published."""

RESTITUTED_AFTER: Final = timedelta(hours=3)
"""Within so many hours the restituted orbit of a scene is published."""

_STAMP: Final = "[0-9]{8}T[0-9]{6}"
_SCENE: Final = re.compile(
    rf"(S1[A-Z])_[A-Z0-9]{{2}}_[A-Z0-9_]{{4}}_[A-Z0-9]{{4}}_({_STAMP})_({_STAMP})"
    r"_[0-9]{6}_[0-9A-F]{6}_[0-9A-F]{4}(?:_[A-Z0-9]+)*(?:\.SAFE)?(?:\.zip)?"
)
"""S1A_IW_SLC__1SDV_<start>_<stop>_<orbit>_<data take>_<id>, such as the file's name, or its folder's."""

_LONGEST_SCENE: Final = timedelta(days=1)
_LAUNCH: Final = datetime(2014, 4, 3, tzinfo=UTC)
_LATEST: Final = datetime(9000, 1, 1, tzinfo=UTC)

OrbitKind = Literal["precise", "restituted"]

_KINDS: Final[dict[OrbitKind, tuple[str, ...]]] = {
    "precise": ("OPER_AUX_POEORB_OPOD", "AUX_POEORB"),
    "restituted": ("OPER_AUX_RESORB_OPOD", "AUX_RESORB"),
}
"""The product types of each kind, the better kind first: most stations spell them long, some short."""


class Scene(BaseModel):
    """A Sentinel-1 scene, as its name describes it.

    Attributes:
        name: without extension.
        platform: such as sentinel-1a.
        start: of the sensing, in UTC.
        stop: of the sensing, in UTC.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    platform: str
    start: datetime
    stop: datetime

    @classmethod
    def of(cls, name: str) -> Self:
        """Read the name of a scene, with or without `.SAFE` and `.zip`.

        Raises:
            Rejected: `bad-scene`, it is not the name of a Sentinel-1 product.
        """
        match = _SCENE.fullmatch(name.rstrip("/"))
        if match is None:
            raise _bad_scene(name)
        bare = name.rstrip("/").removesuffix(".zip").removesuffix(".SAFE")
        try:
            start, stop = (datetime.strptime(text, "%Y%m%dT%H%M%S").replace(tzinfo=UTC) for text in match.groups()[1:])
        except ValueError:
            raise _bad_scene(name) from None
        if not _LAUNCH <= start <= stop <= _LATEST or stop - start > _LONGEST_SCENE:
            raise _bad_scene(name)
        return cls(name=bare, platform=f"sentinel-{match[1][1:].lower()}", start=start, stop=stop)

    @property
    def window(self) -> tuple[datetime, datetime]:
        """What an orbit file must cover: the orbit before the scene, the scene, and a minute on both sides."""
        return self.start - T_ORBIT - MARGIN, self.stop + MARGIN

    def due(self, kind: OrbitKind) -> datetime:
        """Return about when the orbit of a kind is published."""
        return self.stop + (PRECISE_AFTER if kind == "precise" else RESTITUTED_AFTER)


class OrbitSelection(BaseModel):
    """The orbit file of a scene: the precise one, else the restituted one, else none; of several the newest."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["orbit"] = "orbit"
    scene: str = Field(min_length=1, max_length=200)

    @model_validator(mode="after")
    def _is_of_a_scene(self) -> Self:
        Scene.of(self.scene)
        return self

    def choose(self, ask: Ask) -> Iterator[Found]:
        """Yield the orbit file, and what the station offers that cannot be judged.

        Args:
            ask: sends a search to the station.
        """
        scene = Scene.of(self.scene)
        start, end = scene.window
        for product_type in (each for types in _KINDS.values() for each in types):
            wanted = PolicySelection(
                policies=("LatestValCover",),
                product_types=(product_type,),
                platform=scene.platform,
                start=start,
                end=end,
            )
            selected = False
            for one in choose(wanted, ask):
                selected = selected or one.item is not None
                yield one
            if selected:
                return


def orbit_kind(item: Item) -> OrbitKind | None:
    """Return which kind of orbit file an item is, or None where it is another product."""
    product_type = item.properties.get("product:type")
    return next((kind for kind, types in _KINDS.items() if product_type in types), None)


def _bad_scene(name: str) -> Rejected:
    return Rejected(
        "bad-scene",
        f"{name[:100]!r} is not the name of a Sentinel-1 scene such as "
        "S1A_IW_SLC__1SDV_20200101T170000_20200101T170027_030600_038166_1A2B",
    )
