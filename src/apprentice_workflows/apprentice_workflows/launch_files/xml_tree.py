"""XML as plain elements that know their line; document types and entities are refused, so a file cannot expand without bound."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn
from xml.parsers import expat

from apprentice_workflows.launch_files.plan import LaunchError

MAX_BYTES = 1 << 20
MAX_DEPTH = 64


@dataclass
class Element:
    """One tag with its attributes, children and the line that it starts on."""

    tag: str
    attributes: dict[str, str]
    line: int
    children: list[Element] = field(default_factory=list)


def read_xml(path: Path) -> Element:
    """The root element; LaunchError with the line on anything that is not plain XML of elements and attributes."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise LaunchError(path, 1, f"cannot be read ({error.strerror})") from error
    if len(raw) > MAX_BYTES:
        raise LaunchError(path, 1, f"larger than {MAX_BYTES} bytes")
    parser = expat.ParserCreate()
    stack: list[Element] = []
    roots: list[Element] = []

    def fail(message: str) -> NoReturn:
        raise LaunchError(path, parser.CurrentLineNumber, message)

    def start(tag: str, attributes: dict[str, str]) -> None:
        element = Element(tag, dict(attributes), parser.CurrentLineNumber)
        if len(stack) >= MAX_DEPTH:
            fail(f"nested deeper than {MAX_DEPTH} elements")
        (stack[-1].children if stack else roots).append(element)
        stack.append(element)

    def text(data: str) -> None:
        if data.strip():
            fail(f"text {data.strip()[:40]!r} outside of any attribute")

    parser.StartElementHandler = start
    parser.EndElementHandler = lambda tag: stack.pop()
    parser.CharacterDataHandler = text
    parser.StartDoctypeDeclHandler = lambda *_: fail("a document type is not allowed in a launch file")
    try:
        parser.Parse(raw, True)
    except expat.ExpatError as error:
        raise LaunchError(path, error.lineno, f"is not XML ({expat.ErrorString(error.code)})") from error
    return roots[0]
