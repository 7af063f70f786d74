"""The faults of systems that answer, and say what is not so."""

from collections.abc import Iterator

from tests.faults.kinds import Scene, kind
from tests.faults.proxy import Lie

_S3_ERROR = b"""<?xml version="1.0" encoding="UTF-8"?>
<Error><Code>InternalError</Code><Message>We encountered an internal error. Please try again.</Message></Error>"""
_JSON_ERROR = b'{"code": "InternalError", "description": "something went wrong"}'
_PAGE = b"<html><body>Service temporarily unavailable</body></html>"
_WRITES = "^(PUT|POST|DELETE) "
_COMPLETION = "^POST .*uploadId="
_ITEM_WRITES = "^(PUT|POST) .*/items"
_LEAVES = ("claims", "uploads", "archives")


def _lies(
    name: str,
    target: str,
    *lies: Lie,
    lasting: tuple[float, float],
    is_outage: bool = False,
    refuses: tuple[str, ...] = (),
) -> None:
    @kind(name, lasting=lasting, is_outage=is_outage, leaves=_LEAVES, refuses=refuses)
    def tell(scene: Scene) -> Iterator[None]:
        restore = scene.system.lie(target, scene.chance.choice(lies))
        yield
        restore()


_lies("store-500", "store", Lie(".", 500, _S3_ERROR), Lie(".", 503, _S3_ERROR), lasting=(0.5, 2), is_outage=True)
_lies("store-applied", "store", Lie(_WRITES, 500, _S3_ERROR, applied=True), lasting=(0.5, 1.5))
_lies(
    "completion",  # https://docs.aws.amazon.com/AmazonS3/latest/API/API_CompleteMultipartUpload.html: 200, and an error
    "store",
    Lie(_COMPLETION, 200, _S3_ERROR),
    Lie(_COMPLETION, 200, _S3_ERROR, applied=True),
    Lie(_COMPLETION, 500, _S3_ERROR, applied=True),
    lasting=(1, 2),
)
_lies("catalog-500", "catalog", Lie(".", 500, _JSON_ERROR), Lie(".", 503, _PAGE), lasting=(0.5, 2), is_outage=True)
_lies("catalog-applied", "catalog", Lie(_WRITES, 500, _JSON_ERROR, applied=True), lasting=(0.5, 1.5))
_lies("catalog-no-writes", "catalog", Lie(_ITEM_WRITES, 503, _JSON_ERROR), lasting=(2, 3))
_lies("catalog-page", "catalog", Lie("/items", 200, _PAGE), Lie("/items", 200, _JSON_ERROR), lasting=(0.5, 1.5))
_lies("station-500", "station", Lie(".", 500, _JSON_ERROR), Lie(".", 503, _PAGE), lasting=(0.5, 2), is_outage=True)
_lies("station-page", "station", Lie(".", 200, _PAGE), Lie(".", 200, _JSON_ERROR), lasting=(0.3, 1))
_lies(
    "station-401",
    "station",
    Lie(".", 401, _JSON_ERROR),
    lasting=(0.3, 1),
    refuses=("station-unauthorized",),
)
_lies("catalog-401", "catalog", Lie(".", 401, _JSON_ERROR), lasting=(0.3, 1))
