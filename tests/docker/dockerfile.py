"""Reads docker/Dockerfile: its instructions, one by one."""

import json
import re
import shlex
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
DOCKERFILE = REPOSITORY / "docker" / "Dockerfile"


def instructions() -> list[tuple[str, str]]:
    """Each instruction with its arguments, continued lines joined."""
    lines = [line for line in DOCKERFILE.read_text().splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in joined.splitlines() if line)]


def arguments(word: str) -> list[str]:
    """The arguments of every instruction of this name."""
    return [rest for name, rest in instructions() if name == word]


def environment() -> dict[str, str]:
    """What ENV sets in the last stage."""
    last = max(number for number, (word, _) in enumerate(instructions()) if word == "FROM")
    pairs = [part for word, rest in instructions()[last:] if word == "ENV" for part in shlex.split(rest)]
    return dict(pair.split("=", 1) for pair in pairs)


def entrypoint() -> list[str]:
    return json.loads(arguments("ENTRYPOINT")[-1])


def health_command() -> list[str]:
    return json.loads(arguments("HEALTHCHECK")[-1].partition(" CMD ")[2])


def copied() -> list[tuple[str, str]]:
    """Source and destination of what is copied from the repository, in the last stage and before."""
    pairs = []
    for rest in arguments("COPY"):
        *sources, destination = rest.split()
        if not sources[0].startswith("--from"):
            pairs += [(source, destination) for source in sources]
    return pairs
