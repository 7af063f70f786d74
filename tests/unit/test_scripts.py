"""What ./demo and ./test say on a machine that lacks something."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOOLS = ("sh", "dirname", "cat", "cmp", "rm")


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """A copy of the scripts, and a `bin` that holds little more than a shell."""
    (tmp_path / "bin").mkdir()
    for tool in TOOLS:
        (tmp_path / "bin" / tool).symlink_to(shutil.which(tool) or tool)
    for name in ("demo", "test", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path / name)
    for name in ("scripts", "requirements"):
        shutil.copytree(ROOT / name, tmp_path / name)
    return tmp_path


def run(folder: Path, script: str) -> "subprocess.CompletedProcess[str]":
    environ = {"PATH": str(folder / "bin"), "HOME": str(folder)}
    return subprocess.run(  # noqa: S603 - our own script
        [str(folder / script)], env=environ, capture_output=True, text=True, timeout=20, check=False
    )


@pytest.mark.parametrize("script", ["demo", "test"])
def test_without_python_they_say_what_to_install(bare: Path, script: str) -> None:
    ended = run(bare, script)
    assert ended.returncode == 1
    assert "Python 3.11 or later is needed" in ended.stderr.splitlines()[-1]


@pytest.mark.parametrize("script", ["demo", "test"])
def test_without_the_venv_package_they_say_what_to_install(bare: Path, script: str) -> None:
    python = bare / "bin" / "python3"
    python.write_text('#!/bin/sh\ncase "$*" in *ensurepip*) exit 1;; esac\nexit 0\n')
    python.chmod(0o755)
    ended = run(bare, script)

    assert ended.returncode == 1
    assert ended.stderr.splitlines()[-1].endswith("apt install python3-venv")
    assert not (bare / ".venv").exists()
