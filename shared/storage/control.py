"""S3 beside the bytes, with boto3: conditional deletes and replacements, copies within the store, unfinished uploads.

Bytes go through obstore (`objects.py`): a PUT takes it 0.25 ms of CPU, and boto3 2 ms. boto3 is imported when it is
first needed: a process that never needs it saves 35 MB.

SeaweedFS 4 honours each condition used here. Where a store answers 501 to one, the ETag is compared just before, and
the request is sent without the condition. A store that ignores conditions does what it is asked.
"""

import base64
import hashlib
import os
import re
from collections.abc import Container, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property, partial
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, cast

from shared.errors import Refused, Rejected, Retryable
from shared.settings import Settings
from shared.storage.digests import PART_BYTES
from shared.storage.keys import Place
from shared.storage.location import Listed, Location, Stored, changed

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client
    from types_boto3_s3.type_defs import CompletedPartTypeDef

LARGEST_COPY: Final = 5 * 2**30
"""What one request may copy: https://docs.aws.amazon.com/AmazonS3/latest/API/API_CopyObject.html."""

COPY_PART: Final = 2**29
_MOST_PARTS: Final = 10_000
_PARTS_AT_ONCE: Final = 4
_MOST_DELETES: Final = 1000
_FULL: Final = re.compile(r"507|\w*(Quota|StorageFull|InsufficientCapacity|InsufficientStorage)")
_CHANGED: Final = ("412", "PreconditionFailed", "404", "NoSuchKey", "ConditionalRequestConflict")
_LACKING: Final = ("501", "NotImplemented")
_NO_UPLOAD: Final = ("NoSuchUpload", "404")


@dataclass(frozen=True)
class Upload:
    """A multipart upload that is not finished: the key it is for, its id, when it began."""

    key: str
    id: str
    begun: datetime


class Control:
    """The S3 service of the settings. Safe to share between threads; to be made anew after a fork.

    Every method raises `Retryable` (`s3-unavailable`, `s3-full`) and `Refused` (`s3-denied`) as `ObjectStore` does.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    @cached_property
    def client(self) -> "S3Client":
        """boto3's client; it reads no configuration but ours."""
        import boto3
        import botocore.session
        from botocore.config import Config

        settings = self._settings
        alone = dict.fromkeys(("config_file", "credentials_file"), (None, None, os.devnull, None))
        session = botocore.session.Session(session_vars={**alone, "profile": (None, None, None, None)})
        client: S3Client = boto3.session.Session(botocore_session=session).client(
            "s3",
            endpoint_url=settings.s3_endpoint,
            region_name=settings.s3_region,
            aws_access_key_id=settings.s3_access_key_id.get_secret_value(),
            aws_secret_access_key=settings.s3_secret_access_key.get_secret_value(),
            config=Config(
                connect_timeout=settings.s3_timeout,
                read_timeout=settings.s3_timeout,
                retries={"mode": "standard", "total_max_attempts": 4},
                max_pool_connections=max(10, settings.transfer_memory // PART_BYTES),
                s3={"addressing_style": settings.s3_addressing},
                request_checksum_calculation="when_required",  # S3 services other than AWS know none of the newer ones
                response_checksum_validation="when_required",
            ),
            verify=os.environ.get("SSL_CERT_FILE")
            or None,  # as all other clients have it; botocore does not look at it
        )
        client.meta.events.register("before-call.s3.DeleteObjects", _prove_by_md5)
        return client

    def close(self) -> None:
        """Close the connections, if there are any."""
        if "client" in vars(self):
            self.client.close()

    def delete(self, location: Location, etag: str) -> bool:
        """Delete an object, provided that its ETag is still this one.

        Returns:
            False where the object is another one by now, or gone.
        """
        with _translated(f"DELETE {location.href}"):
            return self._if(
                partial(self.client.delete_object, Bucket=location.bucket, Key=location.key),
                location,
                etag,
            )

    def delete_all(self, locations: Iterable[Location]) -> None:
        """Delete objects of one bucket, a thousand with each request; that one is not there is no error."""
        waiting = iter(locations)
        while batch := list(islice(waiting, _MOST_DELETES)):
            bucket, keys = batch[0].bucket, [location.key for location in batch]
            with _translated(f"DELETE {len(keys)} objects of {bucket}"):
                answer = self.client.delete_objects(
                    Bucket=bucket, Delete={"Objects": [{"Key": key} for key in keys], "Quiet": True}
                )
                for error in answer.get("Errors", ()):
                    raise _error_of(f"DELETE s3://{bucket}/{error.get('Key', '')}", error.get("Code", ""), str(error))

    def replace(self, location: Location, data: bytes, known: str | None, content_type: str) -> None:
        """Write a large object as a multipart upload, provided that what is there is still what the caller knows of.

        Args:
            location: where to.
            data: all of it.
            known: the ETag of the object that is replaced; None where there must not be one.
            content_type: as the store will give it.

        Raises:
            Retryable: `s3-changed`.
        """
        bucket, key = location.bucket, location.key
        with self._upload(location, content_type) as (upload, parts):
            for number, start in enumerate(range(0, len(data), PART_BYTES), start=1):
                body = data[start : start + PART_BYTES]
                sent = self.client.upload_part(Bucket=bucket, Key=key, UploadId=upload, PartNumber=number, Body=body)
                parts.append({"PartNumber": number, "ETag": sent["ETag"]})
            complete = partial(
                self.client.complete_multipart_upload,
                Bucket=bucket,
                Key=key,
                UploadId=upload,
                MultipartUpload={"Parts": parts},
            )
            if not self._if(complete, location, known):
                raise changed(location)

    def list_page(self, prefix: Location, after: str, most: int = 1000) -> tuple[list[Listed], bool]:
        """Return objects below a prefix whose keys follow the key `after`, in the store's order, with one request.

        Unlike obstore's listing it takes any key, and one call is one request, whose place can be remembered.

        Args:
            prefix: whose key ends in a slash.
            after: a key that need not be there any more; empty for the first page.
            most: objects, a thousand at most.

        Returns:
            The objects, and whether others follow them.
        """
        with _translated(f"LIST {prefix.href}"):
            answer = self.client.list_objects_v2(
                Bucket=prefix.bucket, Prefix=prefix.key, StartAfter=after, MaxKeys=most
            )
        found = [
            Listed(each["Key"], each["Size"], each["ETag"].strip('"'), each["LastModified"].timestamp())
            for each in answer.get("Contents", ())
        ]
        return found, bool(found) and answer["IsTruncated"]

    def folder_names(self, parent: Location) -> list[str]:
        """Return the names of the folders in a folder, whose key is empty or ends in a slash."""
        with _translated(f"LIST {parent.href}"):
            pages = self.client.get_paginator("list_objects_v2").paginate(
                Bucket=parent.bucket, Prefix=parent.key, Delimiter="/"
            )
            prefixes = [each["Prefix"] for page in pages for each in page.get("CommonPrefixes", ())]
        return [prefix.removeprefix(parent.key).removesuffix("/") for prefix in prefixes]

    def begin_upload(self, target: Location, content_type: str) -> str:
        """Begin a multipart upload; returns its id."""
        with _translated(f"PUT {target.href}"):
            begun = self.client.create_multipart_upload(Bucket=target.bucket, Key=target.key, ContentType=content_type)
        return begun["UploadId"]

    def upload_part(self, target: Location, upload: str, number: int, data: bytes) -> str:
        """Send a part of an upload, in the place of the one that has this number; returns its ETag."""
        with _translated(f"PUT {target.href}"):
            sent = self.client.upload_part(
                Bucket=target.bucket, Key=target.key, UploadId=upload, PartNumber=number, Body=data
            )
        return sent["ETag"]

    def whole_parts(self, target: Location, upload: str) -> list[str]:
        """Return the ETags of an upload's first parts, up to one that is missing or has not `PART_BYTES`.

        None are there of an upload that the store does not know.
        """
        from botocore.exceptions import ClientError

        found: list[str] = []
        with _translated(f"listing the parts of {target.href}"):
            pages = self.client.get_paginator("list_parts")
            try:
                for page in pages.paginate(Bucket=target.bucket, Key=target.key, UploadId=upload):
                    for part in page.get("Parts", ()):
                        if (part["PartNumber"], part["Size"]) != (len(found) + 1, PART_BYTES):
                            return found
                        found.append(part["ETag"])
            except ClientError as error:
                if _code(error) not in _NO_UPLOAD:
                    raise
                return []
        return found

    def complete_upload(self, target: Location, upload: str, etags: list[str]) -> None:
        """Make an object of the parts that have these ETags, the first being number 1."""
        parts: list[CompletedPartTypeDef] = [
            {"PartNumber": number, "ETag": etag} for number, etag in enumerate(etags, start=1)
        ]
        with _translated(f"PUT {target.href}"):
            self.client.complete_multipart_upload(
                Bucket=target.bucket, Key=target.key, UploadId=upload, MultipartUpload={"Parts": parts}
            )

    def copy(self, source: Location, stored: Stored, target: Location) -> None:
        """Copy an object within the store if its ETag is still that of `stored`; it appears whole or not at all.

        Raises:
            Retryable: `s3-changed`, the source is another one by now, or gone.
        """
        whence: dict[str, Any] = {
            "CopySource": {"Bucket": source.bucket, "Key": source.key},
            "CopySourceIfMatch": f'"{stored.etag}"',
        }
        with _translated(f"copying {source.href}", source):
            if stored.size > LARGEST_COPY:
                self._copy_parts(whence, stored.size, target)
            else:
                self.client.copy_object(Bucket=target.bucket, Key=target.key, **whence)

    def unfinished(self, place: Place) -> Iterator[Upload]:
        """Yield the unfinished multipart uploads below a place's prefix."""
        with _translated(f"listing the uploads of {place.bucket}"):
            pages = self.client.get_paginator("list_multipart_uploads")
            for page in pages.paginate(Bucket=place.bucket, Prefix=place.prefix):
                for found in page.get("Uploads", ()):
                    yield Upload(found["Key"], found["UploadId"], found["Initiated"])

    def abort_uploads(self, place: Place, older_than: timedelta, spared: Container[str] = ()) -> list[Upload]:
        """Abort the uploads below a place's prefix that began longer ago than that, and return them.

        Args:
            place: where to look.
            older_than: what is younger stays.
            spared: ids of uploads that stay, however old they are.
        """
        latest = datetime.now(UTC) - older_than
        old = [one for one in self.unfinished(place) if one.begun <= latest and one.id not in spared]
        for upload in old:
            self.abort(Location(place.bucket, upload.key), upload.id)
        return old

    def abort(self, target: Location, upload: str) -> None:
        """Abort an upload; that there is none is no error."""
        from botocore.exceptions import ClientError

        with _translated(f"aborting an upload to {target.href}"):
            try:
                self.client.abort_multipart_upload(Bucket=target.bucket, Key=target.key, UploadId=upload)
            except ClientError as error:
                if _code(error) not in _NO_UPLOAD:
                    raise

    def _copy_parts(self, whence: dict[str, Any], size: int, target: Location) -> None:
        step = max(COPY_PART, -(-size // _MOST_PARTS))

        def copy_part(upload: str, number: int) -> "CompletedPartTypeDef":
            start = (number - 1) * step
            answer = self.client.upload_part_copy(
                Bucket=target.bucket,
                Key=target.key,
                UploadId=upload,
                PartNumber=number,
                CopySourceRange=f"bytes={start}-{min(start + step, size) - 1}",
                **whence,
            )
            return {"PartNumber": number, "ETag": answer["CopyPartResult"]["ETag"]}

        with self._upload(target, "application/octet-stream") as (upload, parts):
            with ThreadPoolExecutor(_PARTS_AT_ONCE, thread_name_prefix="copy-part") as pool:
                parts += pool.map(partial(copy_part, upload), range(1, -(-size // step) + 1))
            self.client.complete_multipart_upload(
                Bucket=target.bucket, Key=target.key, UploadId=upload, MultipartUpload={"Parts": parts}
            )

    @contextmanager
    def _upload(self, target: Location, content_type: str) -> Iterator[tuple[str, list["CompletedPartTypeDef"]]]:
        """Begin a multipart upload that the block completes; it is aborted where the block raises."""
        with _translated(f"PUT {target.href}"):
            begun = self.client.create_multipart_upload(Bucket=target.bucket, Key=target.key, ContentType=content_type)
            try:
                yield begun["UploadId"], []
            except BaseException:
                self.abort(target, begun["UploadId"])
                raise

    def _if(self, request: "partial[Any]", location: Location, known: str | None) -> bool:
        """Send a request on the condition that the object's ETag is `known`; returns whether the condition held."""
        from botocore.exceptions import ClientError

        condition = {"IfNoneMatch": "*"} if known is None else {"IfMatch": f'"{known}"'}
        try:
            request(**condition)
        except ClientError as error:
            if _code(error) in _CHANGED:
                return False
            if _code(error) not in _LACKING:
                raise
            if self._etag(location) != known:
                return False
            request()
        return True

    def _etag(self, location: Location) -> str | None:
        from botocore.exceptions import ClientError

        try:
            return self.client.head_object(Bucket=location.bucket, Key=location.key)["ETag"].strip('"')
        except ClientError as error:
            if _code(error) in ("404", "NoSuchKey"):
                return None
            raise


def _prove_by_md5(params: dict[str, Any], **_: object) -> None:
    """Send the MD5 of a list of objects to delete, which each S3 service knows, and no newer checksum, which few do."""
    params["context"].pop("checksum", None)
    digest = hashlib.md5(params["body"], usedforsecurity=False).digest()
    params["headers"]["Content-MD5"] = base64.b64encode(digest).decode()


@contextmanager
def _translated(operation: str, source: Location | None = None) -> Iterator[None]:
    from botocore.exceptions import BotoCoreError, ClientError, ParamValidationError

    try:
        yield
    except ClientError as error:
        if source is not None and _code(error) in _CHANGED:
            raise changed(source) from error
        raise _error_of(operation, _code(error), str(error)) from error
    except ParamValidationError as error:
        raise Rejected("s3-bad-key", f"{operation}: the store cannot hold this key") from error
    except BotoCoreError as error:
        raise Retryable("s3-unavailable", f"{operation} failed: {type(error).__name__}") from error


def _error_of(operation: str, code: str, said: str) -> Retryable:
    if _FULL.fullmatch(code):
        return Retryable("s3-full", f"{operation} was refused: the store or the bucket's quota is full")
    if code in ("401", "403", "AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch"):
        return Refused("s3-denied", f"{operation} was refused; check the S3 credentials and rights")
    return Retryable("s3-unavailable", f"{operation} failed: {said[:300]}")


def _code(error: Any) -> str:
    return cast("str", error.response.get("Error", {}).get("Code", ""))
