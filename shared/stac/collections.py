"""Collections of the catalog: what a new one says, and its creation."""

from shared.json_types import Json
from shared.stac.catalog import Catalog


def create_collection(catalog: Catalog, name: str, description: str, owner: str) -> bool:
    """Create a collection; returns False, and changes nothing, where the catalog has one of this name.

    Raises:
        Refused, Rejected, Retryable: what `JsonApi` raises.
    """
    answer = catalog.api.call("POST", "/collections", collection_json(name, description, owner), expected=(409,))
    return answer.status != 409


def collection_json(name: str, description: str, owner: str) -> Json:
    """Return an empty collection as STAC 1.1 describes it: it may hold items of any place, time and license.

    Args:
        name: its id.
        description: for people.
        owner: RS-Server's catalog keeps the collections of each owner apart by this field; to others it is one more.
    """
    return {
        "type": "Collection",
        "stac_version": "1.1.0",
        "id": name,
        "description": description,
        "license": "other",
        "extent": {"spatial": {"bbox": [[-180, -90, 180, 90]]}, "temporal": {"interval": [[None, None]]}},
        "links": [],
        "owner": owner,
    }
