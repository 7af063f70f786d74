"""The documents say what the code does."""

import re
import tomllib
from pathlib import Path

import pytest

from shared.codes import ADVICE
from shared.settings import Settings

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
SOURCES = [path for folder in ("shared", "workers", "local") for path in (ROOT / folder).rglob("*.py")]
RAISED = re.compile(
    r"\b(?:Rejected|ItemFailed|Retryable|Busy|unusable|close_failed|_fail|_fail_run)"
    r'\((?:[a-z_.]+, )*\s*f?"([a-z0-9{}._]+(?:-[a-z0-9]+)+)"'
)
GIVEN = re.compile(r'\bcode="([a-z-]+)"')


def codes() -> set[str]:
    found = {code for path in SOURCES for pattern in (RAISED, GIVEN) for code in pattern.findall(path.read_text())}
    stac = {re.sub("{.*}", name, code) for code in found for name in ("station", "catalog", "staging") if "{" in code}
    return {code for code in found if "{" not in code} | stac


def test_the_codes_are_found_at_all() -> None:
    assert {"bad-filter", "station-rate-limited", "prefix-taken", "no-assets", "already-staged"} <= codes()


@pytest.mark.parametrize("code", sorted(codes()))
def test_every_code_has_a_line_that_says_what_to_do(code: str) -> None:
    rows = [line for line in README.splitlines() if line.startswith("|")]
    assert [line for line in rows if f"`{code}`" in line.split("|")[1]]


def test_what_to_do_about_a_code_is_what_the_readme_says() -> None:
    table = README[README.index("| code | what to do |") :].partition("\n\n")[0].splitlines()[2:]
    rows = [row.strip("|").split(" | ", 1) for row in table]
    said = {code: advice.strip() for cell, advice in rows for code in re.findall("`([a-z0-9-]+)`", cell)}
    assert said == ADVICE, "shared/codes.py and the README differ"


@pytest.mark.parametrize("name", sorted(Settings.model_fields))
def test_every_setting_stands_in_the_table_with_its_meaning(name: str) -> None:
    field = Settings.model_fields[name]
    (row,) = [line for line in README.splitlines() if line.startswith(f"| `AUXIP_{name.upper()}` ")]
    _, _, default, meaning, _ = (cell.strip() for cell in row.split(" |" if row.count("|") > 4 else "|"))
    assert meaning == (field.description or "")
    if field.is_required():
        assert default == "required"
    else:
        assert default == (f"`{field.default}`" if field.default not in (None, "", []) else "")


@pytest.mark.parametrize("lock", ["runtime", "demo", "test"])
def test_every_dependency_is_locked_with_hashes(lock: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    groups = {"runtime": [], "demo": ["local"], "test": ["local", "dev", "deploy"]}[lock]
    wanted = project["project"]["dependencies"] + [
        each for group in groups for each in project["dependency-groups"][group]
    ]
    text = (ROOT / "requirements" / f"{lock}.txt").read_text()
    locked = {_normal(line.split("==")[0]) for line in text.splitlines() if re.match(r"[a-z0-9]", line, re.IGNORECASE)}

    assert {_normal(re.split(r"[<>=!~ ]", each)[0]) for each in wanted} <= locked
    assert text.count("--hash=sha256:") >= len(locked)
    assert "://" not in text


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name.split("[")[0]).lower()
