"""A process that is given a wrong clock has it wherever Python reads the time, and keeps its own monotonic one."""

import os
import subprocess
import sys
import time

import pytest

from tests.faults.system import skewed_clock

TELL = """
import time
from datetime import UTC, datetime
now = datetime.now(UTC)
assert isinstance(datetime.fromtimestamp(0, UTC), datetime) and issubclass(type(now), datetime)
print(time.time(), now.timestamp(), datetime.utcnow().replace(tzinfo=UTC).timestamp())
"""


@pytest.mark.parametrize("off", [3600.0, -3600.0])
def test_the_clock_of_a_process_is_off(off: float) -> None:
    environ = {**os.environ, **skewed_clock(off)}
    told = subprocess.run([sys.executable, "-c", TELL], env=environ, capture_output=True, text=True, check=True)  # noqa: S603
    assert [float(each) - time.time() for each in told.stdout.split()] == pytest.approx([off] * 3, abs=60)


def test_every_other_process_keeps_its_clock() -> None:
    environ = {**os.environ, **skewed_clock(0)}
    told = subprocess.run([sys.executable, "-c", TELL], env=environ, capture_output=True, text=True, check=True)  # noqa: S603
    assert [float(each) - time.time() for each in told.stdout.split()] == pytest.approx([0] * 3, abs=60)
