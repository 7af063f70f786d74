"""Objects that are on the same S3 service already: copied there, without their bytes passing through us."""

from functools import cached_property
from xml.etree import ElementTree

import httpx

from shared.errors import Retryable
from shared.settings import Settings
from shared.storage import signing
from shared.storage.objects import Location, Stored

LARGEST_COPY = 5 * 2**30
"""What one request may copy: https://docs.aws.amazon.com/AmazonS3/latest/API/API_CopyObject.html."""

_PRECONDITION_FAILED = 412


class Copier:
    """Copies between buckets of the S3 service of the settings. Safe to share between threads."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    @cached_property
    def _client(self) -> httpx.Client:
        return httpx.Client(timeout=self._settings.s3_timeout)

    def close(self) -> None:
        """Close the connections, if there are any."""
        if "_client" in vars(self):
            self._client.close()

    def copy(self, source: Location, stored: Stored, target: Location) -> None:
        """Copy an object, if its ETag still is that of `stored`; the target appears whole or not at all.

        Raises:
            Retryable: `s3-changed`, the source is another one by now, or gone; `s3-unavailable`.
            Rejected: `s3-denied`.
        """
        headers = {
            "x-amz-copy-source": signing.key_path(source.bucket, source.key),
            "x-amz-copy-source-if-match": f'"{stored.etag}"',
        }
        path = signing.key_path(target.bucket, target.key)
        answer = signing.request(self._settings, self._client, "PUT", path, headers=headers)
        if answer.status_code in (httpx.codes.NOT_FOUND, _PRECONDITION_FAILED):
            raise Retryable("s3-changed", f"{source.href} changed while it was copied")
        if not answer.is_success or not _says_copied(answer):
            raise Retryable("s3-unavailable", f"copying {source.href} was answered with {answer.status_code}")


def _says_copied(answer: httpx.Response) -> bool:
    """Whether the body is a result: a copy that fails late is answered with 200 and an error in the body."""
    try:
        return ElementTree.fromstring(answer.content).tag.endswith("CopyObjectResult")  # noqa: S314 - our own store
    except ElementTree.ParseError:
        return False
