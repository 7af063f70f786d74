"""XML from outside, read into a small tree: no document type, so no entity, and a bound on depth and elements.

`xml.etree` and `xml.dom` expand the entities that a document declares; a parser of a few lines more refuses the
declaration itself, as `defusedxml` does with `forbid_dtd`.
"""

from typing import Final
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

_DEEPEST: Final = 100
_MOST_ELEMENTS: Final = 200_000


def parse_xml(content: bytes) -> Element:
    """Return the root of a document; names of elements and attributes come without their namespaces.

    Args:
        content: all of it, at once: expat before 2.6 takes quadratic time for a long token in pieces
            (CVE-2023-52425).

    Raises:
        ValueError: it is not well-formed, declares a document type, or has too many elements or levels.
    """
    builder, depth, count = TreeBuilder(), 0, 0

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal depth, count
        depth, count = depth + 1, count + 1
        if depth > _DEEPEST or count > _MOST_ELEMENTS:
            raise ValueError(f"it has more than {_DEEPEST} levels or {_MOST_ELEMENTS} elements")
        builder.start(_local(name), {_local(key): value for key, value in attributes.items()})

    def end(name: str) -> None:
        nonlocal depth
        depth -= 1
        builder.end(_local(name))

    def refuse(*_: object) -> None:
        raise ValueError("it declares a document type")

    parser = expat.ParserCreate(namespace_separator=" ")
    parser.buffer_text = True
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = builder.data
    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(content, True)
    except expat.ExpatError as error:
        raise ValueError(f"it is not well-formed: {error}") from None
    return builder.close()


def _local(name: str) -> str:
    return name.rpartition(" ")[2]
