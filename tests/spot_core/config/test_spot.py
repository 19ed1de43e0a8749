"""Wrong settings are refused with the field's name and a remedy; profiles and overrides add up."""

import pytest
from pydantic import ValidationError

from spot_core.config.base import given
from spot_core.config.profiles import merge, profile_names
from spot_core.config.spot import SpotConfig, SpotOverrides, valid_run_name
from spot_core.errors import ConfigError


@pytest.mark.parametrize("profile", ["demo", "smollm2", "qwen3-8b", "llama3.1-8b"])
def test_every_profile_is_valid_and_survives_a_round_trip(profile):
    config = SpotConfig.from_profile(profile)
    assert SpotConfig.model_validate_json(config.model_dump_json()) == config
    assert profile in profile_names()


def test_the_paper_profiles_hold_the_papers_settings():
    qwen, llama = SpotConfig.from_profile("qwen3-8b"), SpotConfig.from_profile("llama3.1-8b")
    for config in (qwen, llama):
        assert (config.rollout.temperature, config.rollout.top_p, config.rollout.max_new_tokens) == (
            0.7,
            0.8,
            32768,
        )
        train = config.train
        assert (train.beta, train.epochs, train.batch_size, train.context_length) == (0.1, 2, 32, 8192)
        assert (train.betas, train.weight_decay, train.warmup_ratio) == ((0.9, 0.95), 0.01, 0.05)
        assert (train.precision, train.zero_stage, train.max_grad_norm) == ("bf16", 2, 1.0)
        assert config.rectify.gamma == 0.6
    assert (qwen.train.learning_rate, llama.train.learning_rate) == (1e-6, 2e-7)
    assert qwen.model.chat_template_kwargs == {"enable_thinking": False}


@pytest.mark.parametrize(
    ("overrides", "field"),
    [
        ({"rectify": {"gamma": 1.5}}, "rectify.gamma"),
        ({"train": {"betta": 0.1}}, "train.betta"),
        ({"train": {"objective": "ppo"}}, "train.objective"),
        ({"rollout": {"temperature": "hot"}}, "rollout.temperature"),
        ({"rollout": {"max_new_tokens": 256}}, "rollout.max_new_tokens"),
        ({"questions": {"kind": "file", "path": "x.txt"}}, "questions"),
        ({"prompt": {"template": "no place"}}, "prompt.template"),
    ],
)
def test_a_wrong_value_is_refused_naming_its_field(overrides, field):
    with pytest.raises(ValidationError) as caught:
        SpotConfig.from_profile("demo", **overrides)
    assert field.split(".")[-1] in str(caught.value)


@pytest.mark.parametrize(
    "overrides",
    [
        {"rectify": {"gamma": 1.5}},
        {"train": {"betta": 0.1}},
        {"rollout": {"temperature": "hot"}},
        {"nonsense": 1},
    ],
)
def test_wrong_overrides_are_refused_at_submission(overrides):
    with pytest.raises(ValidationError):
        SpotOverrides.model_validate(overrides)


def test_overrides_change_only_what_they_name():
    given = SpotOverrides.model_validate({"train": {"objective": "dpo"}}).model_dump(
        mode="json", exclude_unset=True
    )
    config = SpotConfig.from_profile("demo", **given)
    base = SpotConfig.from_profile("demo")
    assert config.train.objective == "dpo"
    assert config.model_copy(update={"train": base.train}) == base
    assert config.train.model_copy(update={"objective": base.train.objective}) == base.train


@pytest.mark.parametrize(
    ("overrides", "kind"),
    [
        ({"questions": {"count": 5}}, "generator"),
        ({"questions": {"kind": "generator", "count": 5}}, "generator"),
        ({"questions": {"kind": "file", "path": "a.csv"}}, "file"),
    ],
)
def test_a_data_source_may_be_changed_in_part_or_replaced(overrides, kind):
    config = SpotConfig.from_profile("demo", **given(SpotOverrides.model_validate(overrides)))
    assert config.questions.kind == kind
    assert getattr(config.questions, "count", 5) == 5


def test_null_in_overrides_keeps_the_profiles_value():
    # What Prefect's form sends when nothing was touched.
    untouched = {"questions": None, "train": {"gradient_checkpointing": None}, "rectify": {"oracle": None}}
    for profile in ("demo", "qwen3-8b"):
        config = SpotConfig.from_profile(profile, **given(SpotOverrides.model_validate(untouched)))
        assert config == SpotConfig.from_profile(profile)


@pytest.mark.parametrize("sent", [{}, {"rank": None}, {"save_adapter": None, "target_modules": None}])
def test_an_untouched_optional_section_stays_off(sent):
    config = SpotConfig.from_profile("demo", **given(SpotOverrides.model_validate({"train": {"lora": sent}})))
    assert config == SpotConfig.from_profile("demo")


def test_a_rank_switches_lora_on_and_other_values_alone_do_not(tmp_path):
    def configured(lora, profile="demo"):
        return SpotConfig.from_profile(
            profile, **given(SpotOverrides.model_validate({"train": {"lora": lora}}))
        )

    assert configured({"rank": 8}).train.lora.rank == 8
    with pytest.raises(ValidationError, match="rank"):
        configured({"alpha": 8})
    mine = tmp_path / "mine.yaml"
    mine.write_text("extends: demo\ntrain: {lora: {rank: 4}}\n")
    lora = configured({"alpha": 8}, str(mine)).train.lora
    assert (lora.rank, lora.alpha) == (4, 8)


def test_the_form_offers_no_field_that_sends_a_value_by_itself():
    document = SpotOverrides.model_json_schema()
    sections = [d for name, d in document["$defs"].items() if name.endswith("Overrides")]
    named = [item for section in [document, *sections] for item in section["properties"].items()]
    fields = [field for name, field in named if name != "kind"]  # only a chosen member of a union has a kind
    assert len(fields) > 40
    assert all(field.get("default") is None for field in fields)
    assert not [field for field in fields if "oneOf" in field or field.get("type") == "boolean"]


def test_another_kind_of_source_replaces_the_profiles_whole():
    config = SpotConfig.from_profile("demo", questions={"kind": "file", "path": "questions.jsonl"})
    assert config.questions.path == "questions.jsonl"
    assert merge({"a": {"kind": "x", "n": 1}}, {"a": {"kind": "x", "m": 2}}) == {
        "a": {"kind": "x", "n": 1, "m": 2}
    }


def test_two_held_out_sets_of_one_name_are_refused():
    source = {"kind": "generator", "name": "demo-chains", "count": 5, "split": "evaluation"}
    with pytest.raises(ValidationError, match=r"decontamination\.sets are called chains"):
        SpotConfig.from_profile("demo", decontamination={"sets": [{"name": "chains", "questions": source}]})


def test_an_unknown_profile_names_the_known_ones(tmp_path):
    with pytest.raises(ConfigError, match="demo, llama3"):
        SpotConfig.from_profile("demmo")
    with pytest.raises(ConfigError, match="no file"):
        SpotConfig.from_profile(str(tmp_path / "mine.yaml"))
    with pytest.raises(ConfigError):
        SpotConfig.from_profile("../../pyproject")


def test_a_profile_of_ones_own_may_extend_another(tmp_path):
    mine = tmp_path / "mine.yaml"
    mine.write_text("extends: demo\ntrain: {beta: 2.0}\n")
    config = SpotConfig.from_profile(str(mine))
    assert config.train.beta == 2.0
    assert config.train.ranks == SpotConfig.from_profile("demo").train.ranks


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".hidden", "a" * 101, "x\n", "a..b"])
def test_run_names_cannot_leave_the_store(name):
    with pytest.raises(ValueError, match="run_name"):
        valid_run_name(name)
