"""Writes the page: a template that escapes whatever it is given, one style, one script, no other source."""

import hashlib
import platform
import time
from base64 import b64encode
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from shared.answer import Answer, Counts, Status
from shared.models import Run
from shared.page.asked import asked_of
from shared.page.failures import causes_of
from shared.page.gathering import Gathered
from shared.page.timeline import BINS, Timeline, area
from shared.page.units import duration, size
from shared.report import notice_sentence
from shared.texts import printable, printable_lines

_TEMPLATES: Final = Path(__file__).with_name("templates")
_MOST_LINES: Final = 50
_TONES: Final = {
    Status.SUCCESSFUL: ("good", "\N{CHECK MARK}"),
    Status.PARTIAL: ("warn", "!"),
    Status.FAILED: ("bad", "\N{BALLOT X}"),
    Status.EMPTY: ("warn", "\N{EMPTY SET}"),
    Status.CANCELLED: ("warn", "\N{EN DASH}"),
    Status.ACCEPTED: ("calm", "\N{RIGHTWARDS ARROW}"),
    Status.WORKING: ("calm", "\N{RIGHTWARDS ARROW}"),
}


class Band(NamedTuple):
    """A time in which a system could not be used, in bins of the timeline."""

    left: float
    width: float


class Verdict(NamedTuple):
    """The run in one sentence, with the tone of its colour and a mark that says the same without a colour."""

    tone: str
    mark: str
    sentence: str


def page_of(run: Run, answer: Answer, gathered: Gathered, report_url: str = "") -> str:
    """Return the page of a run.

    Args:
        run: its record, with its end if it has one.
        answer: about the run.
        gathered: its items, all of them.
        report_url: of report.json where people read it, if there is such a place.
    """
    counts, rows = answer.counts or Counts(), gathered.rows()
    packed, packed_rows = gathered.packed()
    timeline = gathered.timeline
    return (
        _environment()
        .get_template("page.html")
        .render(
            run=run,
            answer=answer,
            counts=counts,
            verdict=verdict_of(answer, counts),
            asked=asked_of(run.request),
            causes=causes_of(answer, gathered.groups),
            warned=gathered.warned,
            notices=[notice_sentence(notice) for notice in answer.notices[:_MOST_LINES]],
            timeline=timeline,
            bands=[_band(timeline, wait.since, wait.until) for wait in run.waits],
            rows=rows,
            packed=packed,
            total=len(rows) + packed_rows,
            left_out=max(0, sum(gathered.counted.values()) - len(rows) - packed_rows),
            counted=gathered.counted,
            collection_url=gathered.collection_url,
            report_url=report_url,
            written=time.time(),
            software=_version(),
            python=platform.python_version(),
        )
    )


def verdict_of(answer: Answer, counts: Counts) -> Verdict:
    """Return the run in one sentence."""
    tone, mark = _TONES[answer.status]
    return Verdict(tone, mark, _sentence(answer, counts))


def _sentence(answer: Answer, counts: Counts) -> str:
    well = counts.items - counts.failed
    match answer.status:
        case Status.SUCCESSFUL:
            return f"{_all(counts.items)} as {_it(counts.items)} should be: {_done(counts)}."
        case Status.PARTIAL:
            done = _done(counts.model_copy(update={"failed": 0}))
            return f"{counts.failed:,} of {_items(counts.items)} failed. {_all_others(well)}: {done}."
        case Status.FAILED if answer.error is not None:
            return f"The run failed as a whole: {answer.error.reason}"
        case Status.FAILED:
            return f"{'The item' if counts.items == 1 else f'All {counts.items:,} items'} failed."
        case Status.EMPTY:
            return "The search found nothing."
        case Status.CANCELLED:
            return f"The run was cancelled. Of {_items(counts.items)}: {_done(counts)}."
        case _:
            return f"The run goes on. Of {_items(counts.items)} so far: {_done(counts)}."


def _items(count: int) -> str:
    return f"{count:,} {'item' if count == 1 else 'items'}"


def _all(count: int) -> str:
    return "The item is" if count == 1 else f"All {count:,} items are"


def _all_others(count: int) -> str:
    return "The other one is as it should be" if count == 1 else f"The other {count:,} are as they should be"


def _it(count: int) -> str:
    return "it" if count == 1 else "they"


def _done(counts: Counts) -> str:
    """Return what was done, by kind; what does not occur is left out."""
    kinds = (
        (counts.staged, "staged"),
        (counts.expanded, "of these expanded"),
        (counts.repaired, "repaired"),
        (counts.skipped, "skipped"),
        (counts.failed, "failed"),
    )
    return ", ".join(f"{count:,} {kind}" for count, kind in kinds if count) or "none done"


def _band(timeline: Timeline, since: float, until: float) -> Band:
    left = timeline.place(since)
    return Band(round(left, 2), round(max(timeline.place(until) - left, 0.4), 2))


@cache
def _environment() -> Environment:
    made = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style, script = ((_TEMPLATES / name).read_text("utf-8") for name in ("page.css", "page.js"))
    made.globals |= {
        "style": Markup(style),  # noqa: S704 - our own file
        "script": Markup(script),  # noqa: S704 - our own file
        "policy": f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}'; "
        "img-src data:; base-uri 'none'; form-action 'none'",
        "bins": BINS,
        "area": area,
        "icon": _icon,
    }
    made.filters |= {
        "instant": _instant,
        "clock": _clock,
        "duration": duration,
        "lines": _lines,
        "number": _number,
        "size": size,
    }
    return made


def _shown(value: Any) -> Any:
    """Return what is written for a value: a text without control characters and overrides of its direction."""
    return printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _lines(text: str) -> Markup:
    """Return a text with its line breaks, and otherwise as every text is written."""
    return escape(printable_lines(text))


def _hash(text: str) -> str:
    """Return the source of an inline element in a Content-Security-Policy (CSP level 3, section 2.3.1)."""
    return f"sha256-{b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _icon(tone: str) -> str:
    """Return the icon of the browser's tab, in the colour of the verdict."""
    colour = {"good": "#12805c", "warn": "#b26a00", "bad": "#c62828"}.get(tone, "#1f5fa8")
    circle = f"<circle cx='8' cy='8' r='7' fill='{colour}'/>"
    drawn = f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'>{circle}</svg>"
    return f"data:image/svg+xml,{quote(drawn)}"


def _instant(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S} UTC"


def _number(count: float) -> str:
    return f"{count:,.0f}" if count >= 10 or count == int(count) else f"{count:.1f}"


def _clock(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%H:%M:%S}"


def _version() -> str:
    try:
        return version("auxip-workers")
    except PackageNotFoundError:
        return "unknown"
