"""Encodes ``application/vnd.amazon.eventstream`` messages. botocore can only decode them."""

import binascii
import struct

_STRING = 7


def message(headers: dict[str, str], payload: bytes) -> bytes:
    """Encode one message: prelude with lengths and checksum, headers, payload, checksum."""
    encoded = b"".join(
        struct.pack("!B", len(name))
        + name.encode()
        + struct.pack("!BH", _STRING, len(value.encode()))
        + value.encode()
        for name, value in headers.items()
    )
    prelude = struct.pack("!II", 16 + len(encoded) + len(payload), len(encoded))
    checked = prelude + struct.pack("!I", binascii.crc32(prelude)) + encoded + payload
    return checked + struct.pack("!I", binascii.crc32(checked))


def payload_part(payload: bytes) -> bytes:
    """Encode a piece of a model's answer."""
    return message(
        {
            ":event-type": "PayloadPart",
            ":content-type": "application/octet-stream",
            ":message-type": "event",
        },
        payload,
    )


def failure(kind: str, body: bytes) -> bytes:
    """Encode an exception inside the stream (ModelStreamError, InternalStreamFailure)."""
    return message(
        {":exception-type": kind, ":content-type": "application/json", ":message-type": "exception"}, body
    )
