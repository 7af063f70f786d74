"""What pydantic found wrong, for people: `path: message`."""

from pydantic import ValidationError


def first_problem(error: ValidationError, where: str = "", whole: str = "") -> str:
    """Return the first problem as `path: message`, without the input, which may be a secret.

    Args:
        error: of pydantic.
        where: a path that comes before the problem's.
        whole: what the path is called where it is empty.
    """
    first = error.errors(include_input=False, include_url=False)[0]
    path = ".".join(str(part) for part in (where, *first["loc"]) if part != "") or whole
    message = first["msg"].removeprefix("Value error, ")
    return f"{path}: {message}" if path else message
