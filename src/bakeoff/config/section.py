"""What every section of harness.yaml is made of: the base class, and types that check a value's form."""

from __future__ import annotations

import re
from functools import partial
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict


class Section(BaseModel):
    """Base of every section: immutable, unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class FormatError(ValueError):
    """A value of the right type and the wrong form. `hint` says what to write."""

    def __init__(self, problem: str, hint: str) -> None:
        self.hint = hint
        super().__init__(problem)


def check_address(url: str, credentials: str) -> str:
    """The address itself, if it is http or https without user, password or query: it is published.

    Args:
        url: the address.
        credentials: a clause that says where credentials belong, for the hint.

    Raises:
        FormatError: it is not.
    """
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises where it is not a number
    except ValueError:
        parts = urlsplit("")
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise FormatError("is not an http or https address", "Write for example `http://localhost:8000/v1`.")
    if "@" in parts.netloc or parts.query:
        raise FormatError("may hold a secret", f"Remove user, password and query; {credentials}.")
    return url


def address(credentials: str) -> AfterValidator:
    """`check_address` for a field of a section."""
    return AfterValidator(partial(check_address, credentials=credentials))


def _variable(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        hint = "Write the variable's name, for example `OPENAI_API_KEY`; never the key itself."
        raise FormatError("is not the name of an environment variable", hint)
    return name


VariableName = Annotated[str, AfterValidator(_variable)]
IN_API_KEY_ENV = "name the key's environment variable in `api_key_env`"
KeyedAddress = Annotated[str, address(IN_API_KEY_ENV)]
