"""The generation time: from the properties, else from every spelling of a product's name, else from the publication."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.selection import generation_time
from shared.stac.item import Item
from shared.times import format_instant
from tests.unit.making import item_of

CREATED = "2019-01-01T00:00:00Z"


def generated(item: Item) -> str | None:
    instant = generation_time(item)
    return None if instant is None else format_instant(instant)


NAMES = [
    ("S1A_AUX_PP2_V20200106T080000_G20200107T090000", "2020-01-07T09:00:00Z"),
    ("S1A_AUX_PP2_V20200106T080000_G20200107T090000.SAFE", "2020-01-07T09:00:00Z"),
    ("S1A_OPER_AUX_RESORB_OPOD_20230405T110702_V20230405T071044_20230405T102814", "2023-04-05T11:07:02Z"),
    ("S2__OPER_AUX_ECMWFD_PDMC_20190216T120000_V20190217T090000_20190217T210000", "2019-02-16T12:00:00Z"),
    ("S1A_OPER_AUX_POEORB_OPOD_20240414T070750_V20240324T225942_99999999T999999", "2024-04-14T07:07:50Z"),
    (
        "S3A_AX___OSF_AX_20160216T192404_99991231T235959_20240624T085540___________________EUM_O_AL_001.SEN3",
        "2024-06-24T08:55:40Z",
    ),
    ("S00__ADF_GETAS_20000101T000000_99991231T235959_20240101T000000.zarr", "2024-01-01T00:00:00Z"),
    ("S1A_OPER_AUX_OBMEMC_PDMC_20210123T000000", "2021-01-23T00:00:00Z"),
]
NAMES_WITHOUT = [
    "S1A_OPER_MPL_ORBPRE_20210214T021411_20210221T021411_0001",
    "S1A_OPER_MPL_ORBSCT_20200829T150704_99999999T999999_0025",
    "S3A_AX___OSF_AX_20160216T192404_99991231T235959_99999999T999999___________________EUM_O_AL_001.SEN3",
    "S1A_AUX_PP2_V20200106T080000_G20201306T080000",
    "S1A_AUX_PP2_V20200106T080000_G\N{FULLWIDTH DIGIT TWO}0200106T080000",
    "X",
]


@pytest.mark.parametrize(("name", "instant"), NAMES)
def test_a_name_tells_when_its_product_was_generated(name: str, instant: str) -> None:
    assert generated(item_of(name, properties={"created": CREATED})) == instant


@pytest.mark.parametrize(("name", "instant"), NAMES)
def test_the_name_of_an_asset_does_where_the_id_is_another(name: str, instant: str) -> None:
    assets = {"readme.txt": {"href": "http://h/r"}, f"{name}.zip": {"href": "http://h/x"}}
    assert generated(item_of("6f2c", properties={"created": CREATED}, assets=assets)) == instant


@pytest.mark.parametrize("name", NAMES_WITHOUT)
def test_without_it_in_the_name_the_publication_stands_for_it(name: str) -> None:
    assert generated(item_of(name, properties={"created": CREATED})) == CREATED


def test_the_property_goes_before_the_name() -> None:
    item = item_of(NAMES[0][0], properties={"processing:datetime": "2024-01-31T14:00:00+02:00", "created": CREATED})
    assert generated(item) == "2024-01-31T12:00:00Z"


@pytest.mark.parametrize("wrong", ["soon", "", None, 5, {}, "99991231T235959", "99999999T999999"])
def test_a_property_that_is_no_instant_counts_as_none(wrong: object) -> None:
    assert generated(item_of(NAMES[0][0], properties={"processing:datetime": wrong})) == NAMES[0][1]


@pytest.mark.parametrize("properties", [{}, {"created": "soon"}, {"created": 5}, {"published": CREATED}])
def test_where_nothing_tells_there_is_none(properties: dict[str, object]) -> None:
    assert generation_time(item_of("X", properties=properties)) is None


@given(name=st.text(min_size=1, max_size=200) | st.text("_.GVT0129", min_size=1, max_size=80))
def test_no_name_is_a_surprise(name: str) -> None:
    generation_time(item_of(name, properties={}))
