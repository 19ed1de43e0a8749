"""What may not stand in settings: they are written into artifacts, Prefect's database and logs.

Each rule is there twice: as a validator that says what to do, and in the JSON schema, by which Prefect's server refuses
the parameters of a flow run before it stores them.
"""

import re
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, WithJsonSchema

_SECRET_FIELDS = (
    r"^(authorization|bearer|(x[-_])?api[-_]?key|(access|auth|api)[-_]?token|password|secret([-_]key)?)$"
)
_KEY_OPTION = r"^--api[-_]key"


def _address(address: str) -> str:
    parts = [urlsplit(part.strip()) for part in address.split(",")]  # `engine.base_url` may hold several
    if any(part.username or part.password or part.query for part in parts):
        raise ValueError(
            "an address is written into artifacts and logs, so it may hold no user name, password or query: a key goes "
            "into the variable that api_key_env names"
        )
    return address


def _fields(fields: dict[str, Any]) -> dict[str, Any]:
    for name in fields:
        if re.match(_SECRET_FIELDS, name, re.IGNORECASE):
            raise ValueError(
                f"{name!r} is written into artifacts and logs: the key goes into the variable that api_key_env names"
            )
    return fields


def _options(options: tuple[str, ...]) -> tuple[str, ...]:
    for option in options:
        if re.match(_KEY_OPTION, option):
            raise ValueError(
                "--api-key is written into artifacts and shown by `ps`: a server that is started here listens on "
                "127.0.0.1 alone and needs none; one that exists gets the key of api_key_env"
            )
    return options


def _anycase(pattern: str) -> str:
    """The pattern for JSON schema, which knows no flag for it."""
    return re.sub(r"[a-z]", lambda letter: f"[{letter[0]}{letter[0].upper()}]", pattern)


Address = Annotated[str, AfterValidator(_address), WithJsonSchema({"type": "string", "pattern": r"^[^@?]*$"})]
"""An address without credentials in it."""

RequestFields = Annotated[
    dict[str, Any],
    AfterValidator(_fields),
    WithJsonSchema({"type": "object", "propertyNames": {"not": {"pattern": _anycase(_SECRET_FIELDS)}}}),
]
"""Further fields of a request, none of which is a key."""

Options = Annotated[
    tuple[str, ...],
    AfterValidator(_options),
    WithJsonSchema({"type": "array", "items": {"type": "string", "not": {"pattern": _KEY_OPTION}}}),
]
"""Options of a command line, none of which is a key."""
