"""The page of a run in Chromium, at the widths of a phone, a tablet and a desk."""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

from tests.browser.sample import hostile, sample
from tests.peers.programs import programs

pytestmark = [
    pytest.mark.long,
    pytest.mark.timeout(300),
    pytest.mark.skipif(not shutil.which("chromium"), reason="needs Chromium: apt-get install chromium"),
]

SIZES: Final = ("phone", "tablet", "desk")
PAGES: Final = {"few": lambda: sample(30), "many": lambda: sample(1200), "hostile": hostile}
Seen = dict[str, Any]


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Seen]:
    """What a browser has seen of each page, by the name of the page and then by size."""
    folder = tmp_path_factory.mktemp("pages")
    for name, made in PAGES.items():
        (folder / f"{name}.html").write_text(made())
    look = Path(__file__).with_name("look.py")
    command = [str(programs("browser") / "python"), str(look), *(f"{folder}/{name}.html" for name in PAGES)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=280)  # noqa: S603 - ours
    assert ended.returncode == 0, ended.stderr
    found: dict[str, Seen] = json.loads(ended.stdout)
    return {Path(path).stem: what for path, what in found.items()}


def each(check: Callable[[Seen], object]) -> Callable[[dict[str, Seen]], dict[tuple[str, str], object]]:
    """Return what makes a finding for each page and size."""
    return lambda seen: {(name, size): check(seen[name][size]) for name in PAGES for size in SIZES}


def same(value: object) -> dict[tuple[str, str], object]:
    return {(name, size): value for name in PAGES for size in SIZES}


def test_nothing_is_on_the_console_and_nothing_is_asked_of_the_network(seen: dict[str, Seen]) -> None:
    assert each(lambda one: one["said"])(seen) == same([])


def test_no_page_is_wider_than_the_screen(seen: dict[str, Seen]) -> None:
    assert each(lambda one: one["overflow"])(seen) == same(0)


def test_the_name_of_a_policy_is_not_broken(seen: dict[str, Seen]) -> None:
    assert [seen["few"][size]["lines of a policy"] for size in SIZES] == [1, 1, 1]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(seen: dict[str, Seen], scheme: str) -> None:
    assert each(lambda one: one[scheme])(seen) == same([])


@pytest.mark.parametrize("size", SIZES)
def test_the_table_is_filtered_by_a_text_and_by_a_state(seen: dict[str, Seen], size: str) -> None:
    by_name, by_state, by_nothing, again = seen["few"][size]["filtered"]
    assert (by_name["rows"], by_name["count"]) == (1, "1 of 30 items.")
    assert (by_state["rows"], by_state["count"]) == (2, "2 of 30 items.")
    assert (by_nothing["rows"], by_nothing["count"]) == (0, "0 of 30 items.")
    assert again["rows"] == 30


@pytest.mark.parametrize("size", SIZES)
def test_the_script_finds_and_sorts_items_that_are_no_rows(seen: dict[str, Seen], size: str) -> None:
    many = seen["many"][size]
    assert (many["rows"], many["count"]) == (300, "1,200 of 1,200 items, the first 300 of them shown.")
    assert many["found"] == {"rows": 1, "first": "S1A_OPER_AUX_RESORB_OPOD_1199", "links": 2}
    assert many["sorted"]["up"].endswith("_0000")
    assert many["more"] == 600
    if size == "desk":
        assert many["sorted"]["down"].endswith("_1199")
        assert many["sorted"]["said"] == "descending"


@pytest.mark.parametrize("size", SIZES)
def test_everything_can_be_reached_with_the_keyboard(seen: dict[str, Seen], size: str) -> None:
    reached = seen["few"][size]["with the keyboard"]
    assert reached[:2] == (["state", "Item"] if size == "desk" else ["state", "order"])


def test_30_items_are_a_few_screens_of_a_phone(seen: dict[str, Seen]) -> None:
    assert seen["few"]["phone"]["height"] < 7000


def test_without_a_script_the_items_are_there_and_the_tools_are_not(seen: dict[str, Seen]) -> None:
    assert seen["few"]["without a script"] == {"rows": 30, "tools": False, "count": "30 items, failed ones first."}
    assert seen["many"]["without a script"]["rows"] == 300
    assert "The first 300 of 1,200 items" in seen["many"]["without a script"]["count"]
