"""The TOML file of the sweeps and the recurring audits (`AUXIP_SWEEPS_FILE`; docs/howto/sweeps.md has one)."""

from typing import Final, TypeVar

from pydantic import ValidationError

from shared.errors import Rejected
from shared.settings import Settings, SettingsError
from shared.toml import TomlError, read_toml
from workers.sweeps.audit import RecurringAudit
from workers.sweeps.recurring import Recurring
from workers.sweeps.sweep import Sweep

_MOST = 1000
_ARTICLES: Final = {"sweep": "a sweep", "audit": "an audit"}
_Table = TypeVar("_Table", bound=Recurring)


def load_sweeps(settings: Settings) -> dict[str, Sweep]:
    """Read the sweeps of the settings' file, by name; none where no file is set.

    Raises:
        SettingsError: the file is missing or wrong; the reason names the file, the sweep and the field.
    """
    return _load(settings, "sweep", Sweep)


def load_audits(settings: Settings) -> dict[str, RecurringAudit]:
    """Read the recurring audits of the settings' file, by name; none where no file is set.

    Raises:
        SettingsError: the file is missing or wrong; the reason names the file, the audit and the field.
    """
    return _load(settings, "audit", RecurringAudit)


def find_sweep(settings: Settings, name: str) -> Sweep:
    """Return the sweep of this name.

    Raises:
        Rejected: `unknown-sweep`.
    """
    return _find(load_sweeps(settings), "sweep", name)


def find_audit(settings: Settings, name: str) -> RecurringAudit:
    """Return the recurring audit of this name.

    Raises:
        Rejected: `unknown-sweep`.
    """
    return _find(load_audits(settings), "audit", name)


def _find(known: dict[str, _Table], kind: str, name: str) -> _Table:
    if name not in known:
        raise Rejected(
            "unknown-sweep", f"no {kind} {name!r} in AUXIP_SWEEPS_FILE; it has: {', '.join(known) or 'none'}"
        )
    return known[name]


def _load(settings: Settings, kind: str, model: type[_Table]) -> dict[str, _Table]:
    file = settings.sweeps_file
    if file is None:
        return {}
    try:
        return _tables(read_toml(file), kind, model)
    except TomlError as error:
        raise SettingsError(f"AUXIP_SWEEPS_FILE {file}: {error}") from None


def _tables(document: dict[str, object], kind: str, model: type[_Table]) -> dict[str, _Table]:
    for name in document:
        if name not in _ARTICLES:
            raise TomlError(f"{name}: a sweep is a table [sweep.NAME]")
    tables = document.get(kind, {})
    if not isinstance(tables, dict):
        raise TomlError(f"{kind}: {_ARTICLES[kind]} is a table [{kind}.NAME]")
    if len(tables) > _MOST:
        raise TomlError(f"has more than {_MOST} {kind}s")
    return {name: _table(name, fields, kind, model) for name, fields in tables.items()}


def _table(name: str, fields: object, kind: str, model: type[_Table]) -> _Table:
    if not isinstance(fields, dict) or "name" in fields:
        raise TomlError(f"{kind}.{name}: {_ARTICLES[kind]} is a table [{kind}.NAME], which names it")
    try:
        return model.model_validate({**fields, "name": name})
    except ValidationError as error:
        # A field that is missing is often there with its name misspelt: that one is told.
        first = min(error.errors(), key=lambda detail: detail["type"] == "missing")
        path = [kind, name, *(str(part) for part in first["loc"] if part != "name")]
        said = f"is no field of {_ARTICLES[kind]}" if first["type"] == "extra_forbidden" else first["msg"]
        raise TomlError(f"{'.'.join(path)}: {said.removeprefix('Value error, ')}") from None
