"""The sample products of the demo's station: which there are, and the station that they make up.

The names, types and validities are those of real auxiliary products; the content is made up. The demo asks for
`DEMO_PRODUCT_TYPES` between `DEMO_START` and `DEMO_END`: most products are valid during all of that window, and
some miss it by a second.
"""

from functools import cache
from itertools import groupby
from pathlib import Path

from local.products.defects import FAULTY_PRODUCT_TYPE, Defect, FaultySample, faulty_samples
from local.products.demo import DEMO_END, DEMO_START, demo_products
from local.products.product import OPEN_END, STATION_COLLECTION, Product, asset, item, odata_product

__all__ = [
    "AS_LONG_AS_WINDOW",
    "DEMO_END",
    "DEMO_PRODUCT_TYPES",
    "DEMO_START",
    "ENDS_WITHIN_WINDOW",
    "FAULTY_PRODUCT_TYPE",
    "NESTED_ARCHIVE",
    "OPEN_END",
    "OPEN_ENDED",
    "ORBIT_AND_ARCHIVE",
    "STARTS_WITHIN_WINDOW",
    "STATION_COLLECTION",
    "TWO_ARCHIVES",
    "UPPER_CASE_ARCHIVE",
    "ZARR_ARCHIVE",
    "Defect",
    "FaultySample",
    "Product",
    "catalogue",
    "faulty",
    "odata_products",
    "product",
    "write_samples",
]

# Products by name.
AS_LONG_AS_WINDOW = "S1A_OPER_AUX_RESORB_OPOD_20240325T125307_V20240325T090000_20240325T092500.EOF"
ENDS_WITHIN_WINDOW = "S1A_OPER_AUX_RESORB_OPOD_20240325T101002_V20240325T060729_20240325T092459.EOF"
STARTS_WITHIN_WINDOW = "S1A_OPER_AUX_PREORB_OPOD_20240325T095501_V20240325T090001_20240325T153501.EOF"
OPEN_ENDED = "S1A_OPER_MPL_ORBSCT_20240115T150704_99999999T999999_0025.EOF"
UPPER_CASE_ARCHIVE = "S2__OPER_AUX_ECMWFD_PDMC_20240324T190000_V20240325T090000_20240325T210000.TGZ"
ZARR_ARCHIVE = "S00__ADF_GETAS_20000101T000000_99991231T235959_20240101T000000.zarr.zip"
NESTED_ARCHIVE = "S2A_ADF_REOB2_20150622T000000_99991231T235959_20240131T120000.zip"

# Items by id, each one with two assets.
ORBIT_AND_ARCHIVE = "S1A_OPER_AUX_POEORB_OPOD_20240414T070750_V20240324T225942_20240326T005942"
TWO_ARCHIVES = "S2__OPER_AUX_UT1UTC_PDMC_20240321T000000_V20240322T000000_20250322T000000"


@cache
def catalogue() -> tuple[Product, ...]:
    """Every product without a defect; those that share an item follow each other."""
    return tuple(sorted(demo_products(), key=lambda each: (each.item_id, each.name)))


DEMO_PRODUCT_TYPES = tuple(sorted({each.product_type for each in catalogue()}))


def product(name: str) -> Product:
    """One product.

    Raises:
        KeyError: there is none of that name.
    """
    return {each.name: each for each in catalogue()}[name]


def faulty(defect: Defect) -> FaultySample:
    """The sample that has a defect."""
    return next(sample for sample in faulty_samples() if sample.defect is defect)


def write_samples(folder: Path, base_url: str) -> list[dict[str, object]]:
    """Write the file of every product, faulty ones included, and describe them.

    Args:
        folder: receives the files, each one named by its product's UUID; it exists.
        base_url: of the station, without a slash at its end, for the hrefs.

    Returns:
        The station's STAC items, one for each item id.
    """
    items = []
    for _, group in groupby(catalogue(), key=lambda each: each.item_id):
        products = list(group)
        assets: dict[str, object] = {each.name: _write(each, folder, base_url) for each in products}
        items.append(item(products, assets))
    for sample in faulty_samples():
        described = _write(sample.product, folder, base_url)
        items.append(item([sample.product], sample.assets(described)))
        if sample.defect is Defect.NOT_FOUND:
            (folder / str(sample.product.uuid)).unlink()
    return items


def odata_products(folder: Path) -> list[dict[str, object]]:
    """Describe every product without a defect as OData does; `write_samples` has written their files into `folder`."""
    return [odata_product(each, (folder / str(each.uuid)).read_bytes()) for each in catalogue()]


def _write(each: Product, folder: Path, base_url: str) -> dict[str, object]:
    content = each.build()
    (folder / str(each.uuid)).write_bytes(content)
    return asset(each, content, base_url)
