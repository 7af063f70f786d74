"""What a file must be, as far as a station or a catalog states it."""

from dataclasses import dataclass

from shared.errors import Retryable
from shared.http.answers import shown
from shared.storage.digests import Checksum


@dataclass(frozen=True)
class Expected:
    """Where a file is, its size in bytes and its checksum, as far as they are stated."""

    href: str
    size: int | None
    checksum: Checksum | None

    @property
    def function(self) -> str:
        """The function by which its content is known."""
        return "md5" if self.checksum is None else self.checksum.function

    @property
    def proven(self) -> bool:
        """Whether anything is stated by which the content can be checked."""
        return self.size is not None or self.checksum is not None

    def require(self, size: int, checksum: Checksum) -> None:
        """Compare what came.

        Raises:
            Retryable: `size-mismatch`, `checksum-mismatch`.
        """
        self.require_size(size)
        if self.checksum is not None and checksum != self.checksum:
            raise Retryable(
                "checksum-mismatch",
                f"{shown(self.href)} has the {checksum.function} {checksum.hex} "
                f"where {self.checksum.hex} was announced",
            )

    def require_size(self, size: int) -> None:
        """Compare the size alone.

        Raises:
            Retryable: `size-mismatch`.
        """
        if self.size is not None and size != self.size:
            raise Retryable("size-mismatch", f"{shown(self.href)} gave {size} bytes where {self.size} were announced")
