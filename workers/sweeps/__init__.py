"""Periodic sweeps: the file that lists them, the moments at which each is due, and what beat sends."""

from workers.sweeps.audit import RecurringAudit
from workers.sweeps.file import find_audit, find_sweep, load_audits, load_sweeps
from workers.sweeps.sweep import Sweep

__all__ = ["RecurringAudit", "Sweep", "find_audit", "find_sweep", "load_audits", "load_sweeps"]
