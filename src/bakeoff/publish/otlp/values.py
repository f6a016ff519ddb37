"""Values as OTLP has them: what is not known is left out, and text is such as every back end can store."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue

from bakeoff.text.escape import storable

Attributes = Mapping[str, Any]

INT64 = 2**63
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def pairs(attributes: Attributes) -> Iterator[KeyValue]:
    """Attributes of a span or a resource; None and an empty list are not sent."""
    for key, value in attributes.items():
        if value not in (None, [], ()):
            yield KeyValue(key=storable(key), value=any_value(value))


def any_value(value: Any) -> AnyValue:
    """A flag, number, text or list; anything else, and an integer that OTLP cannot hold, as a text."""
    match value:
        case bool():
            return AnyValue(bool_value=value)
        case int() if -INT64 <= value < INT64:
            return AnyValue(int_value=value)
        case float():
            return AnyValue(double_value=value)
        case list() | tuple():
            return AnyValue(array_value=ArrayValue(values=map(any_value, value)))
        case _:
            return AnyValue(string_value=storable(str(value)))


def nanoseconds(moment: datetime) -> int:
    """Nanoseconds since 1970, exact to a datetime's microsecond."""
    return (moment - EPOCH) // timedelta(microseconds=1) * 1000
