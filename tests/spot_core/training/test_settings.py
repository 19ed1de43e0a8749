import math
import re
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from spot_core.config.spot import SpotConfig
from spot_core.config.train import TrainConfig, result_settings
from spot_core.errors import ConfigError
from spot_core.geometry import Geometry, config_from_numbers
from spot_core.training.checkpoints import (
    Checkpoint,
    cut_metrics,
    find_resumable,
    latest,
    mark_complete,
    refuse_foreign,
)
from spot_core.training.job import LineTail, TrainingJob, append_line
from spot_core.training.plan import learning_rate
from spot_core.training.preflight import (
    GIB,
    Room,
    check_fits,
    estimate_least,
    estimate_worst_case,
    find_remedies,
)
from tests.spot_core.training.models import tiny_model

QWEN3_8B = Geometry.of(config_from_numbers(SpotConfig.from_profile("qwen3-8b").model.architecture))


def test_defaults_are_the_papers_recipe() -> None:
    config = TrainConfig()
    assert (config.beta, config.epochs, config.batch_size, config.betas) == (0.1, 2, 32, (0.9, 0.95))
    assert (config.learning_rate, config.warmup_ratio, config.weight_decay) == (1e-6, 0.05, 0.01)


def test_impossible_settings_are_refused() -> None:
    for field, value in [
        ("betas", (0.9, 1.0)),
        ("beta", 0),
        ("objective", "ppo"),
        ("zero_stage", 4),
        ("lr", 1),
    ]:
        with pytest.raises(ValidationError, match=field):
            TrainConfig(**{field: value})


def test_layout_does_not_change_what_decides_the_result() -> None:
    plain = result_settings(TrainConfig())
    layout = TrainConfig(ranks=4, zero_stage=3, row_tokens=512, checkpoint_every_steps=1, cpu_offload=True)
    assert result_settings(layout) == plain
    assert result_settings(TrainConfig(delta="ema")) != plain
    dpo = TrainConfig(objective="dpo")
    assert result_settings(dpo) == result_settings(dpo.model_copy(update={"delta": "ema"}))


def test_where_metrics_are_watched_and_an_unset_lora_are_not_in_the_key() -> None:
    plain = result_settings(TrainConfig())
    assert "lora" not in plain and "wandb_project" not in plain
    assert result_settings(TrainConfig(wandb_project="mine")) == plain


def test_every_setting_of_lora_is_in_the_key() -> None:
    keys = [
        result_settings(TrainConfig(lora=lora))
        for lora in (
            None,
            {"rank": 8},
            {"rank": 16},
            {"rank": 8, "alpha": 8},
            {"rank": 8, "target_modules": ("q_proj",)},
            {"rank": 8, "save_adapter": True},
        )
    ]
    assert all(one != other for i, one in enumerate(keys) for other in keys[:i])


def test_learning_rate_warms_up_and_ends_near_zero() -> None:
    config = TrainConfig(learning_rate=1.0, warmup_ratio=0.1)
    rates = [learning_rate(config, step, 50) for step in range(50)]
    assert rates[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert rates[5] == 1.0 and rates == rates[:5] + sorted(rates[5:], reverse=True)
    assert rates[-1] == pytest.approx(0.5 * (1 + math.cos(math.pi * 44 / 45)))
    assert learning_rate(config, 0, 1) == 1.0


def _job(tmp_path: Path, **settings: object) -> TrainingJob:
    (tmp_path / "state").mkdir(exist_ok=True)
    return TrainingJob(
        mode="train",
        model_path=tmp_path,
        pairs=(),
        reference=(),
        settings=TrainConfig(**settings),
        output_dir=tmp_path,
        scratch_dir=tmp_path,
    )


def _checkpoint(job: TrainingJob, steps: int, metrics_bytes: int = 0) -> Checkpoint:
    found = Checkpoint(steps, 2, 2, "mine", metrics_bytes, {"value": 0.1, "pairs": 3})
    (job.state_dir / found.tag).mkdir()
    return found


def test_a_checkpoint_without_its_marker_does_not_count_and_old_ones_go(tmp_path: Path) -> None:
    job = _job(tmp_path)
    _checkpoint(job, 5)
    assert latest(job.state_dir) is None
    for steps in (10, 20, 30):
        mark_complete(job.state_dir, _checkpoint(job, steps), keep=2)
    assert latest(job.state_dir).steps_done == 30
    assert sorted(path.name for path in job.state_dir.iterdir()) == ["step-000020", "step-000030"]


def test_resume_cuts_metrics_to_the_checkpoint(tmp_path: Path) -> None:
    job = _job(tmp_path)
    size = append_line(job.metrics_path, {"step": 0})
    append_line(job.metrics_path, {"step": 1})
    mark_complete(job.state_dir, _checkpoint(job, 1, size), keep=1)
    found = find_resumable(job)
    cut_metrics(job, found)
    assert LineTail(job.metrics_path).new_rows() == [{"step": 0}]


def test_a_checkpoint_fits_the_layout_that_wrote_it_or_any_once_it_is_universal(tmp_path: Path) -> None:
    of_two = _checkpoint(_job(tmp_path), 1)
    assert of_two.fits(TrainConfig(ranks=2))
    assert of_two.fits(TrainConfig(nodes=2, ranks=1, rendezvous="node0:29500"))
    assert not of_two.fits(TrainConfig(ranks=3)) and not of_two.fits(TrainConfig(ranks=2, zero_stage=1))
    universal = replace(of_two, universal=True)
    assert universal.fits(TrainConfig(ranks=3)) and universal.tag == "step-000001-universal"


def test_a_universal_checkpoint_takes_the_place_of_the_one_it_was_made_of(tmp_path: Path) -> None:
    job = _job(tmp_path)
    found = _checkpoint(job, 7)
    mark_complete(job.state_dir, found, keep=1)
    (job.state_dir / "step-000007-universal").mkdir()
    assert latest(job.state_dir) == found
    mark_complete(job.state_dir, replace(found, universal=True), keep=1)
    assert latest(job.state_dir) == replace(found, universal=True)
    assert [path.name for path in job.state_dir.iterdir()] == ["step-000007-universal"]


def test_sharded_weights_or_another_job_are_refused(tmp_path: Path) -> None:
    job = _job(tmp_path)
    mark_complete(job.state_dir, _checkpoint(job, 1), keep=1)
    with pytest.raises(ConfigError, match=r"at ZeRO stage 2, .* at stage 3: set zero_stage back to 2"):
        find_resumable(_job(tmp_path, zero_stage=3))
    with pytest.raises(ConfigError, match="other settings"):
        refuse_foreign(find_resumable(job), "another", job.state_dir)


def test_a_half_written_line_waits_for_its_end(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    tail = LineTail(path)
    assert tail.new_rows() == []
    path.write_bytes(b'{"step": 0}\n{"st')
    assert tail.new_rows() == [{"step": 0}]
    with path.open("ab") as file:
        file.write(b'ep": 1}\n')
    assert tail.new_rows() == [{"step": 1}]


@pytest.mark.parametrize("kind", ["qwen3", "llama"])
def test_parameters_are_counted_exactly(kind: str) -> None:
    model = tiny_model(kind)
    assert Geometry.of(model.config).parameters == sum(p.numel() for p in model.parameters())


def test_the_papers_job_fits_eight_80_gib_gpus_but_not_one() -> None:
    room = Room(host=1024 * GIB, gpu=79 * GIB, on_gpu=True)
    estimate_for = partial(estimate_worst_case, QWEN3_8B, on_gpu=True)
    assert QWEN3_8B.parameters == pytest.approx(8.19e9, rel=1e-3)
    check_fits(estimate_for, TrainConfig(ranks=8), room)
    with pytest.raises(
        ConfigError, match=r"8,190\.7M parameters.*a GPU has 79\.00 GiB.*train\.cpu_offload=True"
    ):
        check_fits(estimate_for, TrainConfig(ranks=1), room)


@pytest.mark.parametrize("on_gpu", [True, False])
@pytest.mark.parametrize("gib", [4, 12, 16, 24, 40, 48, 80, 141])
@pytest.mark.parametrize("ranks", [1, 4])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"zero_stage": 0, "precision": "fp32", "gradient_checkpointing": "none"},
        {"zero_stage": 1, "gradient_checkpointing": "selective", "micro_batch_tokens": 65536},
        {"zero_stage": 3},
        {"cpu_offload": True},
        {"lora": {"rank": 8}, "precision": "fp32"},
    ],
)
def test_every_remedy_that_is_named_works(on_gpu: bool, gib: int, ranks: int, settings: dict) -> None:
    """Whoever sets what the message says gets a configuration that is accepted and fits."""
    before = TrainConfig(ranks=ranks, **settings)
    room = Room(host=4 * gib * GIB if on_gpu else gib * GIB, gpu=gib * GIB if on_gpu else None, on_gpu=on_gpu)
    estimate_for = partial(estimate_worst_case, QWEN3_8B, on_gpu=on_gpu)
    if room.fits(estimate_for(before), before):
        assert check_fits(estimate_for, before, room) == estimate_for(before)
        return
    with pytest.raises(ConfigError) as refused:
        check_fits(estimate_for, before, room)
    said = str(refused.value)
    if "No change of train's settings helps" in said:
        assert find_remedies(estimate_for, before, room) == []
        return
    remedies = re.split("Each of these is enough: |Remedy: ", said)[1].split("; ")
    for remedy in remedies:
        changes = dict(change.split("=", 1) for change in remedy.removeprefix("train.").split(", train."))
        after = TrainConfig(**before.model_dump() | {name: yaml.safe_load(v) for name, v in changes.items()})
        assert room.fits(estimate_for(after), after), remedy


@pytest.mark.parametrize(
    ("gpu", "host", "ranks", "remedy"),
    [
        (80, 1024, 1, "train.cpu_offload=True"),
        (80, 64, 1, "train.ranks=4"),  # the host has no room for the optimizer
        (24, 1024, 2, "train.zero_stage=3"),
        (24, 64, 1, "train.lora="),
        (1, 64, 1, "No change"),
    ],
)
def test_a_remedy_is_found_where_there_is_one(gpu: int, host: int, ranks: int, remedy: str) -> None:
    room = Room(host=host * GIB, gpu=gpu * GIB, on_gpu=True)
    with pytest.raises(ConfigError, match=re.escape(remedy)):
        check_fits(partial(estimate_worst_case, QWEN3_8B, on_gpu=True), TrainConfig(ranks=ranks), room)


def test_several_gpus_get_room_for_their_collectives_and_all_for_fragments() -> None:
    def estimate(ranks: int, *, on_gpu: bool):
        return estimate_worst_case(QWEN3_8B, TrainConfig(ranks=ranks), on_gpu=on_gpu)

    one, two, cpu = estimate(1, on_gpu=True), estimate(2, on_gpu=True), estimate(1, on_gpu=False)
    assert two.framework - one.framework == GIB
    assert one.margin > 0.05 * one.weights and cpu.margin == 0


def test_host_memory_is_that_of_an_optimizer_kept_there_or_of_loading_shards() -> None:
    def host(*, on_gpu: bool = True, **settings) -> int:
        return estimate_least(QWEN3_8B, TrainConfig(ranks=8, **settings), on_gpu=on_gpu).host

    count = QWEN3_8B.parameters
    assert host() == host(zero_stage=3) == host(on_gpu=False) == 0
    assert host(cpu_offload=True) == host(zero_stage=3, cpu_offload=True) == 16 * (count // 8)
    assert host(zero_stage=3, on_gpu=False) > 2 * count
