"""Multipart uploads that nobody has finished: listed and aborted, which the S3 library in use cannot do.

Two kinds of request, signed by ourselves: https://docs.aws.amazon.com/IAM/latest/UserGuide/create-signed-request.html.
boto3 would do it as well, and would be ten times the size of this project.
"""

import hashlib
import hmac
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import quote, urlencode, urlsplit
from xml.etree import ElementTree

import httpx

from shared.errors import Rejected, Retryable
from shared.settings import Settings
from shared.storage.keys import Place

_EMPTY = hashlib.sha256(b"").hexdigest()
_SIGNED = "host;x-amz-content-sha256;x-amz-date"
_GONE = 404


@dataclass(frozen=True)
class Upload:
    """A multipart upload that is not finished: the key it is for, its id, when it began."""

    key: str
    id: str
    begun: datetime


def abort_uploads(settings: Settings, place: Place, older_than: timedelta) -> list[Upload]:
    """Abort the uploads below a place's prefix that began longer ago than that, and return them.

    Raises:
        Retryable: `s3-unavailable`.
        Rejected: `s3-denied`.
    """
    latest = datetime.now(UTC) - older_than
    aborted: list[Upload] = []
    with httpx.Client(timeout=settings.s3_timeout) as client:
        uploads = Uploads(settings, place, client)
        while old := [upload for upload in uploads.listed() if upload.begun <= latest and upload not in aborted]:
            for upload in old:
                uploads.abort(upload)
            aborted += old
    return aborted


class Uploads:
    """The unfinished uploads of one place."""

    def __init__(self, settings: Settings, place: Place, client: httpx.Client) -> None:
        self._settings = settings
        self._place = place
        self._client = client

    def listed(self) -> Iterator[Upload]:
        """Yield those of one page: at most 1,000, so what is aborted makes room for others."""
        answer = self._request("GET", "", {"uploads": "", "prefix": self._place.prefix})
        for found in ElementTree.fromstring(answer.content).iterfind("{*}Upload"):  # noqa: S314 - from our own store
            begun = datetime.fromisoformat(found.findtext("{*}Initiated", ""))
            yield Upload(found.findtext("{*}Key", ""), found.findtext("{*}UploadId", ""), begun)

    def abort(self, upload: Upload) -> None:
        """Abort one; that it is gone already is no error."""
        self._request("DELETE", f"/{upload.key}", {"uploadId": upload.id})

    def _request(self, method: str, path: str, query: Mapping[str, str]) -> httpx.Response:
        parts = urlsplit(self._settings.s3_endpoint)
        path = quote(f"{parts.path}/{self._place.bucket}{path}", safe="/-_.~")
        text = urlencode(sorted(query.items()), quote_via=quote, safe="-_.~")
        headers = _signed(self._settings, datetime.now(UTC), method, parts.netloc, path, text)
        try:
            answer = self._client.request(method, f"{parts.scheme}://{parts.netloc}{path}?{text}", headers=headers)
        except httpx.TransportError as error:
            raise Retryable("s3-unavailable", f"{method} {path}: {type(error).__name__}") from error
        if answer.status_code in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
            raise Rejected("s3-denied", f"{method} {path} was refused; check the S3 credentials and rights")
        if not answer.is_success and answer.status_code != _GONE:
            raise Retryable("s3-unavailable", f"{method} {path} was answered with {answer.status_code}")
        return answer


def _signed(settings: Settings, now: datetime, method: str, host: str, path: str, query: str) -> dict[str, str]:
    """Return the headers of a request without a body, signed (Signature Version 4)."""
    stamp = now.strftime("%Y%m%dT%H%M%SZ")
    headers = {"host": host, "x-amz-content-sha256": _EMPTY, "x-amz-date": stamp}
    lines = "".join(f"{name}:{value}\n" for name, value in headers.items())
    canonical = "\n".join((method, path, query, lines, _SIGNED, _EMPTY))
    scope = (stamp[:8], settings.s3_region, "s3", "aws4_request")
    to_sign = "\n".join(("AWS4-HMAC-SHA256", stamp, "/".join(scope), hashlib.sha256(canonical.encode()).hexdigest()))
    key = f"AWS4{settings.s3_secret_access_key.get_secret_value()}".encode()
    for part in (*scope, to_sign):
        key = hmac.digest(key, part.encode(), "sha256")
    credential = f"{settings.s3_access_key_id.get_secret_value()}/{'/'.join(scope)}"
    said = f"AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders={_SIGNED}, Signature={key.hex()}"
    return {**headers, "authorization": said}
