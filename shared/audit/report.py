"""The report of an audit: what was looked at, what was found, and what has become of it; bounded, and told if cut."""

import json
import time
import uuid
from datetime import UTC, datetime
from typing import Final

from pydantic import BaseModel

from shared.audit.audit import Scope
from shared.audit.findings import Counts, Finding
from shared.context import Context
from shared.json_types import Json
from shared.storage.keys import audit_location
from shared.times import format_instant

MOST_FINDINGS: Final = 10_000
"""Findings that a report lists, and an audit keeps in memory or in the ledger; all of them are counted."""


class AuditReport(BaseModel):
    """How an audit ended; at the end of a program's output, and in S3."""

    audit: str
    collection: str
    owner: str | None
    begun: float
    counts: Counts
    findings: list[Finding] = []
    left_out: int = 0
    repair: bool = False

    @classmethod
    def begin(cls, scope: Scope) -> "AuditReport":
        """Return the report of an audit that begins now."""
        return cls(
            audit=str(uuid.uuid4()), collection=scope.collection, owner=scope.owner, begun=time.time(), counts=Counts()
        )

    def add(self, findings: list[Finding]) -> None:
        """Take findings, which are counted already; what exceeds `MOST_FINDINGS` is left out."""
        room = MOST_FINDINGS - len(self.findings)
        self.findings += findings[:room]
        self.left_out += len(findings[room:])

    def to_json(self) -> Json:
        """Return the report as one JSON object."""
        left = [finding for finding in self.findings if finding.outcome.startswith("left")]
        repaired: Json = {"repaired": len(self.findings) - len(left), "left": len(left)} if self.repair else {}
        return {
            "audit": self.audit,
            "collection": self.collection,
            "owner": self.owner,
            "begun": format_instant(datetime.fromtimestamp(int(self.begun), UTC)),
            "seconds": round(time.time() - self.begun, 1),
            **self.counts.model_dump(),
            **repaired,
            "left_out": self.left_out,
            "findings": [finding.model_dump(mode="json") for finding in self.findings],
        }


def write_report(context: Context, report: AuditReport) -> str:
    """Write the report of an audit into S3, where its owner's data are; returns its href."""
    owner = report.owner or context.settings.default_owner
    location = audit_location(context.owners[owner].place, report.audit)
    context.store.put(location, json.dumps(report.to_json()).encode(), "application/json")
    return location.href
