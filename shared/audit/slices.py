"""A recurring audit, a slice at a time: its place is in the ledger, so any worker goes on where the last one ended."""

import json
import logging
import time
import uuid
from typing import Final

from pydantic import BaseModel

from shared.audit.audit import Audit, Scope
from shared.audit.findings import Finding, Position
from shared.audit.report import MOST_FINDINGS, AuditReport, write_report
from shared.context import Context

SLICE_SECONDS: Final = 5.0
"""After which a slice begins no further step: a worker is held for little longer, and a kill costs one step."""

_HALTED: Final = 900.0
"""Seconds without a step, after which nobody goes on with an audit."""

_log = logging.getLogger(__name__)


class _State(BaseModel):
    """Where an audit is to go on; its findings are kept apart, since these only grow.

    Attributes:
        chain: of messages that go on with it, one after the other.
        touched: when a step ended last, in seconds since the epoch.
        position: of the next step.
        report: so far.
        listed: findings that are kept.
    """

    chain: str
    touched: float
    position: Position
    report: AuditReport
    listed: int = 0


def audit_slice(context: Context, name: str, scope: Scope, tick: float, chain: str = "") -> str:
    """Go on with a recurring audit for some seconds, or begin it at a tick that was not begun yet.

    To be called under a claim on the audit. A tick that comes while the audit of an earlier one goes on begins none;
    where that one has come to a halt, since its message was lost or a system was away, the tick takes it over.

    Args:
        context: of the process.
        name: of the audit.
        scope: what is audited.
        tick: in seconds since the epoch.
        chain: what an earlier slice has returned; empty for a message of beat.

    Returns:
        What the next slice is to be given; empty where there is nothing to do for this chain any more.

    Raises:
        Rejected: `unknown-collection`, `unknown-station`; the store, the catalog or the station refuses.
        Retryable: one of them could not answer; the next call goes on where this one came to.
    """
    audits = context.audits
    text = audits.state(name)
    state = _State.model_validate_json(text) if text else None
    if state is None and (chain or audits.tick(name) >= tick):
        return ""
    if state is not None and chain != state.chain and (chain or time.time() - state.touched < _HALTED):
        return ""
    report = AuditReport.begin(scope) if state is None else state.report
    with Audit(context, scope, report.counts) as running:
        if state is None:
            state = _State(chain="", touched=0, position=running.begin(), report=report)
        state.chain = chain or uuid.uuid4().hex
        until = time.monotonic() + SLICE_SECONDS
        while state.position.walk != "done":
            state.position, findings = running.step(state.position)
            _save(context, name, max(tick, audits.tick(name)), state, findings)
            if time.monotonic() >= until and state.position.walk != "done":
                return state.chain
    _end(context, name, report)
    return ""


def _save(context: Context, name: str, tick: float, state: _State, findings: list[Finding]) -> None:
    kept = findings[: MOST_FINDINGS - state.listed]
    state.touched = time.time()
    state.listed += len(kept)
    state.report.left_out += len(findings) - len(kept)
    context.audits.save(name, tick, state.model_dump_json(), [each.model_dump_json() for each in kept])


def _end(context: Context, name: str, report: AuditReport) -> None:
    """Write the report into S3, and what metrics read into the ledger."""
    report.findings = [Finding.model_validate_json(text) for text in context.audits.findings(name)]
    href = write_report(context, report)
    summary = {**report.to_json(), "findings": report.counts.found, "ended": time.time(), "report": href}
    context.audits.end(name, json.dumps(summary))
    if report.counts.found:
        _log.warning("audit %s of %s has %d findings: %s", name, report.collection, report.counts.found, href)
