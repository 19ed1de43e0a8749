import subprocess
import sys

import pytest
from pydantic import BaseModel, ValidationError

from spot_core.config.oracle import CalculatorOracleConfig, OpenAIOracleConfig, OracleConfig, result_settings
from spot_core.oracles.base import make_oracle


class Holder(BaseModel):
    oracle: OracleConfig


def test_the_kind_decides_which_settings_there_are():
    assert isinstance(Holder(oracle={"kind": "calculator"}).oracle, CalculatorOracleConfig)
    assert isinstance(Holder(oracle={"kind": "openai", "model": "m"}).oracle, OpenAIOracleConfig)
    with pytest.raises(ValidationError, match="model"):
        Holder(oracle={"kind": "calculator", "model": "m"})


def test_a_key_in_place_of_the_name_of_its_variable_is_refused():
    with pytest.raises(ValidationError, match="api_key_env"):
        OpenAIOracleConfig(model="m", api_key_env="sk-123/456")


def test_a_budget_without_prices_is_refused_with_the_remedy():
    with pytest.raises(ValidationError, match="input_usd_per_million"):
        OpenAIOracleConfig(model="m", max_cost_usd=1.0)


def test_only_what_decides_the_reply_is_in_the_result_settings():
    plain = OpenAIOracleConfig(model="m")
    busy = OpenAIOracleConfig(
        model="m",
        api_key_env="OTHER",
        concurrency=1,
        timeout_seconds=1,
        max_retries=0,
        input_usd_per_million=1,
        output_usd_per_million=1,
        max_cost_usd=1,
    )
    assert result_settings(plain) == result_settings(busy)
    assert result_settings(plain) != result_settings(OpenAIOracleConfig(model="m", temperature=0.5))
    assert result_settings(CalculatorOracleConfig()) == {"kind": "calculator"}


def test_every_field_is_described_in_the_form():
    for model in (CalculatorOracleConfig, OpenAIOracleConfig):
        for name, field in model.model_json_schema()["properties"].items():
            assert field.get("description"), name


def test_the_calculator_is_made_from_its_config():
    assert make_oracle(CalculatorOracleConfig()).name == "calculator"


def test_the_settings_load_nothing_heavy():
    code = "import sys, spot_core.config.oracle, spot_core.oracles.base; print([m for m in ('torch', 'sympy', 'transformers', 'pandas') if m in sys.modules])"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        == "[]\n"
    )
