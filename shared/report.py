"""The artifacts of a run: the items for a program, the report for a program and for people."""

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from html import escape

from pydantic import BaseModel

from shared.models import Counts, ItemRecord, Run, RunState
from shared.stac.item import Item
from shared.times import format_instant


class ReportItem(BaseModel):
    """How one item ended."""

    id: str
    state: str
    code: str = ""
    reason: str = ""
    size: int
    bytes_downloaded: int
    attempts: int


class Report(BaseModel):
    """How a run ended, and each of its items."""

    run: str
    label: str
    status: RunState
    owner: str
    collection: str
    started: str
    written: str
    counts: Counts
    items: list[ReportItem]


def report_of(run: Run, state: RunState, records: Iterable[ItemRecord]) -> Report:
    """Make the report of a run from the ledger's records."""
    return Report(
        run=run.id,
        label=run.request.label,
        status=state,
        owner=run.request.owner,
        collection=run.request.collection,
        started=format_instant(datetime.fromtimestamp(run.created, UTC)),
        written=format_instant(datetime.now(UTC)),
        counts=run.counts,
        items=[_report_item(record) for record in records],
    )


def artifact_of(items: list[Item]) -> bytes:
    """Return `auxiliary-files`, the artifact of the reference: a JSON list of the staged items."""
    return json.dumps([item.to_json() for item in items]).encode()


def page_of(report: Report) -> str:
    """Return the report as one HTML page that needs nothing else; what did not go well stands first."""
    rows = sorted(report.items, key=lambda item: (item.state != "failed", item.id))
    counts = report.counts
    title = f"{report.label or 'Run'} {report.run}"
    return _PAGE.format(
        title=escape(title),
        status=escape(report.status),
        summary=escape(
            f"{counts.items} items in {report.owner}/{report.collection}: {counts.staged} staged, {counts.expanded} of "
            f"them expanded, {counts.skipped} skipped, {counts.failed} failed; {counts.bytes_downloaded:,} bytes "
            f"downloaded; begun {report.started}"
        ),
        rows="\n".join(_row(item) for item in rows),
    )


def _report_item(record: ItemRecord) -> ReportItem:
    return ReportItem(
        id=record.item_id,
        state=record.state,
        code=record.code,
        reason=record.reason,
        size=record.size,
        bytes_downloaded=record.downloaded,
        attempts=record.attempts,
    )


def _row(item: ReportItem) -> str:
    cells = (item.id, item.state, f"{item.size:,}", " ".join(part for part in (item.code, item.reason) if part))
    return f'<tr class="{escape(item.state)}">' + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>"


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{title}</title>
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem; padding: 0 1rem; color: #1c2733 }}
table {{ border-collapse: collapse; width: 100% }}
th, td {{ text-align: left; padding: .35rem .6rem; border-bottom: 1px solid #d8dee5; overflow-wrap: anywhere }}
td:nth-child(3) {{ text-align: right; white-space: nowrap }}
.failed td:nth-child(2) {{ color: #b3261e; font-weight: 600 }}
.skipped td:nth-child(2) {{ color: #5b6770 }}
</style></head>
<body><h1>{title}</h1><p><strong>{status}</strong></p><p>{summary}</p>
<table><thead><tr><th>Item</th><th>State</th><th>Bytes</th><th>Why</th></tr></thead><tbody>
{rows}
</tbody></table></body></html>
"""
