"""Validates STAC offline: core schemas that pystac brings, those of extensions from `tests/data/schemas`, and ours."""

import json
from functools import cache
from pathlib import Path
from typing import cast

import pystac
from pystac.validation import RegisteredValidator
from pystac.validation.stac_validator import JsonSchemaSTACValidator

from shared.json_types import Json
from shared.stac.aux_staging import SCHEMA_URI, schema

_SCHEMAS = Path(__file__).parent / "data" / "schemas"


@cache
def _validator() -> JsonSchemaSTACValidator:
    validator = JsonSchemaSTACValidator()
    for file in _SCHEMAS.glob("*.json"):
        known = json.loads(file.read_text())
        validator.schema_cache[known["$id"].removesuffix("#")] = known
    validator.schema_cache[SCHEMA_URI] = dict(schema())
    return validator


def require_valid(item: Json) -> None:
    """Make sure that an item is valid, by STAC itself and by every extension that it names.

    Raises:
        STACValidationError: it is not.
        GetSchemaError: it names an extension whose schema is not at hand.
    """
    RegisteredValidator.set_validator(_validator())
    # pystac would read what these lead to, and it has no key.
    links = [link for link in cast("list[Json]", item["links"]) if link["rel"] not in ("root", "parent")]
    pystac.Item.from_dict({**item, "links": links}).validate()
    # What pystac has read is what was written: the raw fields are checked as well.
    _validator().validate(dict(item), pystac.STACObjectType.ITEM, str(item["stac_version"]), _uris(item))


def _uris(item: Json) -> list[str]:
    uris = item["stac_extensions"]
    assert isinstance(uris, list)
    return [str(uri) for uri in uris]
