"""What the process of the STAC server and the one that started it tell each other."""

from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel


class Configuration(BaseModel):
    """What the server needs to know.

    Attributes:
        port: of the loopback address.
        station_key: the station's API key.
        catalog_key: the catalog's API key.
        station: the station's database, as `store.create` makes it.
        catalog: the catalog's database.
        products: the folder of the station's files, each one named by the UUID in its asset's href.
    """

    port: int
    station_key: str
    catalog_key: str
    station: Path
    catalog: Path
    products: Path


@dataclass
class Traffic:
    """What a station was asked for since it started, and what it sent.

    Attributes:
        searches: requests to `/search`, whatever the answer.
        downloads: requests for a product, whatever the answer.
        download_bytes: bytes of the bodies that answered them.
    """

    searches: int = 0
    downloads: int = 0
    download_bytes: int = 0
