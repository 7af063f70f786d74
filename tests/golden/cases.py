"""The golden folders as the tests read them: an archive, the rules it is expanded by, what must come of it."""

import json
from pathlib import Path
from typing import Literal

from shared.archives import Rules

GOLDEN = Path(__file__).parent
CASES = sorted(path for path in GOLDEN.iterdir() if path.is_dir() and path.name != "__pycache__")
ACCEPTED = [case for case in CASES if (case / "expected").is_dir()]
REFUSED = [case for case in CASES if (case / "expected.json").is_file()]
LEAVING_OUT = [case for case in CASES if (case / "left-out.json").is_file()]
EXPANDED = {"flat": "expected", "tree": "expected-tree"}

_BESIDE = {*EXPANDED.values(), "expected.json", "rules.json", "left-out.json"}


def archive_of(case: Path) -> Path:
    (archive,) = (path for path in case.iterdir() if path.name not in _BESIDE)
    return archive


def rules_of(case: Path, layout: Literal["flat", "tree"]) -> Rules:
    file = case / "rules.json"
    return Rules(**(json.loads(file.read_text()) if file.is_file() else {}), layout=layout)


def files_below(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
