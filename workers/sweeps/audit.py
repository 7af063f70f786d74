"""What a recurring audit is: a table [audit.NAME] of the file of the sweeps."""

from datetime import datetime
from typing import Annotated

from pydantic import Field

from shared.audit.audit import Scope
from shared.models import CollectionId, OwnerId
from shared.stations.config import StationName
from workers.sweeps.recurring import Recurring


class RecurringAudit(Recurring):
    """One recurring audit.

    Attributes:
        collection: of the catalog.
        owner: whose objects and items; None means everybody's.
        requests_per_second: that the store and the catalog are sent at most.
        checksum: read every object and compare its checksum.
        station: compare with the checksums of this station; None asks no station.
    """

    collection: CollectionId
    owner: OwnerId | None = None
    requests_per_second: Annotated[float, Field(ge=2, le=10_000, allow_inf_nan=False)] = 20
    checksum: bool = False
    station: StationName | None = None

    @property
    def scope(self) -> Scope:
        """What is audited."""
        return Scope(self.owner, self.collection, self.checksum, self.station, self.requests_per_second)

    def tick(self, now: datetime) -> float:
        """Return the newest tick that is due, in seconds since the epoch."""
        return self.newest(now).timestamp()
