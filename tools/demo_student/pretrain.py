"""Pre-trains the demo student: its recipe, its architecture and the training loop."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from random import Random

import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch.nn.functional import cross_entropy
from torch.nn.utils import clip_grad_norm_
from torch.optim.lr_scheduler import LambdaLR
from transformers import GenerationConfig, PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

from tools.demo_student.corpus import training_pairs
from tools.demo_student.tokenizer import MAX_TOKENS, build_tokenizer, prompt_text

IGNORED = -100
"""Label of prompt and padding tokens."""
POOL = 4096
"""Pairs that are sorted by length together, so that a batch has little padding."""


@dataclass(frozen=True)
class Recipe:
    """How the student is pre-trained; the defaults were found by experiment on one core."""

    steps: int = 2800
    batch_tokens: int = 1500
    learning_rate: float = 4e-3
    betas: tuple[float, float] = (0.9, 0.98)
    weight_decay: float = 0.01
    warmup_steps: int = 60
    final_rate: float = 0.02
    """Last learning rate, as a share of the highest."""
    max_gradient_norm: float = 1.0


def build_model(tokenizer: PreTrainedTokenizerFast) -> Qwen3ForCausalLM:
    """An untrained student of 371 thousand parameters in fp32, from torch's current random state."""
    config = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=96,
        num_hidden_layers=3,
        num_attention_heads=3,
        num_key_value_heads=3,
        head_dim=32,
        intermediate_size=288,
        max_position_embeddings=MAX_TOKENS,
        tie_word_embeddings=True,
        # Four times the usual: with 0.02 a model this small learns far too slowly.
        initializer_range=0.08,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        dtype=torch.float32,
    )
    model = Qwen3ForCausalLM(config)
    model.generation_config = GenerationConfig(
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id
    )
    return model


def pretrain(recipe: Recipe, seed: int) -> tuple[Qwen3ForCausalLM, PreTrainedTokenizerFast]:
    """The student after all steps of the recipe, with its tokenizer."""
    torch.manual_seed(seed)
    tokenizer = build_tokenizer()
    model = build_model(tokenizer).train()
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=recipe.learning_rate, betas=recipe.betas, weight_decay=recipe.weight_decay
    )
    schedule = LambdaLR(optimizer, lambda step: rate_at(step, recipe))
    with _progress() as progress:
        task = progress.add_task("pre-training", total=recipe.steps, loss=math.nan)
        for tokens, labels in islice(batches(tokenizer, recipe, seed), recipe.steps):
            # Padding is on the right, where a causal model never looks: no attention mask is needed.
            logits = model(input_ids=tokens, use_cache=False).logits  # (pairs, tokens, vocabulary)
            loss = cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), ignore_index=IGNORED)
            loss.backward()
            clip_grad_norm_(model.parameters(), recipe.max_gradient_norm)
            optimizer.step()
            optimizer.zero_grad()
            schedule.step()
            progress.update(task, advance=1, loss=loss.item())
    return model.eval(), tokenizer


def rate_at(step: int, recipe: Recipe) -> float:
    """Learning rate of a step as a share of the highest: linear warm-up, then a cosine to `final_rate`."""
    if step < recipe.warmup_steps:
        return (step + 1) / recipe.warmup_steps
    done = min(1.0, (step - recipe.warmup_steps) / max(1, recipe.steps - recipe.warmup_steps))
    return recipe.final_rate + (1 - recipe.final_rate) * (1 + math.cos(math.pi * done)) / 2


def batches(
    tokenizer: PreTrainedTokenizerFast, recipe: Recipe, seed: int
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Endless (token ids, labels) batches, both (pairs, tokens), of at most `batch_tokens` padded tokens."""
    pairs, rng = training_pairs(seed), Random(f"batch order/{seed}")
    while True:
        pool = list(islice(pairs, POOL))
        prompts = tokenizer([prompt_text(question) for question, _ in pool])["input_ids"]
        responses = tokenizer([response + tokenizer.eos_token for _, response in pool])["input_ids"]
        rows = sorted(zip(prompts, responses, strict=True), key=lambda row: len(row[0]) + len(row[1]))
        ready, batch = [], []
        for row in rows:
            if (len(batch) + 1) * sum(map(len, row)) > recipe.batch_tokens:
                ready.append(batch)
                batch = []
            batch.append(row)
        ready.append(batch)
        rng.shuffle(ready)
        yield from (_pad(batch, tokenizer.pad_token_id) for batch in ready)


def _pad(batch: list[tuple[list[int], list[int]]], pad_id: int) -> tuple[torch.Tensor, torch.Tensor]:
    width = max(len(prompt) + len(response) for prompt, response in batch)
    tokens = torch.full((len(batch), width), pad_id)
    labels = torch.full((len(batch), width), IGNORED)
    for row, (prompt, response) in enumerate(batch):
        end = len(prompt) + len(response)
        tokens[row, :end] = torch.tensor(prompt + response)
        labels[row, len(prompt) : end] = torch.tensor(response)
    return tokens, labels


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("loss {task.fields[loss]:.3f}"),
        TimeRemainingColumn(),
    )
