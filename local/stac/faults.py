"""Faults on request: an API that answers late, wrongly, partly or not at all, so that clients can be tested."""

import asyncio
import math
import random
import re
import time
from collections import deque
from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_MINUTE = 60.0


def _regex(pattern: str) -> str:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"is no regular expression: {error}") from error
    return pattern


class Rule(BaseModel):
    """What happens to the requests that it applies to; of several rules the first one that applies counts."""

    model_config = ConfigDict(extra="forbid")

    path: Annotated[str, AfterValidator(_regex)] = Field(description="regex, searched in `/path?query`")
    method: str | None = Field(None, pattern="^[A-Z]+$")
    status: int | None = Field(None, ge=400, le=599, description="answer with this error")
    delay: float | None = Field(None, gt=0, description="seconds to wait before the answer")
    retry_after: int | None = Field(None, ge=0, description="seconds, sent as Retry-After")
    cut: int | None = Field(None, ge=0, description="bytes of the body to send; then the connection is closed")
    body: str | None = Field(None, description="sent in the place of the answer's body, with status 200")
    share: float | None = Field(None, gt=0, lt=1, description="part of the requests that it applies to, by chance")
    times: int | None = Field(None, ge=1, description="uses after which the rule is gone")
    per_minute: int | None = Field(None, ge=1, description="requests above this rate are answered 429")

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        actions = {name for name in ("status", "delay", "cut", "body", "per_minute") if getattr(self, name) is not None}
        if not actions:
            raise ValueError("has no effect: give status, delay, cut, body or per_minute")
        if "per_minute" in actions and (len(actions) > 1 or self.times or self.retry_after is not None):
            raise ValueError("per_minute goes with path and method only")
        if self.status is not None and self.body is not None:
            raise ValueError("has both status and body, which is sent with 200")
        if self.retry_after is not None and self.status is None:
            raise ValueError("retry_after needs a status")
        return self


_RULES = TypeAdapter(list[Rule])


class Faults:
    """ASGI middleware that applies the present rules.

    `/faults` is where they are: GET shows them, PUT replaces them, DELETE removes them; 400 for rules that make no
    sense. No rule applies to this path.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._rules: list[tuple[Rule, deque[float]]] = []
        self._chance = random.Random(0)  # noqa: S311 - the same faults each time

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, faulty or not."""
        request = Request(scope, receive)
        if scope["path"] == f"{scope['root_path']}/faults":
            await (await self._edit(request))(scope, receive, send)
        elif (rule := self._take(request)) is None:
            await self._app(scope, receive, send)
        else:
            await asyncio.sleep(rule.delay or 0)
            answer = _replacement(rule) or self._app
            await answer(scope, receive, send if rule.cut is None else _cut(send, rule.cut))

    async def _edit(self, request: Request) -> Response:
        if request.method == "PUT":
            try:
                rules = _RULES.validate_json(await request.body())
            except ValidationError as error:
                return JSONResponse({"detail": error.errors(include_url=False, include_context=False)}, 400)
            self._rules = [(rule, deque()) for rule in rules]
            self._chance.seed(0)
        elif request.method == "DELETE":
            self._rules = []
        return JSONResponse([rule.model_dump(exclude_none=True) for rule, _ in self._rules])

    def _take(self, request: Request) -> Rule | None:
        target = f"{request.url.path}?{request.url.query}" if request.url.query else request.url.path
        for place, (rule, recent) in enumerate(self._rules):
            if rule.method not in (None, request.method) or not re.search(rule.path, target):
                continue
            if rule.share is not None and self._chance.random() >= rule.share:
                continue
            if rule.per_minute is not None:
                wait = _excess(rule.per_minute, recent)
                if wait is None:
                    continue
                return Rule(path=rule.path, status=429, retry_after=wait)
            if rule.times is not None:
                left = [(rule.model_copy(update={"times": rule.times - 1}), recent)] if rule.times > 1 else []
                self._rules[place : place + 1] = left
            return rule
        return None


def _excess(per_minute: int, recent: deque[float]) -> int | None:
    now = time.monotonic()
    while recent and recent[0] <= now - _MINUTE:
        recent.popleft()
    if len(recent) < per_minute:
        recent.append(now)
        return None
    return math.ceil(recent[0] + _MINUTE - now)


def _replacement(rule: Rule) -> Response | None:
    if rule.body is not None:
        return Response(rule.body, media_type="application/json")
    if rule.status is None:
        return None
    headers = {} if rule.retry_after is None else {"retry-after": str(rule.retry_after)}
    return JSONResponse({"detail": f"a fault was asked for: {rule.status}"}, rule.status, headers)


def _cut(send: Send, size: int) -> Send:
    left = size

    async def sender(message: Message) -> None:
        nonlocal left
        part = message.get("body", b"")
        if message["type"] != "http.response.body" or len(part) <= left:
            left -= len(part)
            await send(message)
        elif left >= 0:
            await send({"type": "http.response.body", "body": part[:left], "more_body": True})
            left = -1  # the answer stays unfinished, so the server closes the connection

    return sender
