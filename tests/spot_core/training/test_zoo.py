"""Every family of models is trained, and saved as what was trained; or it is refused by name and reason."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForCausalLM

from spot_core.config.spot import SpotConfig
from spot_core.config.train import LoraConfig, TrainConfig
from spot_core.errors import ConfigError, InputError
from spot_core.training.adapters import add_adapters, targets
from spot_core.training.device import Place, load_policy
from spot_core.training.job import LineTail, TrainingJob
from spot_core.training.support import check_model
from spot_core.training.weights import read_tensors, tensor_shapes
from tests.spot_core.training.many_jobs import run_together
from tests.spot_core.training.synthetic import random_pairs
from tests.spot_core.training.test_pairs import write_pairs
from tests.spot_core.training.zoo import BOUNDARY, ZOO, plain_logprobs, write_family

pytestmark = pytest.mark.engine

PAIRS = random_pairs(12, shared_prompt=8)  # of 11 to 33 tokens
SETTINGS = TrainConfig(
    objective="spot_bco",
    beta=0.5,
    learning_rate=1e-3,
    batch_size=2,
    epochs=2,  # 12 steps, interrupted after 10
    precision="fp32",
    save_dtype="fp32",
    checkpoint_every_steps=3,
    row_tokens=64,
    micro_batch_tokens=128,
    context_length=64,
    ranks=1,
)
HARD = (
    "phi3, longrope",
    "starcoder2",
    "seed_oss",
    "deepseek_v3",
    "qwen2_moe",
    "gemma3, sparse",
    "gemma4, text",
    "own code",
    "llama, sharded",
    "llama, pickled",
)
"""Those in which something was lost once."""
NOT_TRAINED = (
    "vision_tower",
    "multi_modal_projector",
    "e_score_correction_bias",
    "layer_scalar",
    "layers.61.",
    "act_fn.beta",
    "act_fn.eps",
)
"""Parts of names: towers that text does not pass through, buffers (the last two: of xIELU), layers that are not loaded."""
TRAINED = [name for name, family in ZOO.items() if not family.refused]


class Trained:
    """Families that went through reference, training with an interruption, and export."""

    def __init__(self, folder: Path, names: Sequence[str], **settings: Any) -> None:
        self.folder = folder
        self.names = names
        self.pairs = write_pairs(folder / "pairs.parquet", PAIRS)
        self.settings = SETTINGS.model_copy(update=settings)
        self.sources = {
            name: write_family(name, folder / "sources" / name.replace(", ", "-")) for name in names
        }
        jobs = [self.job(name, "reference") for name in names]
        jobs += [self.job(name, mode) for name in names for mode in ("full", "lora")]
        run_together([job for job in jobs if job is not None], folder / "log.txt", timeout_seconds=1500)

    def job(self, name: str, what: str) -> TrainingJob | None:
        settings = self.settings
        if what == "lora":
            if not (targets := ZOO[name].lora) and ZOO[name].refused_with_all_linear:
                return None
            settings = settings.model_copy(
                update={"lora": LoraConfig(rank=2, target_modules=targets or ("all-linear",))}
            )
        place = self.folder / name.replace(", ", "-") / what
        return TrainingJob(
            mode="reference" if what == "reference" else "train",
            model_path=self.sources[name],
            trust_remote_code=True,
            pairs=(self.pairs,),
            reference=None if what == "reference" else (place.parent / "reference" / "reference.parquet",),
            settings=settings,
            output_dir=place,
            scratch_dir=place.with_name(f"{what}-scratch"),
            backend="gloo",
        )


@pytest.fixture(scope="module")
def hard(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return Trained(tmp_path_factory.mktemp("zoo"), HARD)


@pytest.fixture(scope="module")
def others(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return Trained(tmp_path_factory.mktemp("zoo"), [name for name in TRAINED if name not in HARD])


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", HARD)
def test_what_is_saved_is_what_was_trained(hard: Trained, name: str) -> None:
    check_trained(hard, name)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", [name for name in TRAINED if name not in HARD])
def test_what_is_saved_is_what_was_trained_in_other_families(others: Trained, name: str) -> None:
    check_trained(others, name)


@pytest.fixture(scope="module")
def in_bf16(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    # With settings that change much: in bf16 little of 12 small steps is left.
    settings = {"precision": "bf16", "save_dtype": "bf16", "learning_rate": 1e-2}
    return Trained(tmp_path_factory.mktemp("zoo"), TRAINED, **settings)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", TRAINED)
def test_what_is_saved_is_what_was_trained_in_bf16(in_bf16: Trained, name: str) -> None:
    check_trained(in_bf16, name)


def check_trained(trained: Trained, name: str) -> None:
    reference = trained.job(name, "reference")
    assert not reference.error_path.exists(), reference.error_path.read_text()
    source = trained.sources[name]
    if trained.settings.precision == "fp32":
        _check_reference(reference, source, name)
    for what in ("full", "lora"):
        if (job := trained.job(name, what)) is None:
            continue
        assert not job.error_path.exists(), f"{what}: {job.error_path.read_text()}"
        rows = LineTail(job.metrics_path).new_rows()
        assert [row["step"] for row in rows] == list(range(12)), "each step once, through the interruption"
        assert sum(row["margin"] for row in rows[6:]) > 0
        invariants = json.loads(job.invariants_path.read_text())
        assert invariants.keys() == {"alone and together", "saved and trained"}
        checkpoint = job.output_dir / "checkpoint"
        beside = {
            p.relative_to(source) for p in source.rglob("*.*") if p.suffix in (".jinja", ".py", ".json")
        }
        missing = {one for one in beside if not (checkpoint / one).exists()}
        assert not [one for one in missing if not one.name.endswith(".index.json")], missing
        assert tensor_shapes(checkpoint) == tensor_shapes(source)
        _check_loads_alike(source, checkpoint)
        changed = changed_tensors(source, checkpoint)
        if what == "full":
            kept = tensor_shapes(source).keys() - changed
            assert not [one for one in kept if not any(part in one for part in NOT_TRAINED)], kept
        else:
            targets = ZOO[name].lora
            assert changed and all("weight" in one for one in changed)
            assert not targets or all(any(target in one for target in targets) for one in changed)


def _check_reference(job: TrainingJob, source: Path, name: str) -> None:
    """Each response alone has the log-prob that plain transformers gives it."""
    rows = pq.read_table(job.output_dir / "reference.parquet").to_pylist()
    by_key = {(row["question_id"], row["sample"]): row for row in rows}
    for pair in PAIRS[:4]:
        if "longrope" in name and pair.longest <= BOUNDARY:
            continue  # vLLM computes with the long factors whatever the length, and so do we
        row = by_key[pair.key]
        sequences = [pair.chosen_sequence.tolist(), pair.rejected_sequence.tolist()]
        expected = plain_logprobs(source, sequences, [len(pair.prompt)] * 2)
        found = [row["chosen_logprob"], row["rejected_logprob"]]
        assert found == pytest.approx(expected, abs=2e-3)


def _check_loads_alike(source: Path, checkpoint: Path) -> None:
    """The checkpoint is of the same class, and has all of its weights."""
    models = []
    for folder in (source, checkpoint):
        model, info = AutoModelForCausalLM.from_pretrained(
            folder, dtype=torch.float32, trust_remote_code=True, output_loading_info=True
        )
        assert not any(info[what] for what in ("missing_keys", "unexpected_keys", "mismatched_keys"))
        models.append(model)
    assert type(models[0]).__name__ == type(models[1]).__name__


def changed_tensors(source: Path, checkpoint: Path) -> list[str]:
    names = tensor_shapes(source).keys()
    before, after = read_tensors(source, names), read_tensors(checkpoint, names)
    return [name for name in names if not torch.equal(before[name].to(after[name].dtype), after[name])]


@pytest.mark.parametrize("name", list(ZOO))
def test_a_family_is_refused_by_name_and_reason_or_may_train(name: str, tmp_path: Path) -> None:
    family, folder = ZOO[name], write_family(name, tmp_path / "source")

    def check(**train: Any) -> None:
        model = {"path": str(folder), "trust_remote_code": True}
        check_model(
            SpotConfig.from_profile("demo", model=model, train={"context_length": 256} | train), folder
        )

    if family.refused:
        with pytest.raises(ConfigError, match=family.refused):
            check()
        return
    check()
    if family.lora:
        check(lora={"rank": 2, "target_modules": list(family.lora)})
    if family.refused_with_all_linear:
        with pytest.raises(ConfigError, match=family.refused_with_all_linear) as refused:
            check(lora={"rank": 2})
        assert family.kind in str(refused.value)
    else:
        check(lora={"rank": 2})


@pytest.mark.parametrize(
    ("name", "target", "refused"),
    [
        ("qwen2_moe", "gate_proj", None),  # of the shared expert
        ("mixtral", "gate_proj", r"names gate_proj: this model \(mixtral\) can have .*v_proj$"),
        ("deepseek_v3", "gate_proj", "without also targeting up_proj because they are fused"),
        ("deepseek_v3", "down_proj", "which holds all experts in one tensor"),
    ],
)
def test_adapters_are_beside_the_layers_that_are_named_or_refused(
    name: str, target: str, refused: str | None, tmp_path: Path
) -> None:
    model = AutoModelForCausalLM.from_pretrained(write_family(name, tmp_path / "source"))
    lora = LoraConfig(rank=2, target_modules=(target,))
    if refused is not None:
        with pytest.raises(ConfigError, match=refused):
            add_adapters(model, lora, seed=0)
        return
    add_adapters(model, lora, seed=0)
    trained = {name for name, weight in model.named_parameters() if weight.requires_grad}
    assert {name.rsplit(".lora_")[0] for name in trained} == {
        f"model.layers.{layer}.mlp.shared_expert.gate_proj" for layer in range(2)
    }


def test_adapters_of_a_shared_weight_are_refused(tmp_path: Path) -> None:
    sizes = {
        "num_hidden_layers": 6,
        "layers_block_type": ["mamba", "hybrid"] * 3,
        "mamba_d_state": 8,
        "n_mamba_heads": 2,
    }
    config = AutoConfig.for_model("zamba", vocab_size=61, hidden_size=32, num_attention_heads=4, **sizes)
    model = AutoModelForCausalLM.from_config(config)
    with pytest.raises(ConfigError, match="shares its weight with another layer"):
        add_adapters(model, LoraConfig(rank=2, target_modules=("q_proj", "o_proj")), seed=0)


def test_a_layer_that_does_more_than_multiply_gets_no_adapter(tmp_path: Path) -> None:
    class Rounded(torch.nn.Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.nn.functional.linear(x, self.weight.sign())

    model = AutoModelForCausalLM.from_pretrained(write_family("qwen3", tmp_path / "source"))
    for layer in model.model.layers:
        layer.self_attn.q_proj.__class__ = Rounded
    with pytest.raises(ConfigError, match=r"names q_proj: this model .* can have adapters at down_proj"):
        add_adapters(model, LoraConfig(rank=2, target_modules=("q_proj",)), seed=0)
    assert "q_proj" not in targets(model, LoraConfig(rank=2))


def test_two_tensors_where_the_config_says_one_are_refused(tmp_path: Path) -> None:
    source = write_family("llama, tied", tmp_path / "source")
    tensors = load_file(source / "model.safetensors")
    tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"] + 1
    save_file(tensors, source / "model.safetensors", metadata={"format": "pt"})
    place = Place(rank=0, world_size=1, device=torch.device("cpu"), backend="gloo")
    with pytest.raises(InputError, match=r"tie_word_embeddings = true.*two different"):
        load_policy(_job_of(source, tmp_path), "sdpa", place)


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        ({"quantization_config": {"quant_method": "fp8"}}, "the weights are quantised"),
        ({"model_type": "bloom"}, "does not support .*scaled_dot_product_attention"),
        ({"model_type": "llama4_text"}, "has no base model below its output layer"),
    ],
)
def test_what_would_fail_at_the_start_of_training_is_refused_before(
    written: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    AutoConfig.for_model(**({"model_type": "llama"} | written), num_hidden_layers=1).save_pretrained(tmp_path)
    config = SpotConfig.from_profile("demo", model={"path": str(tmp_path)}, train={"context_length": 256})
    with pytest.raises(ConfigError, match=reason):
        check_model(config, tmp_path)
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(ConfigError, match="holds an adapter, not a model"):
        check_model(config, tmp_path)


def test_a_model_of_which_only_the_text_part_would_be_trained_is_refused(tmp_path: Path) -> None:
    config = AutoConfig.for_model("llama4", text_config={"num_hidden_layers": 1})
    config.save_pretrained(tmp_path)
    with pytest.raises(
        ConfigError,
        match=r"of this llama4 model transformers would train the text part alone \(llama4_text\)",
    ):
        check_model(SpotConfig.from_profile("demo", model={"path": str(tmp_path)}), tmp_path)


def test_names_that_are_not_those_of_the_model_are_refused_before(tmp_path: Path) -> None:
    source = write_family("qwen3", tmp_path / "source")
    tensors = {
        name.removeprefix("model."): value for name, value in load_file(source / "model.safetensors").items()
    }
    save_file(tensors, source / "model.safetensors", metadata={"format": "pt"})
    config = SpotConfig.from_profile("demo", model={"path": str(source)}, train={"context_length": 256})
    with pytest.raises(
        InputError,
        match=r"not in the source: model.layers.0.input_layernorm.weight, .*named as transformers saves them",
    ):
        check_model(config, source)


def test_tensors_that_the_model_does_not_use_are_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = write_family("qwen3", tmp_path / "source")
    tensors = load_file(source / "model.safetensors")
    tensors["model.layers.1.self_attn.q_proj.bias"] = torch.zeros(32)
    save_file(tensors, source / "model.safetensors", metadata={"format": "pt"})
    place = Place(rank=0, world_size=1, device=torch.device("cpu"), backend="gloo")
    load_policy(_job_of(source, tmp_path), "sdpa", place)
    assert "1 tensors of" in caplog.text and "model.layers.1.self_attn.q_proj.bias, …" in caplog.text


def test_weights_have_one_format_where_transformers_keeps_some_in_fp32(tmp_path: Path) -> None:
    source = write_family("hunyuan_v1_moe", tmp_path / "source")
    place = Place(rank=0, world_size=1, device=torch.device("cpu"), backend="gloo")
    as_published = AutoModelForCausalLM.from_pretrained(source, dtype=torch.bfloat16)
    assert len({weight.dtype for weight in as_published.parameters()}) == 2
    job = _job_of(source, tmp_path)
    job = job.model_copy(update={"settings": SETTINGS.model_copy(update={"precision": "bf16"})})
    model = load_policy(job, "sdpa", place)
    assert {weight.dtype for weight in model.parameters()} == {torch.bfloat16}


def test_missing_weights_are_refused_before_they_are_random_and_others_taken_over(tmp_path: Path) -> None:
    source = write_family("qwen3", tmp_path / "source")
    tensors = load_file(source / "model.safetensors")
    del tensors["model.layers.1.mlp.up_proj.weight"]
    save_file(tensors, source / "model.safetensors", metadata={"format": "pt"})
    job = _job_of(source, tmp_path)
    place = Place(rank=0, world_size=1, device=torch.device("cpu"), backend="gloo")
    with pytest.raises(
        InputError, match=r"1 weights, model.layers.1.mlp.up_proj.weight among them.*would be random"
    ):
        load_policy(job, "sdpa", place)


def _job_of(source: Path, folder: Path) -> TrainingJob:
    return TrainingJob(
        mode="reference",
        model_path=source,
        pairs=(),
        reference=None,
        settings=SETTINGS,
        output_dir=folder,
        scratch_dir=folder,
    )
