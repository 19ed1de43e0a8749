"""Keeps keys and passwords of this process away from its children and out of what they print."""

import functools
import os
import re
from collections.abc import Mapping

_SECRET_NAME = re.compile(
    r"(?:^|_)(?:API_?KEY|ACCESS_?KEY|PRIVATE_?KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIALS?|AUTH_STRING|CONNECTION_URL)"
    r"(?:$|_)",
    re.IGNORECASE,
)
_LEAST_CHARACTERS = 8
"""A shorter value is no secret, and would be found everywhere."""
_SHAPES = re.compile(
    r"\bsk-[\w-]{16,}|\bhf_\w{16,}|\b(?:AKIA|ASIA)[0-9A-Z]{16}\b|(?<=[Bb]earer )[\w.~+/=-]{8,}|(?<=://)[^\s/@]+(?=@)"
)
HIDDEN = "[secret]"


@functools.cache
def is_secret(name: str) -> bool:
    """True for the name of an environment variable that holds a key, a token or a password."""
    return _SECRET_NAME.search(name) is not None


def without_secrets(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables that an engine or a rank may see: it loads a folder and asks nobody, so it needs no key."""
    return {name: value for name, value in environment.items() if not is_secret(name)}


def redacted(text: str) -> str:
    """The text with this process's secrets, and what looks like a key, hidden."""
    for name, value in os.environ.items():
        if len(value) >= _LEAST_CHARACTERS and is_secret(name):
            text = text.replace(value, HIDDEN)
    return _SHAPES.sub(HIDDEN, text)
