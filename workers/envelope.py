"""What a message on a task queue must be, checked before Celery sees it: its consumer would end at most other things.

The form is that of Celery's task messages, version 2, as kombu's virtual transports write them. What Celery and kombu
read is checked for its type and range; headers of others, such as `traceparent`, pass.
"""

import base64
import bz2
import lzma
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal, Protocol, Self, TypeAlias, TypeVar, cast

from celery.app.task import Context
from celery.utils.time import maybe_iso8601
from kombu.utils import json
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from shared.errors import Rejected
from shared.validation import first_problem

Envelope: TypeAlias = dict[str, object]
_T = TypeVar("_T")

MAX_BODY_BYTES = 8 * 2**20
"""A body that unpacks to more is refused: a few compressed bytes could unpack to any size."""

MAX_DEPTH = 50  # Celery pickles the arguments for its pool: some hundred levels would end the worker
_YEARS = range(1970, 9999)  # around these, and no farther, every time zone can be applied
_COMPRESSIONS: dict[str, Callable[[], "_Decompressor"]] = {  # by the names that kombu gives them
    "application/x-gzip": zlib.decompressobj,
    "application/x-bz2": bz2.BZ2Decompressor,
    "application/x-lzma": lzma.LZMADecompressor,
}
_NOT_READ = (ValueError, TypeError, KeyError, AttributeError, ArithmeticError, RecursionError)


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("holds characters that cannot be printed")
    return text


def _instant(text: str) -> str:
    try:
        when = maybe_iso8601(text)
    except (ValueError, TypeError, AttributeError, ArithmeticError):
        when = None
    if not isinstance(when, datetime) or when.year not in _YEARS:
        raise ValueError(f"is no ISO 8601 instant from {_YEARS.start} to {_YEARS.stop - 1}")
    return text


class _Decompressor(Protocol):
    @property
    def eof(self) -> bool: ...

    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


_Name = Annotated[str, Field(min_length=1, max_length=255), AfterValidator(_printable)]
_Instant = Annotated[str, Field(max_length=64), AfterValidator(_instant)]
_Seconds = Annotated[float, Field(gt=0, le=10**9, allow_inf_nan=False)]
_Count = Annotated[int, Field(ge=0, le=10**6)]


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow", frozen=True)


class _Headers(_Part):
    task: _Name
    id: _Name
    lang: str | None = None
    root_id: _Name | None = None
    parent_id: _Name | None = None
    group: _Name | None = None
    group_index: _Count | None = None
    shadow: _Name | None = None
    eta: _Instant | None = None
    expires: _Instant | None = None
    retries: _Count = 0
    timelimit: Annotated[list[_Seconds | None], Field(min_length=2, max_length=2)] | None = None
    argsrepr: str | None = None
    kwargsrepr: str | None = None
    origin: str | None = None
    ignore_result: bool | None = None
    replaced_task_nesting: _Count = 0
    stamped_headers: list[str] | None = None
    stamps: dict[str, object] | None = None
    compression: Literal["application/x-gzip", "application/x-bz2", "application/x-lzma"] | None = None

    @model_validator(mode="after")
    def _no_trap(self) -> Self:
        """Celery makes attributes of all headers, which must not hide what it calls."""
        for name in self.model_extra or ():
            if hasattr(Context, name):
                raise ValueError(f"{name[:50]!r} is a name that Celery keeps for itself")
        return self


class _DeliveryInfo(_Part):
    exchange: str
    routing_key: str


class _Properties(_Part):
    delivery_tag: _Name
    delivery_info: _DeliveryInfo
    body_encoding: Literal["base64", "utf-8"] | None = None
    correlation_id: str | None = None
    reply_to: str | None = None
    priority: int | None = None


class _Envelope(_Part):
    body: str
    headers: _Headers
    properties: _Properties
    content_type: Literal["application/json"] = Field(alias="content-type")
    content_encoding: Literal["utf-8", "UTF-8"] = Field(alias="content-encoding")


class _Signature(_Part):  # type: ignore[no-redef]  # the plugin adds **kwargs of its own
    task: _Name
    args: list[object] = Field(default=[])
    kwargs: dict[str, object] = Field(default={})
    options: dict[str, object] = Field(default={})
    subtask_type: str | None = None


class _Embed(_Part):
    model_config = ConfigDict(extra="forbid")

    callbacks: list[_Signature] | None = None
    errbacks: list[_Signature] | None = None
    chain: list[_Signature] | None = None
    chord: _Signature | None = None


_HEADERS = TypeAdapter(dict[str, object])
_ID = TypeAdapter[str](_Name)
_BODY = TypeAdapter(tuple[list[object], dict[str, object], _Embed | None])


def decode(raw: bytes) -> Envelope:
    """Return the message that stands on a queue as `raw`, as kombu expects it.

    Raises:
        Rejected: `bad-message`, it is none, or none that Celery can work with; the reason names the place.
    """
    envelope = cast("dict[str, Any]", _loaded(raw, "the message"))
    checked = _checked("", lambda: _Envelope.model_validate(envelope))
    body = _body(checked)
    arguments = _loaded(body, "body")
    _checked("body", lambda: _BODY.validate_python(arguments))
    if checked.headers.compression:
        del envelope["headers"]["compression"]
        envelope["properties"]["body_encoding"] = "base64"
        envelope["body"] = base64.b64encode(body).decode()
    return envelope


@dataclass(frozen=True)
class Sender:
    """Who waits for a task, as far as its message can be read.

    Attributes:
        task_id: of the task, and so of its result.
        headers: Celery's, where they are well-formed; else the id alone.
        links: what the sender has linked to the task, under Celery's names.
    """

    task_id: str
    headers: dict[str, object]
    links: dict[str, object]


def sender_of(raw: bytes) -> Sender | None:
    """Return who waits for the task of a refused message, or None where the message has no id that can be read."""
    try:
        headers = _HEADERS.validate_python(json.loads(raw)["headers"])
        task_id = _ID.validate_python(headers.get("id"))
    except _NOT_READ:
        return None
    try:
        checked = _Envelope.model_validate(json.loads(raw))
        _, _, embed = _BODY.validate_python(_loaded(_body(checked), "body"))
    except (*_NOT_READ, Rejected):
        return Sender(task_id, {"id": task_id}, {})
    return Sender(task_id, headers, {} if embed is None else embed.model_dump())


def _body(envelope: _Envelope) -> bytes:
    try:
        body = envelope.body.encode()
        decoded = base64.b64decode(body) if envelope.properties.body_encoding == "base64" else body
    except ValueError:
        raise Rejected("bad-message", "body: is not in the encoding that properties.body_encoding says") from None
    compression = envelope.headers.compression
    return _unpacked(decoded, compression) if compression else decoded


def _unpacked(body: bytes, compression: str) -> bytes:
    decompressor = _COMPRESSIONS[compression]()
    try:
        unpacked = decompressor.decompress(body, MAX_BODY_BYTES + 1)
    except (zlib.error, lzma.LZMAError, OSError, ValueError):
        raise Rejected("bad-message", f"body: is not {compression}, as headers.compression says") from None
    if len(unpacked) > MAX_BODY_BYTES:
        raise Rejected("message-too-large", f"body: unpacks to more than {MAX_BODY_BYTES} bytes")
    if not decompressor.eof:
        raise Rejected("bad-message", f"body: is not all of what was compressed as {compression}")
    return unpacked


def _loaded(text: bytes, what: str) -> object:
    try:
        value: object = json.loads(text)
    except _NOT_READ as error:
        raise Rejected("bad-message", f"{what}: is no JSON ({type(error).__name__})") from None
    if text.count(b"[") + text.count(b"{") > MAX_DEPTH and deeper_than(MAX_DEPTH, value):
        raise Rejected("bad-message", f"{what}: is nested deeper than {MAX_DEPTH} levels")
    return value


def deeper_than(limit: int, value: object) -> bool:
    """Whether there is anything within more than `limit` arrays and objects of a JSON value."""
    level = [value]
    for _ in range(limit):
        level = [inner for outer in level for inner in _inside(outer)]
    return bool(level)


def _inside(value: object) -> list[object]:
    if isinstance(value, dict):
        return [*value.values()]
    return value if isinstance(value, list) else []


def _checked(where: str, validate: Callable[[], _T]) -> _T:
    try:
        return validate()
    except ValidationError as error:
        raise Rejected("bad-message", first_problem(error, where, "the message")) from None
