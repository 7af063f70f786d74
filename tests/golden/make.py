"""Makes the archives of the golden cases: `python -m tests.golden.make` writes each that is not there yet.

The archives are committed, since another version of zlib or tarfile may write other bytes. What must come out of them
(`expected/` in the layout flat, `expected-tree/`, or the refusal of `expected.json`) is never made by the code under
test.
"""

import bz2
import gzip
import io
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import inflate64

HERE = Path(__file__).parent
WHEN = (2024, 1, 2, 3, 4, 6)
XML = b"<auxiliary><start>2024-01-02T00:00:00</start></auxiliary>\n" * 4
DATA = bytes(range(256)) * 4
APPLE_DOUBLE = bytes.fromhex("00051607 00020000") + b"Mac OS X".ljust(82, b" ")
Members = dict[str, bytes]

CASES: dict[str, Callable[[], bytes]] = {}


def case(path: str) -> Callable[[Callable[[], bytes]], Callable[[], bytes]]:
    def register(make: Callable[[], bytes]) -> Callable[[], bytes]:
        CASES[path] = make
        return make

    return register


def zip_of(members: Members, method: int = zipfile.ZIP_DEFLATED, streamed: bool = False, zip64: bool = False) -> bytes:
    target = Unseekable() if streamed else io.BytesIO()
    with zipfile.ZipFile(target, "w", method) as archive:
        for name, content in members.items():
            info = zipfile.ZipInfo(name, WHEN)
            info.compress_type = method
            info.external_attr = (stat.S_IFDIR | 0o755 if name.endswith("/") else stat.S_IFREG | 0o644) << 16
            with archive.open(info, "w", force_zip64=zip64) as member:
                member.write(content)
    return target.getvalue()


class Unseekable(io.BytesIO):
    def seekable(self) -> bool:
        return False

    def seek(self, *_: object) -> int:
        raise io.UnsupportedOperation

    def tell(self) -> int:
        raise io.UnsupportedOperation


def tar_of(members: Members, form: int = tarfile.USTAR_FORMAT) -> bytes:
    return tar_with(
        [
            (info_of(name, tarfile.DIRTYPE if name.endswith("/") else tarfile.REGTYPE), members[name])
            for name in members
        ],
        form,
    )


def info_of(name: str, kind: bytes, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mtime = kind, link, 1_704_164_646
    return info


def tar_with(entries: list[tuple[tarfile.TarInfo, bytes]], form: int = tarfile.USTAR_FORMAT) -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w", format=form) as archive:
        for info, content in entries:
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return target.getvalue()


def tgz_of(members: Members) -> bytes:
    return gzipped(tar_of(members))


def gzipped(data: bytes) -> bytes:
    return gzip.compress(data, mtime=0)


def changed(data: bytes, at: int, new: bytes) -> bytes:
    at %= len(data)
    return data[:at] + new + data[at + len(new) :]


def one_zip(name: str, kind: int = stat.S_IFREG, content: bytes = b"x") -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        info = zipfile.ZipInfo("replaced", WHEN)
        info.filename = name
        info.external_attr = (kind | 0o644) << 16
        archive.writestr(info, content)
    return target.getvalue()


# --- formats ---------------------------------------------------------------------------------------------------------

PRODUCT = {"a.xml": XML, "data/b.dat": DATA, "data/empty": b""}
CASES["zip-stored/product.zip"] = lambda: zip_of(PRODUCT, zipfile.ZIP_STORED)
CASES["zip-deflate/product.zip"] = lambda: zip_of(PRODUCT)
CASES["zip-bzip2/product.zip"] = lambda: zip_of(PRODUCT, zipfile.ZIP_BZIP2)
CASES["zip-lzma/product.ZIP"] = lambda: zip_of(PRODUCT, zipfile.ZIP_LZMA)
CASES["zip-data-descriptors/product.zip"] = lambda: zip_of(PRODUCT, streamed=True)
CASES["zip64/product.zip"] = lambda: zip_of(PRODUCT, zip64=True)
CASES["zip64-data-descriptors/product.zip"] = lambda: zip_of(PRODUCT, streamed=True, zip64=True)
CASES["tar/product.tar"] = lambda: tar_of(PRODUCT)
CASES["tar-pax-long-names/product.tar"] = lambda: tar_of({"d/" * 60 + "ü" * 110 + ".xml": XML}, tarfile.PAX_FORMAT)
CASES["tar-gnu-long-names/product.tar"] = lambda: tar_of({"d/" * 60 + "n" * 210 + ".xml": XML}, tarfile.GNU_FORMAT)
CASES["tgz-upper-case/PRODUCT.TGZ"] = lambda: tgz_of(PRODUCT)
CASES["tar-gz/product.tar.gz"] = lambda: tgz_of(PRODUCT)
CASES["tgz-dot-slash/product.tgz"] = lambda: tgz_of({"./": b"", "./a.xml": XML, "./data/b.dat": DATA})
CASES["names-of-all-kinds/product.zip"] = lambda: zip_of({"ä ö.xml": XML, "50%#?&+.dat": DATA, "a.zarr/.zgroup": b"{}"})
CASES["equal-files/product.zip"] = lambda: zip_of({"a/manifest.xml": XML, "b/manifest.xml": XML})
CASES["nested-zip-kept/product.tar"] = lambda: tar_of({"inner.zip": one_zip("a"), "a.xml": XML})
CASES["top-directory/S3A_AUX.SEN3.zip"] = lambda: zip_of(
    {"S3A_AUX.SEN3/": b"", "S3A_AUX.SEN3/manifest.xml": XML, "S3A_AUX.SEN3/sub/b.dat": DATA}
)
CASES["top-directory-tgz/product.tgz"] = lambda: tgz_of({"top/": b"", "top/a.xml": XML, "top/sub/b.dat": DATA})
CASES["two-top-directories/product.tgz"] = lambda: tgz_of({"one/a.xml": XML, "two/b.dat": DATA})
CASES["nested-tar-gz-in-zip/some_adfs.zip"] = lambda: zip_of(
    {"file.xml": XML, "content.tar.gz": tgz_of({"x/one.dat": DATA, "two.dat": b"two"})}
)
CASES["nested-zip/product.tar"] = lambda: tar_of(
    {"inner.zip": zip_of({"one.dat": DATA, "deep/last.ZIP": zip_of({"x/two.dat": b"two"})}), "a.xml": XML}
)
CASES["nested-zip-in-zip/product.zip"] = lambda: zip_of({"in/inner.zip": zip_of({"in.tgz": tgz_of(PRODUCT)})})
CASES["zip-deflate64/product.zip"] = lambda: deflate64_zip({"a.xml": XML, "data/b.dat": DATA})
CASES["nested-three-deep/product.tar"] = lambda: tar_of(
    {"in/one.tgz": tgz_of({"two.TAR": tar_of({"three.tar.gz": tgz_of({"deep/last.xml": XML})})}), "a.xml": XML}
)


CASES["tgz-named-tar/product.tar"] = lambda: tgz_of(PRODUCT)
CASES["tar-named-tgz/product.tgz"] = lambda: tar_of(PRODUCT)
CASES["tar-named-tgz-nested/product.zip"] = lambda: zip_of({"a.xml": XML, "in.tgz": tar_of({"b.dat": DATA})})
CASES["zip-of-a-pipe/product.zip"] = lambda: one_zip("a.xml", stat.S_IFIFO, XML)
CASES["zip-then-zeros/product.zip"] = lambda: zip_of(PRODUCT) + bytes(10_240)
CASES["zip-names-in-utf-8/product.zip"] = lambda: with_raw_names(zip_of({"ä.xml": XML}))
CASES["zip-names-in-code-page/product.zip"] = lambda: one_zip("?.xml").replace(b"?.xml", b"\x84.xml")
CASES["zip-names-in-field/product.zip"] = lambda: with_name_in_field(one_zip("u.xml", content=XML), "ü.xml")
CASES["apple-double/product.zip"] = lambda: zip_of({"X/a.xml": XML, "X/._b": DATA, "__MACOSX/X/._a.xml": APPLE_DOUBLE})
CASES["apple-double-tgz/product.tgz"] = lambda: tgz_of(
    {"./._X": APPLE_DOUBLE, "./X/._a.xml": APPLE_DOUBLE, "./X/a.xml": XML}
)
CASES["tar-volume-label/product.tar"] = lambda: tar_with(
    [(info_of("Volume 1", b"V"), b""), (info_of("a.xml", tarfile.REGTYPE), XML)], tarfile.GNU_FORMAT
)


@case("tar-incremental/product.tar")
def _incremental() -> bytes:
    """What GNU tar writes with --incremental: directories list their files, times stand where others have a prefix."""
    listed = tar_with(
        [(info_of("d/", b"D"), b"Ya.xml\0\0"), (info_of("d/a.xml", tarfile.REGTYPE), XML)], tarfile.GNU_FORMAT
    )
    timed = changed(listed, 345, b"14545211526\0" * 2)
    return resummed(timed[:1024]) + resummed(changed(timed[1024:], 345, b"14545211526\0" * 2))


@case("zip64-end-unneeded/product.zip")
def _zip64_end_unneeded() -> bytes:
    """What Info-ZIP 3.0 writes where it reads a pipe: the records of zip64, though the usual one tells all."""
    archive = zip_of(PRODUCT)
    count, size, start = struct.unpack_from("<H2L", archive, len(archive) - 12)
    end64 = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 0x31E, 45, 0, 0, count, count, size, start)
    locator = struct.pack("<4sLQL", b"PK\6\7", 0, start + size, 1)
    return archive[: start + size] + end64 + locator + archive[start + size :]


def with_raw_names(archive: bytes) -> bytes:
    return flagged(archive, 0)


def with_name_in_field(archive: bytes, name: str) -> bytes:
    """Add Info-ZIP's field to the directory's only record (APPNOTE 4.6.9)."""
    directory = archive.rindex(b"PK\1\2")
    raw_size = struct.unpack_from("<H", archive, directory + 28)[0]
    end = directory + 46 + raw_size
    told = name.encode()
    field = struct.pack("<2HBL", 0x7075, 5 + len(told), 1, zlib.crc32(archive[directory + 46 : end])) + told
    longer = changed(archive, directory + 30, struct.pack("<H", len(field)))
    size = struct.unpack_from("<L", archive, len(archive) - 10)[0] + len(field)
    return changed(longer[:end] + field + longer[end:], -10, struct.pack("<L", size))


@case("tgz-of-two-gzip-members/product.tgz")
def _two_gzip_members() -> bytes:
    tar = tar_of(PRODUCT)
    return gzipped(tar[:1000]) + gzipped(tar[1000:]) + bytes(512)


@case("zip64-end/product.zip")
def _zip64_end() -> bytes:
    return with_zip64_end(zip_of(PRODUCT))


def with_zip64_end(archive: bytes) -> bytes:
    """Tell where the directory is by a zip64 record only, and where the first member is by its zip64 field only."""
    count, size, start = struct.unpack_from("<H2L", archive, len(archive) - 12)
    record = archive[start : start + 46]
    name_end = start + 46 + struct.unpack_from("<H", record, 28)[0]
    record = changed(changed(record, 30, struct.pack("<H", 18)), 42, b"\xff" * 4)
    field = struct.pack("<3H", 0xCAFE, 2, 0) + struct.pack("<2HQ", 1, 8, 0)
    directory = record + archive[start + 46 : name_end] + field + archive[name_end : start + size]
    end64 = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, count, count, len(directory), start)
    locator = struct.pack("<4sLQL", b"PK\6\7", 0, start + len(directory), 1)
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 7) + b"comment"
    return archive[:start] + directory + end64 + locator + end


def deflate64_zip(members: Members) -> bytes:
    """Write a zip with method 9, which the standard library does not know, by hand (APPNOTE 4.3)."""
    content, directory = b"", b""
    for name, data in members.items():
        deflater = inflate64.Deflater()
        packed = deflater.deflate(data) + deflater.flush()
        raw = name.encode()
        facts = (0 if name.isascii() else 1 << 11, 9, 0, 0x5822, zlib.crc32(data), len(packed), len(data), len(raw), 0)
        directory += struct.pack("<4s2H4H3L2H", b"PK\1\2", 21, 21, *facts) + struct.pack(
            "<3H2L", 0, 0, 0, 0o100644 << 16, len(content)
        )
        directory += raw
        content += struct.pack("<4s5H3L2H", b"PK\3\4", 21, *facts) + raw + packed
    count = len(members)
    return content + directory + struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, count, count, len(directory), len(content), 0)


# --- dangers ---------------------------------------------------------------------------------------------------------

CASES["unsafe-traversal-zip/x.zip"] = lambda: one_zip("../../evil")
CASES["unsafe-traversal-tgz/x.tgz"] = lambda: tgz_of({"ok": b"x", "a/../../evil": b"x"})
CASES["unsafe-absolute/x.zip"] = lambda: one_zip("/etc/passwd")
CASES["unsafe-drive-letter/x.zip"] = lambda: one_zip("C:evil")
CASES["unsafe-backslash/x.zip"] = lambda: one_zip("a\\b")
CASES["unsafe-nul/x.zip"] = lambda: one_zip("a\0b")
CASES["unsafe-dot/x.zip"] = lambda: one_zip(".")
CASES["unsafe-long-segment/x.zip"] = lambda: one_zip("n" * 256)
CASES["unsafe-long-key/x.zip"] = lambda: one_zip("d/" * 600 + "f")
CASES["unsafe-symlink-zip/x.zip"] = lambda: one_zip("link", stat.S_IFLNK, b"/etc/passwd")
CASES["unsafe-fifo-zip/x.zip"] = lambda: one_zip("fifo", stat.S_IFIFO, b"")
CASES["unsafe-symlink-tar/x.tar"] = lambda: tar_with([(info_of("link", tarfile.SYMTYPE, "/etc/passwd"), b"")])
CASES["unsafe-hard-link/x.tar"] = lambda: tar_with(
    [(info_of("a", tarfile.REGTYPE), b"x"), (info_of("b", tarfile.LNKTYPE, "a"), b"")]
)
CASES["unsafe-device/x.tar"] = lambda: tar_with([(info_of("null", tarfile.CHRTYPE), b"")])
CASES["unsafe-fifo/x.tgz"] = lambda: gzipped(tar_with([(info_of("fifo", tarfile.FIFOTYPE), b"")]))
CASES["unsafe-unknown-type/x.tar"] = lambda: tar_with([(info_of("what", b"Z"), b"")])
CASES["unsafe-sparse/x.tar"] = lambda: tar_with([(info_of("hole", tarfile.GNUTYPE_SPARSE), b"")])
CASES["unsafe-not-utf-8/x.tar"] = lambda: tar_of({"caf\udce9": b"x"})
CASES["unsafe-duplicate-zip/x.zip"] = lambda: zip_of({"a": b"1", "./a": b"2"})
CASES["unsafe-duplicate-tgz/x.tgz"] = lambda: tgz_of({"a": b"1", "./a": b"1"})
CASES["unsafe-file-and-directory/x.zip"] = lambda: zip_of({"a": b"1", "a/b": b"2"})
CASES["unsafe-directory-and-file/x.tgz"] = lambda: tgz_of({"a/b": b"1", "a": b"2"})
CASES["unsafe-many-at-once/x.zip"] = lambda: zip_of({"../a": b"1", "/b": b"2", "ok": b"3", "c\\d": b"4"})
CASES["unsafe-nested-zip/x.zip"] = lambda: zip_of({"ok": b"x", "in/x.zip": one_zip("../evil")})
CASES["unsafe-nested/x.zip"] = lambda: zip_of({"ok": b"x", "in/x.tgz": tgz_of({"../evil": b"x"})})


@case("unsafe-sparse-pax/x.tar")
def _sparse_pax() -> bytes:
    info = info_of("hole", tarfile.REGTYPE)
    info.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0"}
    return tar_with([(info, b"x")], tarfile.PAX_FORMAT)


@case("unsafe-overlap/x.zip")
def _overlap() -> bytes:
    archive = zip_of({"aaa": DATA, "bbb": DATA})
    second = archive.rindex(b"PK\1\2")
    return changed(archive, second + 42, struct.pack("<L", 3))


@case("unsafe-local-name/x.zip")
def _local_name() -> bytes:
    return changed(one_zip("good"), 30, b"evil")


@case("unsafe-local-size/x.zip")
def _local_size() -> bytes:
    return changed(one_zip("good"), 22, struct.pack("<L", 9))


@case("unsafe-descriptor/x.zip")
def _descriptor() -> bytes:
    archive = zip_of({"a": DATA}, streamed=True)
    return changed(archive, archive.index(b"PK\7\x08") + 4, b"\0\0\0\0")


# --- what is left out where the rules say on_unsafe=skip (rules.json), and what is refused even then ------------------

CASES["skip-unsafe-zip/x.zip"] = lambda: zip_of(
    {"a.xml": XML, "../evil": b"x", "/abs": b"x", "a.xml/b": b"x", "c:d": b"x", "s/b.dat": DATA, "./a.xml": b"x"}
)
CASES["skip-links-tar/x.tgz"] = lambda: gzipped(
    tar_with(
        [
            (info_of("a.xml", tarfile.REGTYPE), XML),
            (info_of("soft", tarfile.SYMTYPE, "/etc/passwd"), b""),
            (info_of("hard", tarfile.LNKTYPE, "a.xml"), b""),
            (info_of("null", tarfile.CHRTYPE), b""),
            (info_of("pipe", tarfile.FIFOTYPE), b""),
            (info_of("what", b"Z"), b"unknown"),
            (info_of("../evil", tarfile.REGTYPE), b"x" * 700),
            (info_of("s/b.dat", tarfile.REGTYPE), DATA),
        ]
    )
)
CASES["skip-damaged-member/x.zip"] = lambda: (lambda z: changed(z, z.index(DATA[:64]), b"X"))(
    zip_of({"a.xml": XML, "bad.dat": DATA, "s/c.dat": b"c"}, zipfile.ZIP_STORED)
)
CASES["skip-encrypted-member/x.zip"] = lambda: flagged(zip_of({"secret": DATA, "a.xml": XML}), 1, last=False)
CASES["skip-method/x.zip"] = lambda: with_method(zip_of({"what": DATA, "a.xml": XML}), 98, last=False)
CASES["skip-overlap/x.zip"] = lambda: (lambda z: changed(z, z.rindex(b"PK\1\2") + 42, struct.pack("<L", 3)))(
    zip_of({"aaa": DATA, "bbb": DATA, "c.xml": XML})
)
CASES["skip-nested/x.zip"] = lambda: zip_of(
    {"a.xml": XML, "in.tar.gz": zip_of(PRODUCT), "bad.zip": b"rubbish", "z.zip": zip_of({"../evil": b"x", "b": b"b"})}
)
CASES["skip-nothing-left/x.tar"] = lambda: tar_with(
    [(info_of("link", tarfile.SYMTYPE, "a"), b""), (info_of("../b", tarfile.REGTYPE), b"")]
)
CASES["skip-limit/x.zip"] = lambda: zip_of({"../a": b"x", **{f"f{number}": b"x" for number in range(6)}})
CASES["skip-tar-cut/x.tgz"] = lambda: tgz_of({"a": DATA, "b": DATA})[:-20]
CASES["skip-link-with-content/x.tar"] = lambda: link_with_content()


@case("skip-sparse/x.tar")
def _skipped_sparse() -> bytes:
    """A sparse file with one more block of its map, between two files."""
    header = bytearray(tar_with([(info_of("hole", tarfile.GNUTYPE_SPARSE), b"")])[:512])
    header[124:136], header[482] = b"00000000003\0", 1
    before, after = tar_of({"a.xml": XML}), tar_of({"b.xml": XML})
    return before[:1024] + resummed(bytes(header)) + bytes(512) + b"xyz".ljust(512, b"\0") + after


def link_with_content() -> bytes:
    tar = tar_with([(info_of("hard", tarfile.LNKTYPE, "a"), b"")])
    return resummed(changed(tar, 124, b"00000000700\0"))


# --- damage ----------------------------------------------------------------------------------------------------------

CASES["damaged-zip-cut/x.zip"] = lambda: zip_of(PRODUCT)[:-30]
CASES["damaged-zip-trailing/x.zip"] = lambda: zip_of(PRODUCT) + b"rubbish behind the end"
CASES["damaged-zip64-disagreement/x.zip"] = lambda: (lambda z: changed(z, z.index(b"PK\6\6") + 32, b"\2"))(
    _zip64_end_unneeded()
)
CASES["damaged-zip-crc/x.zip"] = lambda: changed(one_zip("a", content=b"content"), 32, b"C")
CASES["damaged-zip-in-front/x.zip"] = lambda: b"PK\3\4" + zip_of(PRODUCT)
CASES["damaged-zip-local-header/x.zip"] = lambda: (lambda z: changed(z, z.index(b"PK\3\4", 4), b"XX"))(zip_of(PRODUCT))
CASES["damaged-zip-directory/x.zip"] = lambda: (lambda z: changed(z, z.rindex(b"PK\1\2"), b"XX"))(zip_of(PRODUCT))
CASES["damaged-zip-count/x.zip"] = lambda: changed(zip_of(PRODUCT), -12, b"\2\0")
CASES["damaged-zip-in-parts/x.zip"] = lambda: changed(zip_of(PRODUCT), -18, b"\1\0")
CASES["damaged-zip-deflate/x.zip"] = lambda: changed(zip_of({"a": XML}), 31, b"\xff\xff\xff\xff")
CASES["damaged-zip64-end/x.zip"] = lambda: (lambda z: changed(z, z.index(b"PK\6\6"), b"XX"))(
    with_zip64_end(zip_of(PRODUCT))
)
CASES["damaged-zip64-end-beyond/x.zip"] = lambda: (lambda z: changed(z, z.index(b"PK\6\7") + 8, b"\xff" * 8))(
    with_zip64_end(zip_of(PRODUCT))
)
CASES["damaged-zip64-locator/x.zip"] = lambda: changed(zip_of(PRODUCT), -12, b"\xff\xff")
CASES["damaged-zip-count-of-nothing/x.zip"] = lambda: changed(zip_of({}), -12, b"\xff\xff")
CASES["damaged-zip-record-cut/x.zip"] = lambda: (lambda z: changed(z, z.rindex(b"PK\1\2") + 32, b"\xff"))(
    zip_of(PRODUCT)
)
CASES["unsafe-local-extra/x.zip"] = lambda: changed(one_zip("good"), 28, b"\xff")
CASES["unsafe-pax-global/x.tar"] = lambda: tar_of_global({"path": "../evil"})
CASES["damaged-zip64-field/x.zip"] = lambda: changed(zip_of({"a": b"x"}, zip64=True), 31, b"\2")
CASES["damaged-zip64-in-parts/x.zip"] = lambda: (lambda z: changed(z, z.index(b"PK\6\6") + 16, b"\1"))(
    with_zip64_end(zip_of(PRODUCT))
)
CASES["damaged-zip-directory-moved/x.zip"] = lambda: changed(zip_of(PRODUCT), -6, b"\0\0\0\0")
CASES["damaged-zip-compressed-cut/x.zip"] = lambda: with_packed(zip_of({"a": DATA}), -1)
CASES["damaged-zip-compressed-more/x.zip"] = lambda: with_packed(zip_of({"a": DATA}), 1)
CASES["damaged-deflate64/x.zip"] = lambda: changed(deflate64_zip({"a": XML}), 31, b"\xff\xff\xff\xff")
CASES["damaged-deflate64-cut/x.zip"] = lambda: with_packed(deflate64_zip({"a": XML}), -1)
CASES["damaged-deflate64-more/x.zip"] = lambda: with_packed(deflate64_zip({"a": XML}), 1)
CASES["damaged-nested-zip/x.tgz"] = lambda: tgz_of({"a": XML, "in.zip": zip_of(PRODUCT)[:-30]})
CASES["damaged-lzma-header/x.zip"] = lambda: changed(zip_of({"a": XML}, zipfile.ZIP_LZMA), 33, b"\7")
CASES["damaged-lzma-properties/x.zip"] = lambda: changed(zip_of({"a": XML}, zipfile.ZIP_LZMA), 35, b"\x2c")
CASES["damaged-lzma-cut/x.zip"] = lambda: with_method(one_zip("a"), 14)
CASES["limit-lzma-dictionary/x.zip"] = lambda: changed(zip_of({"a": XML}, zipfile.ZIP_LZMA), 36, b"\xff" * 4)
CASES["damaged-directory-with-data/x.zip"] = lambda: one_zip("d/")
CASES["damaged-tgz-cut/x.tgz"] = lambda: tgz_of(PRODUCT)[:-40]
CASES["damaged-tgz-trailer-cut/x.tgz"] = lambda: tgz_of(PRODUCT)[:-3]
CASES["damaged-tgz-crc/x.tgz"] = lambda: changed(tgz_of(PRODUCT), -8, b"\0\0\0\0")
CASES["damaged-tgz-length/x.tgz"] = lambda: changed(tgz_of(PRODUCT), -2, b"\7")
CASES["damaged-tgz-trailing/x.tgz"] = lambda: tgz_of(PRODUCT) + b"rubbish behind the end of the stream"
CASES["damaged-tar-cut-in-member/x.tar"] = lambda: tar_of(PRODUCT)[:700]
CASES["damaged-tar-cut-at-header/x.tar"] = lambda: tar_of({"a": b"1", "b": b"2"})[:1024]
CASES["damaged-tar-second-header/x.tar"] = lambda: changed(tar_of({"a": b"1", "b": b"2"}), 1024, b"XX")
CASES["damaged-tar-concatenated/x.tar"] = lambda: tar_of({"a": b"1"})[:2048] + tar_of({"b": b"2"})
CASES["damaged-tar-negative-size/x.tar"] = lambda: resummed(changed(tar_of({"a": b"1"}), 124, b"\xff" * 12))
CASES["damaged-nested/x.zip"] = lambda: zip_of({"in.tgz": changed(tgz_of(PRODUCT), -8, b"\0\0\0\0")})
CASES["damaged-beginning/x.zip"] = lambda: changed(zip_of(PRODUCT), 0, b"XX")
CASES["damaged-nothing/x.tgz"] = lambda: b""


def resummed(tar: bytes) -> bytes:
    blank = changed(tar, 148, b" " * 8)
    return changed(tar, 148, b"%06o\0 " % sum(blank[:512]))


@case("damaged-pax-header/x.tar")
def _pax_header() -> bytes:
    tar = tar_of({"ü.xml": XML}, tarfile.PAX_FORMAT)
    return changed(tar, 512, b"99")


@case("damaged-pax-size/x.tar")
def _pax_size() -> bytes:
    info = info_of("a", tarfile.REGTYPE)
    info.pax_headers = {"size": "-1"}
    return tar_with([(info, b"x")], tarfile.PAX_FORMAT)


@case("damaged-header-without-member/x.tar")
def _header_without_member() -> bytes:
    return tar_of({"ü.xml": XML}, tarfile.PAX_FORMAT)[:1024] + bytes(1024)


# --- limits, and what is not supported -------------------------------------------------------------------------------

CASES["limit-members/x.zip"] = lambda: zip_of({f"f{number}": b"x" for number in range(6)})
CASES["limit-members-directories/x.tgz"] = lambda: tgz_of({f"d{number}/": b"" for number in range(6)})
CASES["limit-bytes/x.tgz"] = lambda: tgz_of({"a": bytes(600), "b": bytes(600)})
CASES["limit-bytes-claimed/x.zip"] = lambda: zip_of({"a": bytes(600), "b": bytes(600)})
CASES["limit-bytes-produced/x.zip"] = lambda: understated(zip_of({"a": bytes(5000)}), 5000, 10)
CASES["limit-depth/x.zip"] = lambda: zip_of({"a.tar": tar_of({"b.tar": tar_of({"c": b"x"})})})
CASES["limit-depth-zip/x.zip"] = lambda: zip_of({"a.zip": zip_of({"b.zip": zip_of({"c": b"x"})})})
CASES["limit-spool/x.zip"] = lambda: zip_of({"a.zip": zip_of({"b.zip": zip_of({"c": bytes(range(256))})})})
CASES["limit-bytes-nested-zip/x.zip"] = lambda: zip_of({"in.zip": zip_of({"a": bytes(600), "b": bytes(600)})})
CASES["limit-metadata/x.tgz"] = lambda: gzipped(tar_of({"ü" * 600_000: b"x"}, tarfile.PAX_FORMAT))
CASES["encrypted/x.zip"] = lambda: flagged(one_zip("secret"), 1)
CASES["method-ppmd/x.zip"] = lambda: with_method(one_zip("a"), 98)
CASES["type-zip-as-tar/x.tar"] = lambda: zip_of(PRODUCT)
CASES["type-bzip2-as-tgz/x.tgz"] = lambda: bz2.compress(tar_of(PRODUCT))
CASES["type-nested-zip/x.zip"] = lambda: zip_of({"in.zip": tgz_of(PRODUCT)})
CASES["type-nested/x.zip"] = lambda: zip_of({"in.tar.gz": zip_of(PRODUCT)})
CASES["empty-zip/x.zip"] = lambda: zip_of({})
CASES["empty-tar/x.tar"] = lambda: tar_of({})
CASES["empty-only-directories/x.zip"] = lambda: zip_of({"a/": b"", "a/b/": b""})
CASES["empty-nested/x.zip"] = lambda: zip_of({"in.tar": tar_of({})})
CASES["collision-stripped/x.zip"] = lambda: zip_of({"a/m.xml": XML, "b/m.xml": XML})
CASES["collision-stripped-tgz/x.tgz"] = lambda: tgz_of({"a/x": XML, "b/x/m.xml": XML})
CASES["no-such-member/x.tgz"] = lambda: tgz_of({"a.xml": XML, "b.dat": DATA})
CASES["collision-zip/x.zip"] = lambda: zip_of({"a/manifest.xml": XML, "b/manifest.xml": DATA})
CASES["collision-tgz/x.tgz"] = lambda: tgz_of({"a/manifest.xml": XML, "b/manifest.xml": DATA})
CASES["empty-nested-zip/x.tgz"] = lambda: tgz_of({"in.zip": zip_of({})})
CASES["empty-only-links/x.tar"] = lambda: tar_with([(info_of("link", tarfile.SYMTYPE, "a"), b"")])
CASES["collision-nested-zip/x.zip"] = lambda: zip_of({"a.xml": XML, "in.zip": zip_of({"a.xml": DATA})})
CASES["collision-nested/x.zip"] = lambda: zip_of({"a.xml": XML, "in.tgz": tgz_of({"a.xml": DATA})})


def tar_of_global(headers: dict[str, str]) -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w", format=tarfile.PAX_FORMAT, pax_headers=headers) as archive:
        archive.addfile(info_of("a", tarfile.REGTYPE))
    return target.getvalue()


def flagged(archive: bytes, flag: int, last: bool = True) -> bytes:
    return patched(archive, 6, 8, struct.pack("<H", flag), last)


def with_method(archive: bytes, method: int, last: bool = True) -> bytes:
    return patched(archive, 8, 10, struct.pack("<H", method), last)


def with_packed(archive: bytes, more: int) -> bytes:
    """Cut a byte off the compressed data of the only member, or add one, and be consistent about it everywhere else."""
    directory = archive.rindex(b"PK\1\2")
    packed = struct.unpack_from("<L", archive, 18)[0] + more
    content = archive[: directory + more] if more < 0 else archive[:directory] + bytes(more)
    moved = patched(content + archive[directory:], 18, 20, struct.pack("<L", packed))
    return changed(moved, -6, struct.pack("<L", directory + more))


def understated(archive: bytes, size: int, claimed: int) -> bytes:
    assert struct.unpack_from("<L", archive, 22)[0] == size
    return patched(archive, 22, 24, struct.pack("<L", claimed))


def patched(archive: bytes, local: int, central: int, new: bytes, last: bool = True) -> bytes:
    """Change the local header that stands first, and the directory's last record, or its first."""
    record = archive.rindex(b"PK\1\2") if last else archive.index(b"PK\1\2")
    return changed(changed(archive, local, new), record + central, new)


def main() -> None:
    for path, make in CASES.items():
        target = HERE / path
        target.parent.mkdir(exist_ok=True)
        if not target.exists():
            target.write_bytes(make())


if __name__ == "__main__":
    main()
