"""Puts the clock of one Python process off by `FAULTS_CLOCK` seconds: found by its interpreter through PYTHONPATH.

What is compiled reads the system's own clock: S3 requests stay signed with the right time.
"""

import datetime
import os
import time
from typing import Any

_OFF = float(os.environ.get("FAULTS_CLOCK", "0"))
_time = time.time
_real = datetime.datetime


class _Meta(type):
    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, _real)

    def __subclasscheck__(cls, subclass: type) -> bool:
        return issubclass(subclass, _real)


class _Datetime(_real, metaclass=_Meta):
    @classmethod
    def now(cls, tz: datetime.tzinfo | None = None) -> Any:
        return _real.fromtimestamp(_time() + _OFF, tz)

    @classmethod
    def utcnow(cls) -> Any:
        return _real.fromtimestamp(_time() + _OFF, datetime.UTC).replace(tzinfo=None)


if _OFF:
    time.time = lambda: _time() + _OFF
    datetime.datetime = _Datetime  # type: ignore[misc]
