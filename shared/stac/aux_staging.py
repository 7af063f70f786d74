"""The STAC extension `aux_staging`: what we record at an asset, as an extension class of pystac.

Its schema is `schemas/aux_staging-1.0.0.json`. The prefix `auxip:` is not ours: the registered extension of that name
(https://home.rs-python.eu/auxip-stac-extension/v1.1.0/schema.json) allows `auxip:id` only.
"""

import json
from functools import cache
from importlib.resources import files
from typing import Any, Literal

import pystac
from pystac.extensions.base import ExtensionManagementMixin, PropertiesExtension

from shared.json_types import Json
from shared.stac.item import AUX_STAGING

SCHEMA_URI = "urn:stac-extension:aux-staging/v1.0.0/schema.json"
"""Names the schema in `stac_extensions`. It is a name and no address until the schema is published at one."""


class AuxStagingExtension(PropertiesExtension, ExtensionManagementMixin[pystac.Item]):
    """The fields of one asset; made with `AuxStagingExtension.ext(asset)`.

    Attributes:
        asset_href: of the asset.
        properties: all fields of the asset that STAC itself does not define.
    """

    name: Literal["aux_staging"] = "aux_staging"

    def __init__(self, asset: pystac.Asset) -> None:
        self.asset_href = asset.href
        self.properties = asset.extra_fields

    @classmethod
    def ext(cls, asset: pystac.Asset, add_if_missing: bool = False) -> "AuxStagingExtension":
        """Return the extension of an asset.

        Raises:
            ExtensionNotImplemented: the asset's item does not name the extension, and it is not to be added.
        """
        cls.ensure_owner_has_extension(asset, add_if_missing)
        return cls(asset)

    @classmethod
    def get_schema_uri(cls) -> str:
        """Return the URI that names the schema."""
        return SCHEMA_URI

    @property
    def etag(self) -> str | None:
        """The ETag that the store reports of the staged object."""
        return self._get_property(f"{AUX_STAGING}etag", str)

    @etag.setter
    def etag(self, value: str | None) -> None:
        self._set_property(f"{AUX_STAGING}etag", value)

    @property
    def manifest(self) -> str | None:
        """The href of the document that lists the members of an expanded archive."""
        return self._get_property(f"{AUX_STAGING}manifest", str)

    @manifest.setter
    def manifest(self, value: str | None) -> None:
        self._set_property(f"{AUX_STAGING}manifest", value)

    @property
    def source(self) -> dict[str, Any] | None:
        """The archive from which the asset was expanded: its name, href, ETag, size and checksum."""
        return self._get_property(f"{AUX_STAGING}source", dict)

    @source.setter
    def source(self, value: dict[str, Any] | None) -> None:
        self._set_property(f"{AUX_STAGING}source", value)


@cache
def schema() -> Json:
    """Return the extension's JSON schema."""
    text = files("shared.stac").joinpath("schemas/aux_staging-1.0.0.json").read_text("utf-8")
    loaded: Json = json.loads(text)
    return loaded
