"""What the command line loads before it does anything, and how it ends when it is interrupted meanwhile."""

import subprocess
import sys
from pathlib import Path

import click
import pytest

from workers.cli.main import COMMANDS, auxip

_HEAVY = {"celery", "kombu", "redis", "httpx", "boto3", "pystac", "rich"}
_INTERRUPTED_WHILE_LOADING = """
import sys
class Interrupted:
    def find_spec(self, name, path=None, target=None):
        if name == "workers.cli.main":
            raise KeyboardInterrupt
sys.meta_path.insert(0, Interrupted())
from workers.cli import main
main()
"""


def loaded_by(*arguments: str) -> set[str]:
    """The packages that are loaded once `auxip` has done this."""
    code = "import sys\nfrom workers.cli.main import run\nrun()\nprint(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)  # noqa: S603
    return {name.partition(".")[0] for name in done.stderr.split()}


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    file = tmp_path / "a.zip"
    file.write_bytes(b"PK\x05\x06" + bytes(18))
    return file


def test_help_loads_click_only() -> None:
    assert loaded_by("--help") & {*_HEAVY, "pydantic"} == set()


def test_a_look_at_a_local_archive_loads_nothing_of_queues_and_networks(archive: Path) -> None:
    assert loaded_by("expand", "--local", str(archive), "--dry-run") & _HEAVY == set()


@pytest.mark.parametrize("name", COMMANDS)
def test_each_name_in_the_help_is_a_command(name: str) -> None:
    command = auxip.get_command(click.Context(auxip), name)
    assert command is not None
    assert command.help


def test_an_interrupt_while_loading_leaves_one_line_and_its_status() -> None:
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", _INTERRUPTED_WHILE_LOADING], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (130, "auxip: interrupted\n")
