"""The environment that the tests run in is the lock, and nothing else."""

import re
from importlib.metadata import distributions
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
_BROUGHT_BY_VENV = {"pip", "setuptools"}  # `python3 -m venv` of Python 3.11 installs both, uv neither


def locked(name: str) -> dict[str, str]:
    """The versions that requirements/<name>.txt gives for this machine."""
    lines = re.findall(r"^([a-z0-9].*?) *\\$", (ROOT / "requirements" / f"{name}.txt").read_text(), re.MULTILINE)
    requirements = [Requirement(line) for line in lines]
    return {
        canonicalize_name(each.name): str(each.specifier).removeprefix("==")
        for each in requirements
        if each.marker is None or each.marker.evaluate()
    }


def test_what_is_installed_is_exactly_the_lock() -> None:
    found: dict[str, str] = {canonicalize_name(each.name): each.version for each in distributions()}
    installed = {name: version for name, version in found.items() if name not in _BROUGHT_BY_VENV}
    assert installed.pop("auxip-workers")
    assert installed == {name: version for name, version in locked("test").items() if name not in _BROUGHT_BY_VENV}


def test_the_locks_agree_with_each_other() -> None:
    test = locked("test")
    assert locked("runtime").items() <= locked("demo").items() <= test.items()
