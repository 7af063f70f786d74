"""The files by which a process shows to health checks that it works."""

import logging
import os
import time
from pathlib import Path

import pytest

from workers.health import touch


def test_a_file_that_is_there_is_touched(tmp_path: Path) -> None:
    file = tmp_path / "alive"
    file.touch()
    os.utime(file, (0, 0))
    touch(file)
    assert time.time() - file.stat().st_mtime < 60


def test_where_no_file_can_be_written_the_work_goes_on_and_the_log_says_so_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            touch(tmp_path / "none" / "alive")
    assert [record.getMessage().partition(": ")[0] for record in caplog.records] == [
        "health checks cannot see that this process works"
    ]
