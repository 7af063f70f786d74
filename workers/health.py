"""The files by which a process shows to health checks that it does its work."""

import logging
from pathlib import Path
from typing import Final

from shared.logs import Throttle

_log = logging.getLogger(__name__)
_THROTTLE: Final = Throttle()


def touch(file: Path) -> None:
    """Touch a file; where that cannot be done, the work goes on, and the log says why health checks do not see it."""
    try:
        file.touch()
    except OSError as error:
        if _THROTTLE.allows(str(file)):
            _log.warning("health checks cannot see that this process works: %s: %s", file, error.strerror)
