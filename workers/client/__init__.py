"""What a Python program calls auxip-workers with: needs redis and pydantic, and neither Celery nor the workers' code.

In the distribution `auxip-workers-client` this package is `auxip_workers.client`.
"""

from .answer import Answer, Counts, FailedItem, Problem, Selected, Status, Timeliness
from .calls import Auxip, Outcome, Request
from .errors import AuxipError, AuxipValueError

__all__ = [
    "Answer",
    "Auxip",
    "AuxipError",
    "AuxipValueError",
    "Counts",
    "FailedItem",
    "Outcome",
    "Problem",
    "Request",
    "Selected",
    "Status",
    "Timeliness",
]
