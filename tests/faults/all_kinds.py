"""All kinds of faults: importing this fills the table."""

from tests.faults import callers, faults, lies
from tests.faults.kinds import AWAITED, KINDS, usual_kinds

__all__ = ["AWAITED", "KINDS", "callers", "faults", "lies", "usual_kinds"]
