"""What is written into a log: its work, one line a minute for an outage, and nothing that a terminal obeys."""

import io
import json
import logging
import os
from datetime import datetime, timedelta

import pytest

from shared.errors import AuxipError, Busy, ItemFailed, Rejected, Retryable
from shared.logs import LineFormatter, LogFormat, Throttle, about, format_lines_of
from shared.texts import printable, printable_lines

HOSTILE = "a\x1b[2J\x07b\x9b31mc\r\nforged line\u202ed\u2028e"


@pytest.fixture
def written() -> io.StringIO:
    return io.StringIO()


def logger_of(written: io.StringIO, form: LogFormat) -> logging.Logger:
    made = logging.Logger("shared.test")
    handler = logging.StreamHandler(written)
    handler.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
    made.addHandler(handler)
    format_lines_of(made, form)
    return made


@pytest.fixture
def logger(written: io.StringIO) -> logging.Logger:
    return logger_of(written, "text")


@pytest.fixture
def in_json(written: io.StringIO) -> logging.Logger:
    return logger_of(written, "json")


def obeyed(text: str) -> list[str]:
    return [each for each in text if not each.isprintable()]


@pytest.mark.parametrize("text", [HOSTILE, "".join(map(chr, range(0x3000))), "\ud800"])
def test_no_text_holds_what_a_terminal_obeys(text: str) -> None:
    assert obeyed(printable(text)) == []
    assert set(obeyed(printable_lines(text))) <= {"\n", "\t"}


def test_a_text_that_can_be_printed_is_left_as_it_is() -> None:
    assert printable("Größe 5 µm") == "Größe 5 µm"


@pytest.mark.parametrize("kind", [AuxipError, Rejected, ItemFailed, Retryable, Busy])
def test_the_reason_of_an_error_is_one_line_that_can_be_printed(kind: type[AuxipError]) -> None:
    assert obeyed(str(kind("a-code", HOSTILE))) == []


def test_a_line_says_what_it_is_about(logger: logging.Logger, written: io.StringIO) -> None:
    with about(run="r1", item="k1", step="stage_item", archive=""), about(attempt=2):
        logger.warning("it is %s", "slow")
    logger.warning("after")
    assert written.getvalue() == "WARNING it is slow run=r1 item=k1 step=stage_item attempt=2\nWARNING after\n"


def test_a_line_of_ours_is_one_line(logger: logging.Logger, written: io.StringIO) -> None:
    logger.error("the station says %s", HOSTILE)
    assert obeyed(written.getvalue()) == ["\n"]


def test_a_traceback_keeps_its_lines_and_loses_the_rest(logger: logging.Logger, written: io.StringIO) -> None:
    try:
        int(HOSTILE)
    except ValueError:
        logger.exception("failed")
    assert "Traceback" in written.getvalue()
    assert set(obeyed(written.getvalue())) == {"\n"}


def test_a_second_formatting_changes_nothing(logger: logging.Logger) -> None:
    formatter = logger.handlers[0].formatter
    format_lines_of(logger, "text")
    assert isinstance(formatter, LineFormatter)
    assert logger.handlers[0].formatter is formatter


def test_a_line_in_json_has_its_work_in_fields(in_json: logging.Logger, written: io.StringIO) -> None:
    with about(run="r1", item="k1", step="stage_item", archive=""), about(attempt=2):
        in_json.warning("it is %s", "slow")
    line = json.loads(written.getvalue())
    assert datetime.fromisoformat(line.pop("time")).utcoffset() == timedelta(0)
    assert line == {
        "level": "WARNING",
        "logger": "shared.test",
        "process": os.getpid(),
        "message": "it is slow",
        "run": "r1",
        "item": "k1",
        "step": "stage_item",
        "attempt": "2",
    }


def test_a_record_in_json_is_one_line_whatever_it_says(in_json: logging.Logger, written: io.StringIO) -> None:
    try:
        int(HOSTILE)
    except ValueError:
        in_json.exception("the station says %s", HOSTILE)
    assert obeyed(written.getvalue()) == ["\n"]
    assert "Traceback" in json.loads(written.getvalue())["exception"]


def test_one_thing_is_logged_once_in_a_while_and_another_beside_it() -> None:
    throttle = Throttle(pause=3600)
    assert [throttle.allows(what) for what in ("a", "a", "b", "a")] == [True, False, True, False]
    assert Throttle(pause=0).allows("a")
