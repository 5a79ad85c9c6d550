"""TFRecord files of `tf.train.Example`, without TensorFlow: the episode files of the published layout (spec 000 section 2.5)."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

import google_crc32c
import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

from apprentice_core.errors import BagError

MAX_RECORD = 256 << 20
"""bytes of one record; more is refused (ours)"""
_LENGTH, _CRC = struct.Struct("<Q"), struct.Struct("<I")
Feature = bytes | np.ndarray
"""one string, or numbers: floats are kept as float32, integers as int64, both flat"""


def _masked(data: bytes) -> bytes:
    """The format's CRC: rotated and offset, so that a CRC stored in data does not look like one of it."""
    crc = google_crc32c.value(data)
    return _CRC.pack((((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF)


def write_record(file: BinaryIO, data: bytes) -> None:
    length = _LENGTH.pack(len(data))
    file.write(length + _masked(length) + data + _masked(data))


def read_records(path: Path) -> Iterator[bytes]:
    """The records in order; BagError in one line for a cut, damaged or foreign file."""
    try:
        with path.open("rb") as file:
            while head := file.read(12):
                if len(head) < 12 or _masked(head[:8]) != head[8:]:
                    raise BagError(f"{path}: is not a TFRecord file, or is damaged at byte {file.tell() - len(head)}")
                (length,) = _LENGTH.unpack(head[:8])
                if length > MAX_RECORD:
                    raise BagError(f"{path}: a record of {length} bytes, more than {MAX_RECORD}")
                body = file.read(length + 4)
                if len(body) < length + 4 or _masked(body[:length]) != body[length:]:
                    raise BagError(f"{path}: is cut or damaged in the record at byte {file.tell() - len(body) - 12}")
                yield body[:length]
    except OSError as error:
        raise BagError(f"{path}: cannot be read ({error.strerror})") from error


@cache
def _example() -> Any:
    """The message class, from its published definition: Example { Features features = 1 { map<string, Feature> feature = 1 } }."""
    file = descriptor_pb2.FileDescriptorProto(name="apprentice_example.proto", package="apprentice_example", syntax="proto3")
    field = descriptor_pb2.FieldDescriptorProto
    packed = descriptor_pb2.FieldOptions(packed=True)
    kinds = (("Bytes", field.TYPE_BYTES), ("Float", field.TYPE_FLOAT), ("Int64", field.TYPE_INT64))
    one = file.message_type.add(name="Feature")
    one.oneof_decl.add(name="kind")
    for number, (name, kind) in enumerate(kinds, 1):
        of = file.message_type.add(name=f"{name}List")
        of.field.add(name="value", number=1, type=kind, label=field.LABEL_REPEATED, options=None if name == "Bytes" else packed)
        one.field.add(
            name=f"{name.lower()}_list", number=number, type=field.TYPE_MESSAGE, label=field.LABEL_OPTIONAL, oneof_index=0,
            type_name=f".apprentice_example.{name}List",
        )
    features = file.message_type.add(name="Features")
    entry = features.nested_type.add(name="FeatureEntry", options=descriptor_pb2.MessageOptions(map_entry=True))
    entry.field.add(name="key", number=1, type=field.TYPE_STRING, label=field.LABEL_OPTIONAL)
    entry.field.add(
        name="value", number=2, type=field.TYPE_MESSAGE, label=field.LABEL_OPTIONAL, type_name=".apprentice_example.Feature"
    )
    features.field.add(
        name="feature", number=1, type=field.TYPE_MESSAGE, label=field.LABEL_REPEATED, type_name=".apprentice_example.Features.FeatureEntry"
    )
    example = file.message_type.add(name="Example")
    example.field.add(
        name="features", number=1, type=field.TYPE_MESSAGE, label=field.LABEL_OPTIONAL, type_name=".apprentice_example.Features"
    )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("apprentice_example.Example"))


def encode_example(features: Mapping[str, Feature]) -> bytes:
    """One serialised Example, its features in order of their names."""
    message = _example()()
    for name in sorted(features):
        value = features[name]
        feature = message.features.feature[name]
        if isinstance(value, bytes):
            feature.bytes_list.value.append(value)
        elif value.dtype.kind == "f":
            feature.float_list.value.extend(value.astype(np.float32).ravel().tolist())
        else:
            feature.int64_list.value.extend(value.astype(np.int64).ravel().tolist())
    data: bytes = message.SerializeToString(deterministic=True)
    return data


def decode_example(data: bytes) -> dict[str, Feature]:
    """The inverse: bytes for a string feature of one value, flat float32 or int64 arrays; others are left out. BagError when malformed."""
    try:
        message = _example().FromString(data)
    except DecodeError as error:
        raise BagError(f"not a tf.train.Example: {error}") from error
    out: dict[str, Feature] = {}
    for name, feature in message.features.feature.items():
        kind = feature.WhichOneof("kind")
        if kind == "bytes_list" and len(feature.bytes_list.value) == 1:
            out[name] = feature.bytes_list.value[0]
        elif kind == "float_list":
            out[name] = np.array(feature.float_list.value, np.float32)
        elif kind == "int64_list":
            out[name] = np.array(feature.int64_list.value, np.int64)
    return out
