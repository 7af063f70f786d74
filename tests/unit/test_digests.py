"""Digests: the ETag that S3 must report follows from the bytes alone, and a checksum means one MD5 or nothing."""

import hashlib

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as limits
from hypothesis import strategies as st

from shared.errors import ItemFailed
from shared.storage import digests
from shared.storage.digests import (
    Checksum,
    OverlappedDigest,
    RunningDigest,
    Written,
    checksum_of,
    digest_of,
    md5_if_known,
)

MD5 = "0123456789abcdef0123456789abcdef"
BLAKE3 = "3fba5250be9ac259c56e7250c526bc83bacb4be825f2799d3d59e5b4878dd74e"  # of b"content"
SMALL = 16


def md5(data: bytes) -> "hashlib._Hash":
    return hashlib.md5(data, usedforsecurity=False)


def streamed(data: bytes) -> Written:
    digest = RunningDigest()
    digest.update(data)
    return digest.result()


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digests, "PART_BYTES", SMALL)


@pytest.mark.parametrize("size", [0, 1, SMALL - 1, SMALL, SMALL + 1, 2 * SMALL])
def test_the_etag_of_one_put_is_the_md5_whatever_its_size(small_parts: None, size: int) -> None:
    expected = md5(bytes(size)).hexdigest()
    assert digest_of(bytes(size)) == Written(size, expected, expected)


@pytest.mark.parametrize(
    ("size", "parts"),
    [(0, 0), (SMALL - 1, 0), (SMALL, 1), (SMALL + 1, 2), (2 * SMALL, 2), (2 * SMALL + 1, 3), (5 * SMALL, 5)],
)
def test_the_etag_of_a_multipart_upload_is_the_md5_of_its_parts_md5s(small_parts: None, size: int, parts: int) -> None:
    data = bytes(range(size))
    pieces = [data[start : start + SMALL] for start in range(0, size, SMALL)]
    of_parts = md5(b"".join(md5(piece).digest() for piece in pieces)).hexdigest()

    written = streamed(data)
    assert written.etag == (f"{of_parts}-{parts}" if parts else md5(data).hexdigest())
    assert (written.size, written.md5) == (size, md5(data).hexdigest())


@given(chunks=st.lists(st.binary(max_size=50), max_size=12))
@limits(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_how_the_bytes_are_cut_into_chunks_does_not_matter(small_parts: None, chunks: list[bytes]) -> None:
    digest = RunningDigest()
    for chunk in chunks:
        digest.update(memoryview(chunk))
    assert digest.result() == streamed(b"".join(chunks))


def test_a_result_may_be_asked_for_in_between(small_parts: None) -> None:
    digest = RunningDigest()
    data = bytes(range(3 * SMALL))
    for end in range(len(data)):
        assert digest.result() == streamed(data[:end])
        digest.update(data[end : end + 1])


def test_a_part_is_as_large_as_s3_allows_ten_thousand_of() -> None:
    assert digests.PART_BYTES >= 5 * 2**20


def test_what_was_written_has_its_checksum_as_a_multihash() -> None:
    assert Written(0, MD5, MD5).checksum.multihash == f"d50110{MD5}"
    assert checksum_of(Written(0, MD5, MD5).checksum.multihash) == Checksum("md5", MD5)


@pytest.mark.parametrize("checksum", [MD5, MD5.upper(), f"d50110{MD5}", f"D50110{MD5}".upper()])
def test_a_checksum_is_plain_md5_or_a_multihash_of_it(checksum: str) -> None:
    assert checksum_of(checksum) == Checksum("md5", MD5)
    assert md5_if_known(checksum) == MD5


@pytest.mark.parametrize(
    ("prefix", "function"),
    [
        ("1114", "sha1"),
        ("1220", "sha256"),
        ("1340", "sha512"),
        ("2030", "sha384"),
        ("1440", "sha3_512"),
        ("1530", "sha3_384"),
        ("1620", "sha3_256"),
        ("1e20", "blake3"),
    ],
)
def test_a_checksum_may_be_a_multihash_of_another_function(prefix: str, function: str) -> None:
    digest = BLAKE3 if function == "blake3" else hashlib.new(function, b"content").hexdigest()
    checksum = checksum_of((prefix + digest).upper())

    assert checksum == Checksum(function, digest)
    assert checksum.multihash == prefix + digest
    assert md5_if_known(prefix + digest) is None
    assert digest_of(b"content", function).checksum == checksum
    with OverlappedDigest(function) as running:
        running.update(b"con")
        running.update(b"tent")
        assert running.result() == digest_of(b"content", function)


def test_blake3_is_that_of_its_authors() -> None:
    # https://github.com/BLAKE3-team/BLAKE3/blob/master/test_vectors/test_vectors.json, input_len 0
    of_nothing = "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"
    assert digest_of(b"", "blake3").checksum == Checksum("blake3", of_nothing)


@pytest.mark.parametrize(
    ("checksum", "algorithm"),
    [
        ("sm3:00ff", "algorithm sm3"),
        ("b2200a" + "00" * 10, "code 0x1032"),
        ("a0e40220" + "00" * 32, "code 0xb220"),
        ("xx", "unknown algorithm"),
    ],
)
def test_the_reason_names_the_algorithm_of_a_checksum_that_cannot_be_read(checksum: str, algorithm: str) -> None:
    with pytest.raises(ItemFailed, match=f"bad-checksum.*{algorithm}"):
        checksum_of(checksum)


def test_no_checksum_is_none() -> None:
    assert checksum_of(None) is None


@pytest.mark.parametrize(
    "checksum",
    [
        "",
        "x",
        MD5[:-1],
        MD5 + "0",
        "g" * 32,
        f"d50110{MD5}00",
        f"1221{MD5}{MD5}",
        f"1220{MD5}{MD5}0",
        f"{MD5}{MD5}",
        "12" * 5000,
        f"d50111{MD5}",
        f" {MD5[:-1]}",
        "٣" * 32,
    ],
)
def test_a_checksum_of_another_kind_is_refused(checksum: str) -> None:
    with pytest.raises(ItemFailed, match="bad-checksum"):
        checksum_of(checksum)
    assert md5_if_known(checksum) is None


def test_a_plain_md5_that_begins_like_a_multihash_is_plain() -> None:
    plain = "d50110" + "0" * 26
    assert checksum_of(plain) == Checksum("md5", plain)
