"""What is written into a log: its work, one line a minute for an outage, and nothing that a terminal obeys."""

import io
import logging

import pytest

from shared.errors import AuxipError, Busy, ItemFailed, Rejected, Retryable
from shared.logs import LineFormatter, Throttle, about, clean_lines_of
from shared.texts import printable, printable_lines

HOSTILE = "a\x1b[2J\x07b\x9b31mc\r\nforged line\u202ed\u2028e"


@pytest.fixture
def written() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def logger(written: io.StringIO) -> logging.Logger:
    made = logging.Logger("shared.test")
    handler = logging.StreamHandler(written)
    handler.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
    made.addHandler(handler)
    clean_lines_of(made)
    return made


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
    clean_lines_of(logger)
    assert isinstance(formatter, LineFormatter)
    assert logger.handlers[0].formatter is formatter


def test_one_thing_is_logged_once_in_a_while_and_another_beside_it() -> None:
    throttle = Throttle(pause=3600)
    assert [throttle.allows(what) for what in ("a", "a", "b", "a")] == [True, False, True, False]
    assert Throttle(pause=0).allows("a")
