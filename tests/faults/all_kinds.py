"""All kinds of faults: importing this fills the table."""

from tests.faults import callers, faults, lies
from tests.faults.kinds import KINDS, ONLY_WHEN_ASKED, usual_kinds

__all__ = ["KINDS", "ONLY_WHEN_ASKED", "callers", "faults", "lies", "usual_kinds"]
