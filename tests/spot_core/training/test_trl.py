"""The objectives against TRL's own `DPOTrainer`: the same losses and gradients, and the same course of training.

TRL 1.16's `bco_pair` has no δ: it is −log σ(r⁺) − log σ(−r⁻), which is `spot_bce`. Its `sigmoid` is `dpo`.
"""

from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import PreTrainedModel, PreTrainedTokenizerFast
from trl import DPOConfig, DPOTrainer

from spot_core.config.train import TrainConfig
from spot_core.training.objectives import reward_losses
from spot_core.training.pairs import Pair
from tests.spot_core.training.many_jobs import run_together
from tests.spot_core.training.models import tiny_model
from tests.spot_core.training.stage import Stage
from tests.spot_core.training.synthetic import VOCABULARY, random_pairs
from tests.spot_core.training.test_logprobs import gradients, merged_logprobs, relative_errors

LOSS_TYPES = {"dpo": "sigmoid", "spot_bce": "bco_pair"}
BETA = 0.5
PAIRS = random_pairs(16, shared_prompt=4)
STEPS = 6


class TokenIdTrainer(DPOTrainer):
    """TRL's trainer on token ids as they are, where it would tokenize text and add end-of-turn tokens."""

    def _prepare_dataset(self, dataset: Dataset, *_args: Any, **_kwargs: Any) -> Dataset:
        return dataset


def trl_trainer(
    model: PreTrainedModel, pairs: list[Pair], objective: str, folder: Path, **settings: Any
) -> DPOTrainer:
    """A trainer that has computed log π_ref of ``pairs`` with ``model`` as it is now."""
    rows = [
        {
            "prompt_ids": pair.prompt.tolist(),
            "chosen_ids": pair.chosen.tolist(),
            "rejected_ids": pair.rejected.tolist(),
        }
        for pair in pairs
    ]
    words = {f"t{number}": number for number in range(VOCABULARY)}
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(WordLevel(words, unk_token="t0")), pad_token="t0", eos_token="t1"
    )
    arguments = DPOConfig(
        output_dir=str(folder),
        loss_type=LOSS_TYPES[objective],
        beta=BETA,
        precompute_ref_log_probs=True,
        per_device_train_batch_size=len(pairs),
        max_length=None,
        bf16=False,
        use_cpu=True,
        report_to="none",
        disable_tqdm=True,
        save_strategy="no",
        dataloader_pin_memory=False,
        **settings,
    )
    return TokenIdTrainer(
        model=model, args=arguments, train_dataset=Dataset.from_list(rows), processing_class=tokenizer
    )


def nudged(model: PreTrainedModel) -> PreTrainedModel:
    """``model`` with weights a little off, the same way each time: π_θ ≠ π_ref, so no reward is 0."""
    noise = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=noise), alpha=0.02)
    return model


@pytest.mark.parametrize("objective", LOSS_TYPES)
@pytest.mark.parametrize("kind", ["qwen3", "llama"])
def test_loss_and_gradients_are_those_of_dpotrainer(kind: str, objective: str, tmp_path: Path) -> None:
    theirs = tiny_model(kind, torch.float32)
    trainer = trl_trainer(theirs, PAIRS, objective, tmp_path)
    nudged(theirs)
    batch = trainer.data_collator(list(trainer.train_dataset))
    expected_loss = trainer.compute_loss(theirs, batch)
    expected = gradients(theirs, expected_loss)

    ours = tiny_model(kind, torch.float32)
    with torch.no_grad():
        reference = merged_logprobs(ours, PAIRS)
    rewards = (BETA * (merged_logprobs(nudged(ours), PAIRS) - reference)).unbind(-1)
    loss = reward_losses(objective, *rewards, 0.0).mean()
    errors = relative_errors(gradients(ours, loss), {name: g.double() for name, g in expected.items()})

    print(
        f"{kind} {objective}: loss {loss.item():.7f} and {expected_loss.item():.7f}, gradients {max(errors.values()):.1e}"
    )
    assert torch.stack(rewards).abs().min() > 1e-4, "rewards of 0 would hide β"
    assert loss.item() == pytest.approx(expected_loss.item(), rel=1e-5)
    assert max(errors.values()) <= 1e-5


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Stage:
    """Both objectives trained by this project, all pairs in every step: so the order of pairs does not matter."""
    settings = TrainConfig(
        beta=BETA,
        learning_rate=1e-3,
        scheduler="constant",
        warmup_ratio=0,
        batch_size=len(PAIRS),
        epochs=STEPS,
        precision="fp32",
        save_dtype="fp32",
        context_length=40,
        row_tokens=64,
        micro_batch_tokens=128,
        ranks=2,
        checkpoint_every_steps=0,
    )
    stage = Stage(tmp_path_factory.mktemp("trl"), PAIRS, settings)
    stage.write_reference(PAIRS)
    run_together([stage.job(name, objective=name) for name in LOSS_TYPES], stage.folder / "ours.log")
    return stage


@pytest.mark.engine
@pytest.mark.parametrize("objective", LOSS_TYPES)
def test_training_takes_the_course_of_dpotrainer(objective: str, ours: Stage, tmp_path: Path) -> None:
    settings = ours.settings
    model = tiny_model("qwen3", torch.float32)
    trainer = trl_trainer(
        model,
        PAIRS,
        objective,
        tmp_path,
        num_train_epochs=STEPS,
        learning_rate=settings.learning_rate,
        lr_scheduler_type="constant",
        adam_beta1=settings.betas[0],
        adam_beta2=settings.betas[1],
        weight_decay=settings.weight_decay,
        max_grad_norm=settings.max_grad_norm,
        gradient_checkpointing=False,
        logging_steps=1,
    )
    trainer.train()
    theirs = [row for row in trainer.state.log_history if "loss" in row]
    rows = ours.metrics(ours.job(objective))
    assert len(rows) == len(theirs) == STEPS
    for name, curve in {
        "loss": "loss",
        "grad_norm": "grad_norm",
        "reward_chosen": "rewards/chosen",
        "reward_rejected": "rewards/rejected",
    }.items():
        expected = [row[curve] for row in theirs]
        apart = max(abs(row[name] - of) for row, of in zip(rows, expected, strict=True))
        print(f"{objective} {name}: {apart:.0e}")
        assert [row[name] for row in rows] == pytest.approx(expected, rel=1e-4, abs=1e-4), name
    weights = ours.weights(objective)
    for name, weight in model.named_parameters():
        assert (weights[name] - weight).abs().max() <= 0.05 * settings.learning_rate, name
