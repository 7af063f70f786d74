"""A short set of rounds on real processes; `python -m tests.faults` plays as many as one likes, of every kind."""

import json
import subprocess
import sys

import pytest

SECONDS = 170
SEED = 2663
ROUNDS = 2


@pytest.mark.timeout(SECONDS + 5)
def test_nothing_is_lost_wrong_or_hung_whatever_strikes() -> None:
    argv = [sys.executable, "-m", "tests.faults", "--rounds", str(ROUNDS), "--seed", str(SEED), "--json"]
    # A process of its own: its clients are bound to its own stack, not to that of the other tests.
    played = subprocess.run(argv, capture_output=True, text=True, timeout=SECONDS, check=False)  # noqa: S603

    assert played.returncode == 0, played.stderr
    totals = json.loads(played.stdout.splitlines()[-1])
    assert (totals["rounds"], totals["lost"], totals["wrong"], totals["hung"]) == (ROUNDS, 0, 0, 0)
    assert sum(totals["faults"].values()) >= 4 * ROUNDS
