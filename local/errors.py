"""The one error of the embedded stack."""

from shared.errors import Rejected


class StackError(Rejected):
    """The embedded stack cannot start or cannot do what it was asked; the reason names the part that failed."""

    def __init__(self, reason: str) -> None:
        super().__init__("local-stack", reason)

    def __reduce__(self) -> tuple[type["StackError"], tuple[str]]:
        return type(self), (self.reason,)
