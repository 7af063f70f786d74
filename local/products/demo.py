"""The products that the demo station offers, family by family."""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from functools import partial

from local.products import formats
from local.products.product import OPEN_END, Product, at, compact

DEMO_START = at("20240325T090000")
DEMO_END = at("20240325T092500")

_KB = 1024
_MB = 1024 * _KB
_UNPARSEABLE_OPEN_END = "99999999T999999"
_PUBLICATION_DELAY = timedelta(minutes=7)


def demo_products() -> Iterator[Product]:
    """Every product without a defect."""
    yield from _restituted_orbits()
    yield from _predicted_orbits()
    yield from _orbit_scenarios()
    yield from _precise_orbits()
    yield from _sentinel1_parameters()
    yield from _sentinel2_archives()
    yield from _sentinel3_archives()
    yield from _data_files()


def _restituted_orbits() -> Iterator[Product]:
    for generated, start, end in (
        ("20240325T085001", "20240325T044646", "20240325T080416"),
        ("20240325T102814", "20240325T062530", "20240325T094300"),
        ("20240325T101002", "20240325T060729", "20240325T092459"),  # ends within the window
        ("20240325T120702", "20240325T080414", "20240325T112144"),
        ("20240325T125307", "20240325T090000", "20240325T092500"),  # as long as the window
    ):
        yield _orbit("AUX_RESORB", "OPER_AUX_RESORB_OPOD", generated, at(start), at(end))


def _predicted_orbits() -> Iterator[Product]:
    for generated, start, end in (
        ("20240325T044855", "20240325T035300", "20240325T102800"),
        ("20240325T062732", "20240325T053140", "20240325T120640"),
        ("20240325T080611", "20240325T071044", "20240325T134544"),
        ("20240325T094432", "20240325T084948", "20240325T152448"),
        ("20240325T095501", "20240325T090001", "20240325T153501"),  # starts within the window
    ):
        yield _orbit("AUX_PREORB", "OPER_AUX_PREORB_OPOD", generated, at(start), at(end))
    for day in (17, 18, 19, 23, 24, 25):
        start_of_week = at(f"202403{day}T021411")
        end_of_week = start_of_week + timedelta(days=7)
        name = f"S1A_OPER_MPL_ORBPRE_{compact(start_of_week)}_{compact(end_of_week)}_0001.EOF"
        first = start_of_week, start_of_week + timedelta(hours=4)
        build = partial(formats.orbit_file, name, "MPL_ORBPRE", *first, _spelled(end_of_week))
        yield _made(name, "OPER_MPL_ORBPRE", "sentinel-1a", start_of_week, end_of_week, start_of_week, build)


def _orbit_scenarios() -> Iterator[Product]:
    for version, day in ((24, "20140403T210500"), (25, "20240115T150704")):
        name = f"S1A_OPER_MPL_ORBSCT_{day}_{_UNPARSEABLE_OPEN_END}_{version:04d}.EOF"
        start = at(day)
        first = start, start + timedelta(seconds=60)
        build = partial(formats.orbit_file, name, "MPL_ORBSCT", *first, "9999-99-99T99:99:99")
        yield _made(name, "OPER_MPL_ORBSCT", "sentinel-1a", start, OPEN_END, start, build)


def _precise_orbits() -> Iterator[Product]:
    start, end = at("20240324T225942"), at("20240326T005942")
    stem = f"S1A_OPER_AUX_POEORB_OPOD_20240414T070750_V{compact(start)}_{compact(end)}"
    orbit = partial(formats.orbit_file, f"{stem}.EOF", "AUX_POEORB", start, end, _spelled(end))
    builds: dict[str, Callable[[], bytes]] = {
        f"{stem}.EOF": orbit,
        f"{stem}.zip": lambda: formats.zip_archive({f"{stem}.EOF": orbit()}),
    }
    for name, build in builds.items():
        yield _made(name, "OPER_AUX_POEORB_OPOD", "sentinel-1a", start, end, at("20240414T070750"), build)


def _sentinel1_parameters() -> Iterator[Product]:
    for day in ("20240323T000000", "20240325T000000"):
        name = f"S1A_OPER_AUX_OBMEMC_PDMC_{day}.xml"
        start = at(day)
        build = partial(formats.parameter_file, name, 8_000)
        yield _made(name, "OPER_AUX_OBMEMC_PDMC", "sentinel-1a", start, start + timedelta(days=7), start, build)
    for start_text, generated in (("20230403T080000", "20230403T080000"), ("20240101T080000", "20240301T080000")):
        name = f"S1A_AUX_PP2_V{start_text}_G{generated}.SAFE"
        build = partial(formats.parameter_file, name, 5_000)
        yield _made(name, "AUX_PP2", "sentinel-1a", at(start_text), OPEN_END, at(generated), build)


def _sentinel2_archives() -> Iterator[Product]:
    for generated, start, end, size in (
        ("20240324T000000", "20240324T210000", "20240325T090000", 700 * _KB),  # ends as the window starts
        ("20240324T120000", "20240325T030000", "20240325T150000", 5 * _MB),
        ("20240324T190000", "20240325T090000", "20240325T210000", 8 * _MB),  # starts with the window
    ):
        name = f"S2__OPER_AUX_ECMWFD_PDMC_{generated}_V{start}_{end}.TGZ"
        build = partial(_tgz, name, size)
        yield _made(name, "OPER_AUX_ECMWFD_PDMC", "sentinel-2a", at(start), at(end), at(generated), build)
    stem = "S2__OPER_AUX_UT1UTC_PDMC_20240321T000000_V20240322T000000_20250322T000000"
    for name, build in (
        (f"{stem}.zip", partial(_zip, f"{stem}.zip", 90 * _KB)),
        (f"{stem}.TGZ", partial(_tgz, f"{stem}.TGZ", 120 * _KB)),
    ):
        validity = at("20240322T000000"), at("20250322T000000")
        yield _made(name, "OPER_AUX_UT1UTC_PDMC", "sentinel-2a", *validity, at("20240321T000000"), build)


def _sentinel3_archives() -> Iterator[Product]:
    for unit, validity in (
        ("A", "20160216T192404_99991231T235959_20220330T090651"),
        ("A", "20160216T192404_99991231T235959_20240624T085540"),
        ("B", "20180425T191855_99991231T235959_20240507T090659"),
    ):
        yield _sentinel3(f"S3{unit}_AX___OSF_AX_{validity}", "EUM_O_AL", ("osf.nc", 40 * _KB))
    for kind, validity, size in (
        ("MA1", "20240325T030000_20240325T150000_20240325T154512", 3 * _MB),
        ("MA1", "20240325T090001_20240325T210001_20240325T214512", 300 * _KB),  # starts within the window
        ("MF1", "20240325T000000_20240325T120000_20240324T185510", 3 * _MB),
        ("MF1", "20240324T212459_20240325T092459_20240324T161003", 300 * _KB),  # ends within the window
    ):
        files = ("ecmwf.nc", size), ("levels.nc", 64 * _KB)
        yield _sentinel3(f"S3__AX___{kind}_AX_{validity}", "ECW_O_SN", *files)
    for start_of_name, size in (
        ("S3__SR_2_MLM_AX_20160216T000000_20991231T235959_20190912T120000", 6 * _MB),
        ("S3A_OL_1_CAL_AX_20240320T000000_20991231T235959_20240319T120000", 2 * _MB),
        ("S3B_OL_1_CAL_AX_20240321T000000_20991231T235959_20240320T120000", 1 * _MB),
    ):
        yield _sentinel3(start_of_name, "MPC_O_AL", ("annotations.nc", 4 * _KB), ("values.nc", size))


def _data_files() -> Iterator[Product]:
    name = "S00__ADF_ECMWF_20240325T090000_20240325T120000_20240324T190000.zarr.zip"
    validity = at("20240325T090000"), at("20240325T120000")
    build = partial(formats.zarr, name, ("msl", "tcwv"), chunks=20, chunk_size=64 * _KB)
    yield _made(name, "S00__ADF_ECMWF", "sentinel-3a", *validity, at("20240324T190000"), build)
    name = "S00__ADF_GETAS_20000101T000000_99991231T235959_20240101T000000.zarr.zip"
    build = partial(formats.zarr, name, ("elevation", "geoid"), chunks=24, chunk_size=128 * _KB)
    yield _made(name, "S00__ADF_GETAS", "sentinel-3a", at("20000101T000000"), OPEN_END, at("20240101T000000"), build)
    name = "S2A_ADF_REOB2_20150622T000000_99991231T235959_20240131T120000.zip"
    build = partial(formats.nested, name, 2 * _MB)
    yield _made(name, "S2__ADF_REOB2", "sentinel-2a", at("20150622T000000"), OPEN_END, at("20240131T120000"), build)


def _orbit(kind: str, product_type: str, generated: str, start: datetime, end: datetime) -> Product:
    name = f"S1A_{product_type}_{generated}_V{compact(start)}_{compact(end)}.EOF"
    build = partial(formats.orbit_file, name, kind, start, end, _spelled(end))
    return _made(name, product_type, "sentinel-1a", start, end, at(generated), build)


def _sentinel3(start_of_name: str, centre: str, *files: tuple[str, int]) -> Product:
    name = f"{start_of_name}{'_' * 19}{centre}_001.SEN3.zip"
    product_type = name[4:15].lstrip("_")
    start, end, generated = (at(name[place : place + 15]) for place in (16, 32, 48))
    platform = "sentinel-3b" if name.startswith("S3B") else "sentinel-3a"
    build = partial(formats.sentinel3, name, files)
    return _made(name, product_type, platform, start, end, generated, build)


def _zip(name: str, size: int) -> bytes:
    return formats.zip_archive(formats.header_and_data(name, size))


def _tgz(name: str, size: int) -> bytes:
    return formats.tar_gz(formats.header_and_data(name, size))


def _made(
    name: str,
    product_type: str,
    platform: str,
    start: datetime,
    end: datetime,
    generated: datetime,
    build: Callable[[], bytes],
) -> Product:
    return Product(name, product_type, platform, start, end, generated + _PUBLICATION_DELAY, generated, build)


def _spelled(instant: datetime) -> str:
    return instant.strftime("%Y-%m-%dT%H:%M:%S")
