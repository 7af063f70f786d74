"""A request as a line that a person can send from a shell."""

import shlex
from typing import Final

import httpx

_SHOWN_HEADERS: Final = ("accept", "content-type")
_OF_EVERY_CLIENT: Final = ("host", "user-agent", "accept-encoding", "connection", "content-length")


def curl_line(request: httpx.Request, name: str) -> str:
    """Return a request as a line for a shell.

    Args:
        request: as it was sent.
        name: of the station. A header that may hold a secret has a variable in its place, which begins with this name.
    """
    words = ["curl", "--silent", "--show-error", "--request", request.method, shlex.quote(str(request.url))]
    for header, value in request.headers.items():
        if header in _SHOWN_HEADERS:
            words += ["--header", shlex.quote(f"{header}: {value}")]
        elif header not in _OF_EVERY_CLIENT:
            variable = "".join(each if each.isalnum() else "_" for each in f"{name}_{header}").upper()
            words += ["--header", f'"{header}: ${variable}"']
    if request.content:
        words += ["--data", shlex.quote(request.content.decode())]
    return " ".join(words)
