"""Requests to S3 that the S3 library in use cannot make, signed by ourselves.

Signature Version 4: https://docs.aws.amazon.com/IAM/latest/UserGuide/create-signed-request.html. boto3 would do it
as well, and would be ten times the size of this project.
"""

import hashlib
import hmac
from collections.abc import Mapping
from datetime import UTC, datetime
from urllib.parse import quote, urlencode, urlsplit

import httpx

from shared.errors import Rejected, Retryable
from shared.settings import Settings

_EMPTY = hashlib.sha256(b"").hexdigest()


def key_path(bucket: str, key: str) -> str:
    """Return an object's path in a URL, each letter escaped as the signature wants it."""
    return quote(f"/{bucket}/{key}", safe="/-_.~")


def request(
    settings: Settings,
    client: httpx.Client,
    method: str,
    path: str,
    *,
    query: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
) -> httpx.Response:
    """Send one request without a body to the S3 service of the settings, and read its answer whole.

    Args:
        settings: endpoint, region and credentials.
        client: sends it.
        method: of HTTP.
        path: `/bucket` or `/bucket/key`, escaped.
        query: of the URL.
        headers: further ones, of lower-case names that begin with `x-amz-`.

    Raises:
        Retryable: `s3-unavailable`, the network failed.
        Rejected: `s3-denied`, 401 or 403.
    """
    parts = urlsplit(settings.s3_endpoint)
    text = urlencode(sorted((query or {}).items()), quote_via=quote, safe="-_.~")
    signed = _signed(settings, datetime.now(UTC), method, parts.netloc, f"{parts.path}{path}", text, headers or {})
    url = f"{parts.scheme}://{parts.netloc}{parts.path}{path}" + (f"?{text}" if text else "")
    try:
        answer = client.request(method, url, headers=signed)
    except httpx.TransportError as error:
        raise Retryable("s3-unavailable", f"{method} {path}: {type(error).__name__}") from error
    if answer.status_code in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
        raise Rejected("s3-denied", f"{method} {path} was refused; check the S3 credentials and rights")
    return answer


def _signed(
    settings: Settings, now: datetime, method: str, host: str, path: str, query: str, further: Mapping[str, str]
) -> dict[str, str]:
    """Return the headers of a request, all of them signed."""
    stamp = now.strftime("%Y%m%dT%H%M%SZ")
    headers = {"host": host, "x-amz-content-sha256": _EMPTY, "x-amz-date": stamp, **further}
    names = ";".join(sorted(headers))
    lines = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers))
    canonical = "\n".join((method, path, query, lines, names, _EMPTY))
    scope = (stamp[:8], settings.s3_region, "s3", "aws4_request")
    to_sign = "\n".join(("AWS4-HMAC-SHA256", stamp, "/".join(scope), hashlib.sha256(canonical.encode()).hexdigest()))
    key = f"AWS4{settings.s3_secret_access_key.get_secret_value()}".encode()
    for part in (*scope, to_sign):
        key = hmac.digest(key, part.encode(), "sha256")
    credential = f"{settings.s3_access_key_id.get_secret_value()}/{'/'.join(scope)}"
    said = f"AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders={names}, Signature={key.hex()}"
    return {**headers, "authorization": said}
