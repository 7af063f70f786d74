"""The one tree of errors: what an error is decides whether its step is tried again, and nothing else does.

Every error carries a stable `code`, which stands in the ledger, the report, the log and on the command line, and
a sentence that says what happened and what a person can do. Codes are public: see `shared/codes.py`.
"""

from shared.texts import printable


class AuxipError(Exception):
    """Any error that this project raises on purpose.

    `args` are those that make the error again: so it survives pickling, and a Celery result on its way to the caller.

    Attributes:
        code: stable, lower-case, hyphenated.
        reason: one sentence for the operator, free of secrets and of what cannot be printed.
    """

    def __init__(self, code: str, reason: str) -> None:
        reason = self.clean(reason)
        super().__init__(code, reason)
        self.code = code
        self.reason = reason

    @staticmethod
    def clean(reason: str) -> str:
        """Return a reason as it is kept."""
        return printable(reason)

    def __str__(self) -> str:
        return f"{self.code}: {self.reason}"


class Rejected(AuxipError):
    """The request itself is wrong (bad input, an unknown collection): it is never tried again."""


class ItemFailed(AuxipError):
    """This item cannot be done; its neighbours can, and the run goes on."""


class Retryable(AuxipError):
    """The same step may well succeed later: a network fault, a 5xx, a 429, a truncated answer.

    Attributes:
        delay: seconds that the other side asked us to wait (`Retry-After`), or None to back off by ourselves.
        host: scheme, name and port of the host that failed, where it is another one than the API's own; else empty.
        status: of the answer over HTTP, where there was one; else 0.
    """

    host: str = ""
    status: int = 0

    def __init__(self, code: str, reason: str, delay: float | None = None) -> None:
        super().__init__(code, reason)
        self.args = (code, reason, delay)
        self.delay = delay


class Refused(Retryable):
    """A system refuses our credentials, or calls a request wrong: a proxy in front of it may do so by mistake.

    It is final only when it is confirmed; see `shared.runs.outages`.
    """


class Busy(Retryable):
    """The work is being done elsewhere, by another worker or by a service: look again after `delay`.

    The waiting uses up no attempt and holds no worker; who raises it sees to it that it ends.
    """


class WrongValue(Rejected, ValueError):
    """What the reference raises a ValueError for; its callers expect one."""


class UnsupportedArchive(WrongValue):
    """The name is that of no archive we expand."""

    def __init__(self, name: str) -> None:
        super().__init__("unsupported-archive", f"Unsupported archive type: {name!r}")
        self.args = (name,)


class NothingFound(WrongValue):
    """A search with `error_if_empty` found nothing."""

    def __init__(self, cql2: str) -> None:
        super().__init__("nothing-found", f"No Auxip product found for CQL2 filter: {cql2}")
        self.args = (cql2,)
