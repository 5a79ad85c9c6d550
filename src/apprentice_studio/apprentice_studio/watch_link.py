"""What crosses between watch_node and the web server: frames on a stream socket that only the two of them hold.

A frame is its length (uint32, big endian), its kind (uint8) and its body: JSON, or a picture, which is a JSON header behind its length
(uint16) and then the bytes as the camera's message held them. A picture goes on to the browser as it is.
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from typing import Any

JSON, PICTURE = 0, 1
MAX_BODY = 32 << 20
"""bytes; a longer frame ends the link (ours)"""
_HEAD = struct.Struct(">IB")
_SIZE = struct.Struct(">H")

Frame = tuple[int, bytes]
"""(kind, body)"""


def json_frame(item: dict[str, Any]) -> Frame:
    return JSON, json.dumps(item, separators=(",", ":"), allow_nan=False).encode()


def picture_frame(header: dict[str, Any], data: bytes) -> Frame:
    text = json.dumps(header, separators=(",", ":")).encode()
    return PICTURE, _SIZE.pack(len(text)) + text + data


def picture_header(body: bytes) -> dict[str, Any]:
    """The header of a picture's body; ValueError when it is none."""
    try:
        (size,) = _SIZE.unpack_from(body)
        header = json.loads(body[_SIZE.size : _SIZE.size + size])
    except (struct.error, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"not a picture: {error}") from error
    if not isinstance(header, dict):
        raise ValueError("not a picture: its header is no object")
    return header


def pack(frame: Frame) -> bytes:
    kind, body = frame
    return _HEAD.pack(len(body), kind) + body


async def read_frame(reader: asyncio.StreamReader) -> Frame | None:
    """The next frame; None at the end. ValueError when it is longer than MAX_BODY."""
    try:
        size, kind = _HEAD.unpack(await reader.readexactly(_HEAD.size))
        if size > MAX_BODY:
            raise ValueError(f"a frame of {size} bytes")
        return kind, await reader.readexactly(size)
    except (asyncio.IncompleteReadError, ConnectionError):
        return None


def receive_frame(link: socket.socket) -> Frame | None:
    """The same for a thread that waits."""
    head = _receive(link, _HEAD.size)
    if head is None:
        return None
    size, kind = _HEAD.unpack(head)
    if size > MAX_BODY:
        raise ValueError(f"a frame of {size} bytes")
    body = _receive(link, size)
    return None if body is None else (kind, body)


def _receive(link: socket.socket, size: int) -> bytes | None:
    parts = bytearray()
    while len(parts) < size:
        try:
            more = link.recv(size - len(parts))
        except ConnectionError:
            return None
        if not more:
            return None
        parts += more
    return bytes(parts)
