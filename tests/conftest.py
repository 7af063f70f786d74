"""Rules of the whole suite: a test that is skipped without a stated reason fails the run."""

from collections.abc import Generator

import pytest

_UNSTATED = {"", "unconditional skip", "Skipped"}
_silent = pytest.StashKey[list[str]]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_silent] = []


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.skipped and isinstance(report.longrepr, tuple):
        reason = str(report.longrepr[2]).removeprefix("Skipped: ").strip()
        if reason in _UNSTATED:
            item.config.stash[_silent].append(item.nodeid)
    return report


def pytest_sessionfinish(session: pytest.Session) -> None:
    if session.config.stash[_silent] and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for nodeid in config.stash[_silent]:
        terminalreporter.write_line(f"skipped without a stated reason, which fails the run: {nodeid}", red=True)
