"""What must hold in every training is noticed when it does not, by name."""

import json
import re
from pathlib import Path

import pytest
from transformers import AutoModelForCausalLM

from spot_core.config.train import LoraConfig, TrainConfig
from spot_core.errors import EngineError, InputError
from spot_core.training.invariants import check_saved, choose_probes
from spot_core.training.job import TrainingJob
from spot_core.training.weights import check_tensors, saved_shapes, tensor_shapes
from tests.spot_core.training.many_jobs import run_together
from tests.spot_core.training.synthetic import random_pairs
from tests.spot_core.training.test_pairs import write_pairs
from tests.spot_core.training.zoo import BOUNDARY, write_family

PAIRS = random_pairs(6, shared_prompt=8)
SETTINGS = TrainConfig(
    objective="dpo",
    beta=0.5,
    learning_rate=3e-3,
    warmup_ratio=0.0,
    batch_size=3,
    epochs=4,
    precision="fp32",
    save_dtype="fp32",
    checkpoint_every_steps=0,
    row_tokens=64,
    micro_batch_tokens=128,
    context_length=64,
    ranks=1,
)
LORA = {"lora": LoraConfig(rank=2, alpha=16)}
SAVED = "saved and trained differ"
PLANTED = {
    "a dropped tensor": ("qwen3", {}, rf"{SAVED}: .* missing: model.layers.1.mlp.up_proj.weight"),
    "the source saved again": ("qwen3", {}, rf"{SAVED}: .* and from the saved checkpoint"),
    "dropout left on": ("starcoder2", {}, "in two passes over the same tokens .*something in it is random"),
    "another scale of the adapters": ("qwen3", LORA, rf"{SAVED}: .* and from the saved checkpoint"),
    "adapters that are not merged": ("qwen3", LORA, rf"{SAVED}: .* and from the saved checkpoint"),
    "positions through the row": (
        "qwen3",
        {},
        "alone and in a pass with other pairs .*depends on the neighbours",
    ),
    "frequencies of the longest": ("phi3, longrope", {}, "alone and in a pass with other pairs"),
}


@pytest.fixture(scope="module")
def refusals(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What each planted fault ended with."""
    folder = tmp_path_factory.mktemp("planted")
    pairs = write_pairs(folder / "pairs.parquet", PAIRS)
    families = sorted({family for family, _, _ in PLANTED.values()})
    sources = {family: write_family(family, folder / family.replace(", ", "-")) for family in families}

    def job(name: str, family: str, reference: Path | None, **settings: object) -> TrainingJob:
        return TrainingJob(
            mode="reference" if reference is None else "train",
            model_path=sources[family],
            pairs=(pairs,),
            reference=None if reference is None else (reference,),
            settings=SETTINGS.model_copy(update=settings),
            output_dir=folder / name / "out",
            scratch_dir=folder / name / "scratch",
            backend="gloo",
        )

    references = {family: job(f"reference-{n}", family, None) for n, family in enumerate(families)}
    jobs = {
        name: job(f"{n}", family, references[family].output_dir / "reference.parquet", **settings)
        for n, (name, (family, settings, _)) in enumerate(PLANTED.items())
    }
    run_together(
        [*references.values(), *jobs.values()],
        folder / "log.txt",
        faults=[None] * len(references) + list(jobs),
    )
    return {
        name: json.loads(one.error_path.read_text())["message"] if one.error_path.exists() else "nothing"
        for name, one in jobs.items()
    }


@pytest.mark.engine
@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_fault_is_caught_by_name(refusals: dict[str, str], name: str) -> None:
    assert re.search(PLANTED[name][2], refusals[name]), refusals[name]


def test_probes_are_the_shortest_the_longest_and_both_sides_of_a_boundary() -> None:
    chosen = [PAIRS[index].longest for index in choose_probes(PAIRS, [BOUNDARY])]
    lengths = [pair.longest for pair in PAIRS]
    assert {min(lengths), max(lengths)} <= set(chosen)
    assert {min(n for n in lengths if n > BOUNDARY), max(n for n in lengths if n <= BOUNDARY)} <= set(chosen)
    assert choose_probes(PAIRS[:1]) == [0]


def test_rounding_is_no_difference_and_nan_is_one() -> None:
    settings = SETTINGS.model_copy(update={"save_dtype": "bf16"})
    ended = [-10.0, -12.0]
    assert check_saved(PAIRS[:1], ended, [-10.01, -12.0], settings).largest_difference < 0.01
    with pytest.raises(EngineError, match=r"nan.*must not be used"):
        check_saved(PAIRS[:1], ended, [float("nan"), -12.0], settings)


def test_a_tensor_too_many_or_too_few_or_of_another_shape_is_named(tmp_path: Path) -> None:
    source = write_family("llama, tied", tmp_path / "source")
    model, shapes = AutoModelForCausalLM.from_pretrained(source), tensor_shapes(source)
    assert saved_shapes(model) == shapes
    check_tensors(source, shapes | {"lm_head.weight": (61, 32)}, model)  # shared, so it may be there
    name, other = "model.layers.0.self_attn.q_proj.weight", "model.norm.weight"
    with pytest.raises(
        InputError, match=rf"missing: {other}; not in the source: new; of another shape: {name}"
    ):
        check_tensors(
            source, {k: v for k, v in shapes.items() if k != other} | {name: (1,), "new": (2,)}, model
        )


def test_shapes_are_read_from_every_kind_of_folder(tmp_path: Path) -> None:
    kinds = ("llama, sharded", "llama, pickled")
    sharded, pickled = (tensor_shapes(write_family(kind, tmp_path / str(n))) for n, kind in enumerate(kinds))
    assert sharded == pickled and sharded["model.norm.weight"] == (32,)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no weights"):
        tensor_shapes(tmp_path / "empty")
