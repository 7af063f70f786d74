"""Draws a picture of each selection policy, by having the policy itself select: `python -m scripts.pictures`."""

import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, NamedTuple

from shared.selection import POLICIES, PolicyName, PolicySelection, choose
from shared.selection.policies import Facts
from shared.stac.item import Found, Item

FOLDER: Final = Path(__file__).parents[1] / "docs" / "images" / "policies"
DAY: Final = datetime(2024, 3, 25, tzinfo=UTC)
START, END, BEFORE, AFTER = 10.5, 13.0, 0.5, 1.0
"""The window in hours of the day; with its margins it is [10, 14]."""


class Validity(NamedTuple):
    """An item of a picture: its validity in hours of the day, and its generation time as a day of the month."""

    start: float
    end: float
    generated: int


COVERED: Final = (
    Validity(2, 20, 1),
    Validity(6, 15, 4),
    Validity(8, 23, 2),
    Validity(10, 16, 3),
    Validity(11.25, 13.5, 6),
    Validity(0, 8, 5),
    Validity(13, 24, 7),
    Validity(16, 22, 8),
)
NOT_COVERED: Final = (Validity(6, 12, 1), Validity(10.5, 13.75, 2), Validity(11.5, 17, 3), Validity(16, 22, 4))
"""For the policies of the overlap: where an item covers the window, it is the largest overlap."""

_WIDTH, _LEFT, _ROW, _TOP, _HOUR = 720, 60, 24, 44, 23.0
_STYLE: Final = """
  text { font: 13px sans-serif; fill: #1f2933 } .small { font-size: 11px; fill: #52606d }
  .name { font-size: 15px; font-weight: bold } .page { fill: #ffffff; stroke: #cbd2d9 }
  .margins { fill: #dbeafe } .window { fill: #bfdbfe }
  .out { fill: #f5f7fa; stroke: #9aa5b1; stroke-dasharray: 4 3 } .taken { fill: #cbd2d9; stroke: #616e7c }
  .selected { fill: #2f9e44; stroke: #1b6e2c }
"""


def selected_by(policy: PolicyName, validities: tuple[Validity, ...]) -> set[str]:
    """Return the ids of the items that a policy selects, as the product selects them."""
    found = [Found(item_id=each.id, item=each) for each in _items(validities)]
    return {one.item_id for one in choose(_selection(policy), lambda _: found)}


def _selection(policy: PolicyName) -> PolicySelection:
    return PolicySelection(
        policies=(policy,),
        product_types=("AUX",),
        start=DAY + timedelta(hours=START),
        end=DAY + timedelta(hours=END),
        before=timedelta(hours=BEFORE),
        after=timedelta(hours=AFTER),
    )


def _items(validities: tuple[Validity, ...]) -> list[Item]:
    return [
        Item(
            id=str(number),
            properties={
                "start_datetime": (DAY + timedelta(hours=each.start)).isoformat(),
                "end_datetime": (DAY + timedelta(hours=each.end)).isoformat(),
                "processing:datetime": DAY.replace(day=each.generated).isoformat(),
            },
            assets={},
        )
        for number, each in enumerate(validities, start=1)
    ]


def picture(policy: PolicyName) -> str:
    """Return the picture of a policy as SVG: a bar for each item, and which of them it selects."""
    validities = NOT_COVERED if policy.startswith("LargestOverlap") else COVERED
    selected = selected_by(policy, validities)
    height = _TOP + _ROW * len(validities) + 40
    said = f"selects {', '.join(sorted(selected))}" if selected else "selects nothing"
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img"',
        f' aria-label="{policy} {said}">',
        f"<style>{_STYLE}</style>",
        f'<rect class="page" x="0.5" y="0.5" width="{_WIDTH - 1}" height="{height - 1}" rx="6"/>',
        f'<text class="name" x="12" y="24">{policy} {said}</text>',
        f'<text class="small" x="{_WIDTH - 12}" y="24" text-anchor="end">G: day of March</text>',
        *_window(policy, _ROW * len(validities)),
        *_bars(policy, validities, selected),
        *_legend(height - 14),
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _window(policy: PolicyName, height: int) -> Iterator[str]:
    needs = POLICIES[policy].needs
    if needs == ("start", "end"):
        for name, start, end in (("margins", START - BEFORE, END + AFTER), ("window", START, END)):
            width = _x(end) - _x(start)
            yield f'<rect class="{name}" x="{_x(start)}" y="{_TOP - 6}" width="{width}" height="{height}"/>'
    elif needs:
        yield f'<rect class="window" x="{_x(START) - 2}" y="{_TOP - 6}" width="4" height="{height}"/>'


def _bars(policy: PolicyName, validities: tuple[Validity, ...], selected: set[str]) -> Iterator[str]:
    takes, window = POLICIES[policy].takes, _selection(policy).window()
    for row, (item, each) in enumerate(zip(_items(validities), validities, strict=True)):
        taken = takes is None or takes(Facts(item), window)
        state = "selected" if item.id in selected else "taken" if taken else "out"
        y = _TOP + _ROW * row
        yield (
            f'<rect class="{state}" x="{_x(each.start)}" y="{y - 2}" width="{_x(each.end) - _x(each.start)}" '
            'height="14" rx="3"/>'
        )
        yield f'<text x="16" y="{y + 10}">{"✓" if item.id in selected else "&#160;"} {item.id}</text>'
        yield f'<text class="small" x="{_WIDTH - 12}" y="{y + 10}" text-anchor="end">G {each.generated}</text>'


def _legend(y: int) -> Iterator[str]:
    states = (("selected", "selected"), ("taken", "considered"), ("out", "not considered"), ("window", "window"))
    for place, (state, meaning) in enumerate((*states, ("margins", "margins of the window"))):
        x = _LEFT + place * 126
        yield f'<rect class="{state}" x="{x}" y="{y - 10}" width="14" height="10"/>'
        yield f'<text class="small" x="{x + 20}" y="{y}">{meaning}</text>'


def _x(hour: float) -> float:
    return _LEFT + hour * _HOUR


def outdated() -> list[str]:
    """Return the policies whose committed picture differs from what the policy selects."""
    files = {policy: FOLDER / f"{policy}.svg" for policy in POLICIES}
    return [policy for policy, file in files.items() if not file.exists() or file.read_text("utf-8") != picture(policy)]


def main() -> None:
    """Draw the pictures that differ."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for policy in POLICIES:
        (FOLDER / f"{policy}.svg").write_text(picture(policy), "utf-8")
    sys.stdout.write(f"{FOLDER}\n")


if __name__ == "__main__":
    main()
