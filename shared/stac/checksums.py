"""The checksums of STAC's file extension, and how a station's list of checksums becomes one of them."""

import re
from collections.abc import Iterable
from typing import Final

MULTIHASHES: Final = {  # code as a varint, then the length: https://github.com/multiformats/multicodec
    "md5": "d50110",
    "sha1": "1114",
    "sha256": "1220",
    "sha512": "1340",
    "sha384": "2030",
    "sha3_512": "1440",
    "sha3_384": "1530",
    "sha3_256": "1620",
    "blake3": "1e20",
}
"""What a multihash begins with, in hex, by the function's name in hashlib (BLAKE3 has a package of its own)."""

HEX: Final = frozenset("0123456789abcdef")
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_/+-]{0,39}")
_READ: Final = 100
_CODE_BYTES: Final = 4


def hex_digits(function: str) -> int:
    """Return how many hex digits a digest of this function has: the last byte of a multihash's prefix is its length."""
    return 2 * int(MULTIHASHES[function][-2:], 16)


def stated_checksum(stated: Iterable[tuple[str, str | None]]) -> str | None:
    """Return the `file:checksum` of a product whose station lists checksums, each with its algorithm, in any order.

    MD5 is taken first: it is computed of every file, and a store proves it by its ETag. Else it is the first one in
    the order of `MULTIHASHES` that can be read. Where none can, it is `ALGORITHM:VALUE` of the first: the setting
    `unreadable_checksums` of the station decides what becomes of that.

    Args:
        stated: algorithm (`MD5`, `SHA3-256`, `BLAKE3`) and value in hex, both in any letter case; an empty value
            states nothing.

    Returns:
        The checksum, or None where the list states none.
    """
    given = [(algorithm, value.strip()) for algorithm, value in stated if value and value.strip()]
    for function, prefix in MULTIHASHES.items():
        for algorithm, value in given:
            digits = value.lower()
            if _plain(algorithm) == _plain(function) and len(digits) == hex_digits(function) and HEX.issuperset(digits):
                return prefix + digits
    return ":".join(given[0]) if given else None


def algorithm_of(checksum: str) -> str:
    """Return how a checksum names its algorithm, for a reason: a name before a colon, or the code of a multihash."""
    name, colon, _ = checksum.partition(":")
    if colon and _NAME.fullmatch(name):
        return f"algorithm {name}"
    lower = checksum[:_READ].lower()
    if HEX.issuperset(lower) and len(lower) % 2 == 0:
        code = 0
        for index, byte in enumerate(bytes.fromhex(lower)[:_CODE_BYTES]):  # an unsigned varint, as multiformats has it
            code |= (byte & 0x7F) << 7 * index
            if byte < 0x80:
                return f"as a multihash, of the code 0x{code:x}"
    return "of an unknown algorithm"


def _plain(algorithm: str) -> str:
    return algorithm.lower().replace("-", "").replace("_", "")
