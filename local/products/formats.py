"""Plausible bytes in the formats of auxiliary products, the same ones at each call.

What is not compressed is the same on every machine; compressed parts may differ where Python is linked with
another zlib, so nothing relies on their checksums beyond the process that made them.
"""

import gzip
import hashlib
import io
import tarfile
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta

_DATE = (2024, 3, 25, 0, 0, 0)
_EPOCH = 1_711_324_800  # the same instant in seconds since 1970
_SIXTEEN_VALUES = bytes(value & 15 for value in range(256))
# A circular orbit in its plane, turned by 10 s at each step with + and * only: every machine rounds these alike.
_RADIUS, _SPEED = 7_071_000.0, 7_500.0
_COSINE, _SINE = 0.999943757, 0.010605847
_STEP = timedelta(seconds=10)
_TAI = timedelta(seconds=37)

Members = Mapping[str, bytes]


def noise(seed: str, size: int) -> bytes:
    """Bytes that cannot be compressed."""
    return hashlib.shake_128(seed.encode()).digest(size)


def grid(seed: str, size: int) -> bytes:
    """Bytes that compress to about six tenths."""
    return noise(seed, size).translate(_SIXTEEN_VALUES)


def orbit_file(name: str, kind: str, start: datetime, end: datetime, validity: str) -> bytes:
    """An Earth Explorer orbit file (EOF): XML with a state vector each 10 s.

    Args:
        name: the file's name.
        kind: its File_Type.
        start: first state vector.
        end: no state vector is later.
        validity: its Validity_Stop.
    """
    vectors = list(_state_vectors(start, end))
    text = f"""<?xml version="1.0" encoding="UTF-8"?>
<Earth_Explorer_File>
  <Earth_Explorer_Header>
    <Fixed_Header>
      <File_Name>{name.rpartition(".")[0]}</File_Name>
      <File_Description>Sample orbit file</File_Description>
      <Mission>Sentinel-1A</Mission>
      <File_Class>OPER</File_Class>
      <File_Type>{kind}</File_Type>
      <Validity_Period>
        <Validity_Start>UTC={_instant(start)}</Validity_Start>
        <Validity_Stop>UTC={validity}</Validity_Stop>
      </Validity_Period>
      <File_Version>0001</File_Version>
    </Fixed_Header>
    <Variable_Header>
      <Ref_Frame>EARTH_FIXED</Ref_Frame>
      <Time_Reference>UTC</Time_Reference>
    </Variable_Header>
  </Earth_Explorer_Header>
  <Data_Block type="xml">
    <List_of_OSVs count="{len(vectors)}">
{"".join(vectors)}    </List_of_OSVs>
  </Data_Block>
</Earth_Explorer_File>
"""
    return text.encode()


def parameter_file(name: str, records: int) -> bytes:
    """An XML file of numbers, some 100 bytes for each record."""
    values = noise(name, records)
    rows = (
        f'  <parameter index="{index}" name="calibration_{index:06d}" unit="dB">{value / 255:.6f}</parameter>\n'
        for index, value in enumerate(values)
    )
    return f'<?xml version="1.0"?>\n<parameters product="{name}">\n{"".join(rows)}</parameters>\n'.encode()


def zip_archive(members: Members) -> bytes:
    """A zip: XML, JSON and grids are deflated, what looks like noise is stored."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for name, content in members.items():
            info = zipfile.ZipInfo(name, _DATE)
            info.external_attr = 0o644 << 16
            stored = name.endswith((".nc", ".tar.gz"))
            info.compress_type = zipfile.ZIP_STORED if stored else zipfile.ZIP_DEFLATED
            archive.writestr(info, content, compresslevel=1)
    return target.getvalue()


def tar_gz(members: Members) -> bytes:
    """A tar in gzip."""
    target = io.BytesIO()
    with (
        gzip.GzipFile(filename="", mode="wb", compresslevel=1, fileobj=target, mtime=_EPOCH) as stream,
        tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            info.mtime = _EPOCH
            archive.addfile(info, io.BytesIO(content))
    return target.getvalue()


def sentinel3(name: str, files: Iterable[tuple[str, int]]) -> bytes:
    """The zip of a Sentinel-3 product: one folder with a manifest and netCDF files.

    Args:
        name: the zip's name, `X.SEN3.zip`; the folder is `X.SEN3`.
        files: their names and sizes in bytes.
    """
    folder = name.removesuffix(".zip")
    listed = list(files)
    members = {f"{folder}/xfdumanifest.xml": _manifest(folder, listed)}
    members |= {f"{folder}/{file}": noise(f"{name}/{file}", size) for file, size in listed}
    return zip_archive(members)


def zarr(name: str, variables: Sequence[str], chunks: int, chunk_size: int) -> bytes:
    """The zip of a zarr store: its chunks have the same names in each array.

    Args:
        name: the zip's name, `X.zarr.zip`; the folder is `X.zarr`.
        variables: the names of the arrays.
        chunks: how many chunk files each has.
        chunk_size: bytes in each.
    """
    folder = name.removesuffix(".zip")
    array = f'{{"zarr_format": 2, "shape": [{chunks}, {chunk_size}], "chunks": [1, {chunk_size}], "dtype": "|u1"}}'
    arrays = ", ".join(f'"{variable}/.zarray": {array}' for variable in variables)
    members = {
        f"{folder}/.zgroup": b'{"zarr_format": 2}',
        f"{folder}/.zmetadata": f'{{"zarr_consolidated_format": 1, "metadata": {{{arrays}}}}}'.encode(),
    }
    for variable in variables:
        members[f"{folder}/{variable}/.zarray"] = array.encode()
        for chunk in range(chunks):
            members[f"{folder}/{variable}/{chunk}.0"] = grid(f"{name}/{variable}/{chunk}", chunk_size)
    return zip_archive(members)


def header_and_data(name: str, size: int) -> dict[str, bytes]:
    """The two members of a Sentinel-2 auxiliary archive: an XML header and a data block of `size` bytes."""
    stem = name.partition(".")[0]
    return {f"{stem}.HDR": parameter_file(stem, 40), f"{stem}.DBL": noise(name, size)}


def nested(name: str, size: int) -> bytes:
    """A zip that holds `file.xml` and `content.tar.gz`, which holds two files of `size` bytes together."""
    inner = {
        "tables/look_up.bin": grid(f"{name}/look_up", size - 4096),
        "tables/coefficients.bin": noise(f"{name}/coefficients", 4096),
    }
    return zip_archive({"file.xml": parameter_file(name, 60), "content.tar.gz": tar_gz(inner)})


def _state_vectors(start: datetime, end: datetime) -> Iterator[str]:
    x, y = _RADIUS, 0.0
    instant = start
    while instant <= end:
        yield f"""      <OSV>
        <TAI>TAI={_instant(instant + _TAI)}.000000</TAI>
        <UTC>UTC={_instant(instant)}.000000</UTC>
        <UT1>UT1={_instant(instant)}.000000</UT1>
        <Absolute_Orbit>+53131</Absolute_Orbit>
        <X unit="m">{x:.3f}</X>
        <Y unit="m">{y:.3f}</Y>
        <Z unit="m">{0.5 * y:.3f}</Z>
        <VX unit="m/s">{-y / _RADIUS * _SPEED:.6f}</VX>
        <VY unit="m/s">{x / _RADIUS * _SPEED:.6f}</VY>
        <VZ unit="m/s">{0.5 * x / _RADIUS * _SPEED:.6f}</VZ>
        <Quality>NOMINAL</Quality>
      </OSV>
"""
        x, y = x * _COSINE - y * _SINE, x * _SINE + y * _COSINE
        instant += _STEP


def _instant(instant: datetime) -> str:
    return instant.replace(tzinfo=None).isoformat()


def _manifest(folder: str, files: Iterable[tuple[str, int]]) -> bytes:
    objects = "".join(
        f'    <dataObject ID="{name}"><byteStream mimeType="application/x-netcdf" size="{size}">'
        f'<fileLocation locatorType="URL" href="{name}"/></byteStream></dataObject>\n'
        for name, size in files
    )
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<xfdu:XFDU xmlns:xfdu="urn:ccsds:schema:xfdu:1">
  <metadataSection><productName>{folder}</productName></metadataSection>
  <dataObjectSection>
{objects}  </dataObjectSection>
</xfdu:XFDU>
""".encode()
