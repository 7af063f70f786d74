"""Multipart uploads that nobody has finished: listed and aborted, which the S3 library in use cannot do."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from xml.etree import ElementTree

import httpx

from shared.errors import Retryable
from shared.settings import Settings
from shared.storage import signing
from shared.storage.keys import Place

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
        answer = self._request("GET", f"/{self._place.bucket}", {"uploads": "", "prefix": self._place.prefix})
        for found in ElementTree.fromstring(answer.content).iterfind("{*}Upload"):  # noqa: S314 - from our own store
            begun = datetime.fromisoformat(found.findtext("{*}Initiated", ""))
            yield Upload(found.findtext("{*}Key", ""), found.findtext("{*}UploadId", ""), begun)

    def abort(self, upload: Upload) -> None:
        """Abort one; that it is gone already is no error."""
        self._request("DELETE", signing.key_path(self._place.bucket, upload.key), {"uploadId": upload.id})

    def _request(self, method: str, path: str, query: Mapping[str, str]) -> httpx.Response:
        answer = signing.request(self._settings, self._client, method, path, query=query)
        if not answer.is_success and answer.status_code != _GONE:
            raise Retryable("s3-unavailable", f"{method} {path} was answered with {answer.status_code}")
        return answer
