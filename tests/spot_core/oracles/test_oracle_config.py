import subprocess
import sys
from typing import get_args

import pytest
from pydantic import BaseModel, ValidationError

from spot_core.config.oracle import (
    CalculatorOracleConfig,
    OpenAIOracleConfig,
    OracleConfig,
    Price,
    in_order,
    result_settings,
)
from spot_core.config.spot import RectifyConfig


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


def test_a_limit_in_money_without_a_price_is_refused_with_the_remedy():
    limited = {"oracle": {"kind": "openai", "model": "m", "max_cost_usd": 1.0}}
    with pytest.raises(ValidationError, match=r"max_cost_usd needs the price of m: set prices"):
        RectifyConfig.model_validate(limited)
    RectifyConfig.model_validate(limited | {"prices": {"m": {"input": 1.0, "output": 2.0}}})
    asked = {"oracle": {"kind": "openai", "model": "m"}, "confirm_above_usd": 5.0}
    with pytest.raises(ValidationError, match="confirm_above_usd needs the price of m"):
        RectifyConfig.model_validate(asked)


def test_a_person_can_only_be_the_last_of_a_chain():
    person, calculator = {"kind": "human"}, {"kind": "calculator"}
    assert len(list(in_order(Holder(oracle={"kind": "chain", "oracles": [calculator, person]}).oracle))) == 2
    with pytest.raises(ValidationError, match="last of a chain"):
        Holder(oracle={"kind": "chain", "oracles": [person, calculator]})


def test_samples_that_cannot_differ_are_refused():
    with pytest.raises(ValidationError, match="raise the temperature"):
        OpenAIOracleConfig(model="m", samples=2)


def test_only_what_decides_the_reply_is_in_the_result_settings():
    plain = OpenAIOracleConfig(model="m")
    busy = OpenAIOracleConfig(
        model="m",
        api_key_env="OTHER",
        concurrency=1,
        timeout_seconds=1,
        max_retries=0,
        max_total_tokens=1,
        stream=True,
        requests_per_minute=1,
        tokens_per_minute=1,
        outage_after=1,
        expected_output_tokens=1,
        api_key_secret="a-block",
        max_cost_usd=1,
    )
    assert result_settings(plain) == result_settings(busy)
    assert result_settings(plain) != result_settings(OpenAIOracleConfig(model="m", temperature=0.5))
    assert result_settings(CalculatorOracleConfig()) == {"kind": "calculator"}


def test_every_field_is_described_in_the_form():
    for model in (*get_args(get_args(OracleConfig)[0]), Price):
        for name, field in model.model_json_schema()["properties"].items():
            assert field.get("description"), (model, name)


def test_the_settings_load_nothing_heavy():
    code = "import sys, spot_core.config.oracle, spot_core.oracles.base; print([m for m in ('torch', 'sympy', 'transformers', 'pandas') if m in sys.modules])"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        == "[]\n"
    )


@pytest.mark.parametrize("address", ["https://me:secret@api.example/v1", "https://api.example/v1?key=secret"])
def test_an_address_that_holds_a_secret_is_refused(address):
    with pytest.raises(ValidationError, match="may hold no user name, password or query"):
        OpenAIOracleConfig(model="m", base_url=address)
