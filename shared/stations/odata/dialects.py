"""What differs between the OData services that offer auxiliary products."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Dialect:
    """How filters are written for one kind of service; `dataclasses.replace` adapts it to one station.

    Attributes:
        name: as in the configuration.
        short_lambda: write `any(i0:i0/Name eq .. and i0/Value eq ..)`. Without it the value is cast in full, in the
            exact words of the AUXIP conformance suite: csgroup's server parses no others.
        value_lists: the service takes `Value in ('A','B')` (AUXIP ICD 1.4); else each value is a condition of its own.
        has_collections: products are in collections, and the constellation is the name of one.
        collections: names of those that every search is restricted to. CDSE is slow without one.
        by_name: ask for types and platforms by the product's Name. For stations whose products lack the attributes
            `productType` or `platformShortName`, as Sentinel-1's at some AUXIPs: a filter by an attribute would not
            find them. The type must then be a part of the Name.
    """

    name: str
    short_lambda: bool = False
    value_lists: bool = False
    has_collections: bool = False
    collections: tuple[str, ...] = ()
    by_name: bool = False


AUXIP: Final = Dialect("auxip", value_lists=True)
"""ESA's interface (ICD ESA-EOPG-EOPGC-IF-10, 1.4): ADGS, the reprocessing AUXIP and others."""

CDSE: Final = Dialect("cdse", short_lambda=True, has_collections=True)
"""The Copernicus Data Space Ecosystem's catalogue."""

DIALECTS: Final = {dialect.name: dialect for dialect in (AUXIP, CDSE)}
"""Every dialect by its name."""
