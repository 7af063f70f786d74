"""How a station behaves where real ones differ from each other."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Manners:
    """How a station behaves.

    Attributes:
        strict: it answers 400 to query options that the AUXIP conformance suite does not use.
        default_page: products of a page where no `$top` is given.
        largest_page: most products of a page, whatever `$top` says.
        largest_top: a larger `$top` is answered with 422; None for no limit.
        most_skipped: a larger `$skip` is answered with 422; None for no limit.
        next_links: whether a page that is not the last one has `@odata.nextLink`.
        nothing_is_404: whether a search that finds nothing is answered with 404.
        most_conditions: conditions of an `and` that it looks at; None for all.
        skips: whether it looks at `$skip`.
        orders: whether it looks at `$orderby`.
        counts: whether it looks at `$count`.
        most_connections: requests at once; more are answered with 429.
        token_header: the header that a token is sent in: in `authorization` as `Bearer TOKEN`, else by itself.
        client_in_header: whether the client of a token request is in `Authorization`, and must not be in the form.
        open_search: whether anybody may search.
    """

    strict: bool = False
    default_page: int = 1000
    largest_page: int = 1000
    largest_top: int | None = None
    most_skipped: int | None = None
    next_links: bool = False
    nothing_is_404: bool = False
    most_conditions: int | None = None
    skips: bool = True
    orders: bool = True
    counts: bool = True
    most_connections: int | None = None
    token_header: str = "authorization"  # noqa: S105 - the name of a header
    client_in_header: bool = False
    open_search: bool = False


STRICT: Final = Manners(strict=True)
"""What the conformance suite asks for, and nothing else."""

CDSE: Final = Manners(
    default_page=20,
    largest_top=1000,
    most_skipped=10_000,
    next_links=True,
    most_connections=4,
    open_search=True,
)
"""The Copernicus Data Space Ecosystem."""

RS_MOCK: Final = Manners(nothing_is_404=True, most_conditions=2, counts=False)
"""The mock of a station that RS-Server is tested with."""
