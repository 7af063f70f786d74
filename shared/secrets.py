"""Secrets that a file of configuration needs: it says where they are, and never what they are."""

import os
from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, SecretStr, StringConstraints, model_validator

from shared.settings import PREFIX, SECRETS_DIR, SettingsError, secrets_folder

_LONGEST = 65_536


class SecretRef(BaseModel):
    """Where a secret is: `{ env = "NAME" }`, a variable, or `{ file = "name" }`, a file below AUXIP_SECRETS_DIR.

    The variable is not called `AUXIP_...`: by such a name a process looks for settings, and refuses what is none.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    env: Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,127}$")] | None = None
    file: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$")] | None = None

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if (self.env is None) == (self.file is None):
            raise ValueError('is neither { env = "NAME" } nor { file = "name" }')
        if self.env is not None and self.env.startswith(PREFIX):
            raise ValueError(f"a variable whose name begins with {PREFIX} is a setting; give it another name")
        return self

    def resolve(self) -> SecretStr:
        """Return the secret, without white space around it.

        Raises:
            SettingsError: it is not there, or empty.
        """
        text = self._variable() if self.file is None else self._content(self.file)
        if not text.strip():
            raise SettingsError(f"{self} is empty")
        return SecretStr(text.strip())

    def __str__(self) -> str:
        return f"the variable {self.env}" if self.file is None else f"the file {self.file} of {SECRETS_DIR}"

    def _variable(self) -> str:
        try:
            return os.environ[self.env or ""]
        except KeyError:
            raise SettingsError(f"{self} is not set") from None

    def _content(self, name: str) -> str:
        try:
            with ((secrets_folder() or Path()) / name).open(encoding="utf-8") as opened:
                return opened.read(_LONGEST)
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(f"{self} cannot be read: {type(error).__name__}") from None
