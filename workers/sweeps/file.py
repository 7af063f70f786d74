"""The TOML file of the sweeps (`AUXIP_SWEEPS_FILE`; the README has one)."""

from pydantic import ValidationError

from shared.errors import Rejected
from shared.settings import Settings, SettingsError
from shared.toml import TomlError, read_toml
from workers.sweeps.sweep import Sweep

_MOST = 1000


def load_sweeps(settings: Settings) -> dict[str, Sweep]:
    """Read the sweeps of the settings' file, by name; none where no file is set.

    Raises:
        SettingsError: the file is missing or wrong; the reason names the file, the sweep and the field.
    """
    file = settings.sweeps_file
    if file is None:
        return {}
    try:
        return _sweeps(read_toml(file))
    except TomlError as error:
        raise SettingsError(f"AUXIP_SWEEPS_FILE {file}: {error}") from None


def find_sweep(settings: Settings, name: str) -> Sweep:
    """Return the sweep of this name.

    Raises:
        Rejected: `unknown-sweep`.
    """
    sweeps = load_sweeps(settings)
    if name not in sweeps:
        raise Rejected(
            "unknown-sweep", f"no sweep {name!r} in AUXIP_SWEEPS_FILE; it has: {', '.join(sweeps) or 'none'}"
        )
    return sweeps[name]


def _sweeps(document: dict[str, object]) -> dict[str, Sweep]:
    for name in document:
        if name != "sweep":
            raise TomlError(f"{name}: a sweep is a table [sweep.NAME]")
    tables = document.get("sweep", {})
    if not isinstance(tables, dict):
        raise TomlError("sweep: a sweep is a table [sweep.NAME]")
    if len(tables) > _MOST:
        raise TomlError(f"has more than {_MOST} sweeps")
    return {name: _sweep(name, fields) for name, fields in tables.items()}


def _sweep(name: str, fields: object) -> Sweep:
    if not isinstance(fields, dict) or "name" in fields:
        raise TomlError(f"sweep.{name}: a sweep is a table [sweep.NAME], which names it")
    try:
        return Sweep.model_validate({**fields, "name": name})
    except ValidationError as error:
        # A field that is missing is often there with its name misspelt: that one is told.
        first = min(error.errors(), key=lambda detail: detail["type"] == "missing")
        path = ["sweep", name, *(str(part) for part in first["loc"] if part != "name")]
        said = "is no field of a sweep" if first["type"] == "extra_forbidden" else first["msg"]
        raise TomlError(f"{'.'.join(path)}: {said.removeprefix('Value error, ')}") from None
