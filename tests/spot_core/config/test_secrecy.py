"""Settings hold no secret: what looks like one is refused by name, and by the schema that Prefect's server checks."""

import jsonschema
import pytest
from pydantic import ValidationError

from spot_core.config.engine import EngineConfig
from spot_core.config.oracle import OpenAIOracleConfig
from spot_core.config.spot import SpotConfig, SpotOverrides

CANARY = "sk-canary-0123456789"
HOSTILE = [
    {"engine": {"base_url": f"http://user:{CANARY}@host/v1"}},
    {"engine": {"base_url": f"http://host/v1?key={CANARY}"}},
    {"engine": {"base_url": f"http://one/v1, http://u:{CANARY}@two/v1"}},
    {"engine": {"extra_args": ["--api-key", CANARY]}},
    {"engine": {"extra_args": [f"--api-key={CANARY}"]}},
    {"engine": {"extra_args": ["--dtype", "auto", f"--api_key={CANARY}"]}},
    *(
        {"rectify": {"oracle": {"kind": "openai", "model": "m"} | fault}}
        for fault in (
            {"base_url": f"https://{CANARY}@host/v1"},
            {"base_url": f"https://host/v1?api_key={CANARY}"},
            {"extra_body": {"api_key": CANARY}},
            {"extra_body": {"Authorization": f"Bearer {CANARY}"}},
            {"extra_body": {"X-API-Key": CANARY}},
            {"extra_body": {"access_token": CANARY}},
        )
    ),
]
HARMLESS = {
    "engine": {"base_url": "http://10.0.0.1:8000/v1", "api_key_env": "KEY", "extra_args": ["--seed", "1"]},
    "rectify": {
        "oracle": {
            "kind": "openai",
            "model": "m",
            "base_url": "https://host/v1",
            "extra_body": {
                "max_completion_tokens": 5,
                "reasoning_effort": "low",
                "key": "v",
                "logit_bias": {},
            },
        }
    },
}


@pytest.mark.parametrize("settings", HOSTILE, ids=str)
def test_a_secret_among_settings_is_refused_here_and_by_the_server(settings: dict):
    with pytest.raises(ValidationError, match="written into artifacts"):
        SpotConfig.from_profile("demo", **settings)
    with pytest.raises(ValidationError):
        SpotOverrides.model_validate(settings)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(settings, SpotOverrides.model_json_schema())


def test_what_is_none_passes():
    SpotConfig.from_profile("demo", **HARMLESS)
    SpotOverrides.model_validate(HARMLESS)
    jsonschema.validate(HARMLESS, SpotOverrides.model_json_schema())


def test_a_key_is_named_for_a_server_that_exists_alone_and_is_no_part_of_what_decides_the_answers():
    with pytest.raises(ValidationError, match="api_key_env = 'KEY' without base_url"):
        EngineConfig(api_key_env="KEY")
    assert OpenAIOracleConfig(model="m").api_key_env == "OPENAI_API_KEY"
