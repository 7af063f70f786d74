"""The documents say what the code does."""

import re
import tomllib
from pathlib import Path

import pytest

from scripts import pictures
from scripts.reference import PAGES, outdated
from shared.codes import ADVICE
from shared.letter_rules import read_rules
from shared.owners import load_owners
from shared.selection import POLICIES, NamedQuery, fill
from shared.settings import Settings
from tests.unit.making import settings_of
from workers.contract import MESSAGES
from workers.sweeps import load_audits

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", ROOT / "SECURITY.md", *sorted((ROOT / "docs").rglob("*.md"))]
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
    assert ADVICE.get(code)


def test_a_code_of_the_table_has_no_more_than_one_line() -> None:
    page = (ROOT / "docs" / "reference" / "codes.md").read_text("utf-8")
    cells = [line.split("|")[1] for line in page.splitlines() if line.startswith("| `")]
    assert sorted(code for cell in cells for code in re.findall("`([a-z0-9-]+)`", cell)) == sorted(ADVICE)


@pytest.mark.parametrize("name", PAGES)
def test_a_page_that_is_generated_says_what_the_code_says(name: str) -> None:
    assert name not in outdated(), "run `python -m scripts.reference`"


@pytest.mark.parametrize("policy", POLICIES)
def test_the_picture_of_a_policy_shows_what_the_policy_selects(policy: str) -> None:
    assert policy not in pictures.outdated(), "run `python -m scripts.pictures`"
    page = (ROOT / "docs" / "explanation" / "selection.md").read_text("utf-8")
    assert f"](../images/policies/{policy}.svg)" in page


@pytest.mark.parametrize("name", sorted(Settings.model_fields))
def test_every_setting_has_a_line_with_its_meaning(name: str) -> None:
    page = (ROOT / "docs" / "reference" / "settings.md").read_text("utf-8")
    (row,) = [line for line in page.splitlines() if line.startswith(f"| `AUXIP_{name.upper()}` ")]
    meaning = Settings.model_fields[name].description
    assert meaning
    assert row.endswith(f" | {meaning} |")


@pytest.mark.parametrize("page", DOCUMENTS, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text("utf-8")):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.is_file(), f"{target}: there is no such file"
        assert not anchor or anchor in anchors(file), f"{target}: the page has no such heading"


def test_the_examples_of_files_and_settings_are_accepted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "operations_catalog_key").write_text("hush", "utf-8")
    monkeypatch.setenv("AUXIP_SECRETS_DIR", str(tmp_path))
    owners = tmp_path / "owners.toml"
    owners.write_text(_block("howto/owners.md", "toml"), "utf-8")
    assert load_owners(settings_of(owners_file=owners))
    audits = tmp_path / "sweeps.toml"
    audits.write_text(_block("howto/audit.md", "toml"), "utf-8")
    assert [*load_audits(settings_of(sweeps_file=audits))] == ["nightly"]
    assert len(read_rules(_block("howto/failures.md", "json"))) == 3
    queries = tmp_path / "queries.json"
    queries.write_text(_block("explanation/selection.md", "json"), "utf-8")
    values: dict[str, bool | int | float | str] = {"product_type": "A", "start": "2024-03-25T00:00:00Z", "margin": "6h"}
    assert fill(queries, NamedQuery(query="Published", parameters=values)).limit == 100


def _block(page: str, language: str) -> str:
    (block,) = re.findall(rf"```{language}\n(.*?)```", (ROOT / "docs" / page).read_text("utf-8"), re.DOTALL)
    return str(block)


def test_the_tasks_take_the_arguments_of_the_flows_that_they_replace() -> None:
    page = (ROOT / "docs" / "howto" / "prefect.md").read_text("utf-8")
    rows = re.findall(r"^\| `\w+\((.*?)\)` \| `(auxip\.\w+)` \|", page, re.MULTILINE)
    assert len(rows) == 5
    for arguments, task in rows:
        names = [each.partition("=")[0] for each in arguments.split(", ")]
        ours = [name for name in MESSAGES[task].model_fields if name != "env" or "env" in names]
        assert ours[: len(names)] == names


def test_the_navigation_has_every_page_once() -> None:
    named = re.findall(r": ([\w/-]+\.md)$", (ROOT / "mkdocs.yml").read_text("utf-8"), re.MULTILINE)
    pages = {str(page.relative_to(ROOT / "docs")) for page in (ROOT / "docs").rglob("*.md")}
    assert sorted(named) == sorted(pages)


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


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
