"""Secrets that a file of configuration needs: it says where they are, and never what they are.

A reference is `{ env = "NAME" }`, a variable, or `{ file = "name" }`, a file below `AUXIP_SECRETS_DIR`. It becomes the
secret when the file is read, so one that is missing ends the process at its start. The variable is not called
`AUXIP_...`: by such a name a process looks for settings, and refuses what is none.
"""

import os
import re
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, SecretStr

from shared.settings import PREFIX, SECRETS_DIR, secrets_folder

_LARGEST = 65_536
_REFERENCE = 'is no reference such as { env = "NAME" } or { file = "name" }; a secret does not stand in this file'


def _resolved(value: object) -> str:
    """The text of a secret, without white space around it, from where its reference leads to."""
    if not isinstance(value, dict) or len(value) != 1:
        raise ValueError(_REFERENCE)
    ((kind, name),) = value.items()
    if not isinstance(name, str) or kind not in ("env", "file"):
        raise ValueError(_REFERENCE)
    secret = (_variable(name) if kind == "env" else _content(name)).strip()
    if not secret:
        raise ValueError(f"is empty or missing: {'the variable' if kind == 'env' else 'the file'} {name}")
    return secret


def _variable(name: str) -> str:
    if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,127}", name) is None:
        raise ValueError("is no name of a variable")  # and may be the secret itself
    if name.startswith(PREFIX):
        raise ValueError(f"a variable whose name begins with {PREFIX} is a setting; give it another name")
    return os.environ.get(name, "")


def _content(name: str) -> str:
    if re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}", name) is None:
        raise ValueError(f"is no name of a file in {SECRETS_DIR}")
    folder = secrets_folder()
    if folder is None:
        raise ValueError(f"there is no folder of secrets ({SECRETS_DIR}) for the file {name}")
    try:
        with (folder / name).open("rb") as opened:
            return opened.read(_LARGEST).decode("utf-8")
    except (OSError, UnicodeDecodeError):
        return ""


def _for_a_header(value: SecretStr) -> SecretStr:
    # The HTTP library would refuse it only when it is sent, with a message that repeats it.
    if re.fullmatch(r"[\x20-\x7e]+", value.get_secret_value()) is None:
        raise ValueError("holds a character that a header cannot carry")
    return value


Secret = Annotated[SecretStr, BeforeValidator(_resolved)]
HeaderSecret = Annotated[Secret, AfterValidator(_for_a_header)]
