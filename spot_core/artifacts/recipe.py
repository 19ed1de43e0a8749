"""What decides the content of an artifact, and the key that follows from it."""

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any

KEY_DIGITS = 16


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no spaces: equal values give equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the result of a stage.

    Attributes:
        stage: name of the stage, the first folder below the store.
        settings: JSON-ready settings that decide the result. Speed settings (ports, workers, ranks) and secrets
            stay out.
        inputs: content digest of every input, by name: artifacts, data files, model weights.
        code_version: raised in the code whenever the stage's output changes for the same settings and inputs.
    """

    stage: str
    settings: dict[str, Any]
    inputs: dict[str, str]
    code_version: int

    @property
    def key(self) -> str:
        """First 16 hex digits of the SHA-256 over the whole recipe."""
        return hashlib.sha256(canonical_json(asdict(self)).encode()).hexdigest()[:KEY_DIGITS]
