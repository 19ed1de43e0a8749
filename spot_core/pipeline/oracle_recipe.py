"""What of the configured Oracles decides the pairs, and so enters the key of an artifact."""

from pathlib import Path
from typing import Any

from spot_core.config.engine import EngineConfig, answer_settings
from spot_core.config.imported import ImportedOracleConfig
from spot_core.config.model import ModelConfig
from spot_core.config.oracle import (
    ModelOracleConfig,
    SelfOracleConfig,
    SingleOracleConfig,
    VllmOracleConfig,
    in_order,
    result_settings,
)
from spot_core.config.spot import SpotConfig
from spot_core.models import fingerprint, resolve_model
from spot_core.oracles.imported import corrections_digest
from spot_core.oracles.prompting import Prompt
from spot_core.store.manifest import text_sha256


def deciding(config: SpotConfig, *, download: bool) -> dict[str, Any] | None:
    """What of the Oracle decides the pairs: settings, prompts, weights, files. None: its model is not here yet.

    Raises:
        ConfigError: a prompt cannot be used.
        InputError: a model or file does not exist.
    """
    parts = [_deciding(oracle, config, download=download) for oracle in in_order(config.rectify.oracle)]
    if None in parts:
        return None
    return {"kind": "chain", "oracles": parts} if config.rectify.oracle.kind == "chain" else parts[0]


def _deciding(oracle: SingleOracleConfig, config: SpotConfig, *, download: bool) -> dict[str, Any] | None:
    settings = result_settings(oracle)
    if isinstance(oracle, ModelOracleConfig):
        settings["prompts"] = [text_sha256(text) for text in Prompt.of(oracle).texts]
    match oracle:
        case VllmOracleConfig() | SelfOracleConfig():
            model, engine = served_by(oracle, config)
            path = resolve_model(model, download=download)
            return None if path is None else settings | {"served": serving(path, model, engine)}
        case ImportedOracleConfig():
            return settings | {"corrections": corrections_digest(oracle)}
        case _:
            return settings


def served_by(
    oracle: VllmOracleConfig | SelfOracleConfig, config: SpotConfig
) -> tuple[ModelConfig, EngineConfig]:
    """Which model an Oracle serves, and how: a teacher of its own, or the policy."""
    if isinstance(oracle, VllmOracleConfig):
        return oracle.model, oracle.engine
    return config.model, config.engine


def serving(path: Path, model: ModelConfig, engine: EngineConfig) -> dict[str, Any]:
    """What decides a served model's replies, beside the request."""
    return {
        "weights": fingerprint(path),
        "chat_template_kwargs": model.chat_template_kwargs,
        **answer_settings(engine),
    }
