"""Pre-training is a function of its seed, and sees labels on responses alone."""

from itertools import islice

import pytest
import torch

from tools.demo_student.pretrain import IGNORED, Recipe, batches, pretrain, rate_at
from tools.demo_student.tokenizer import END, build_tokenizer

SHORT = Recipe(steps=6, warmup_steps=2, batch_tokens=300)


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_same_seed_gives_the_same_weights_and_another_seed_others():
    first, again, other = (pretrain(SHORT, seed)[0].state_dict() for seed in (3, 3, 4))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["model.embed_tokens.weight"], other["model.embed_tokens.weight"])


def test_batches_keep_to_their_token_budget_and_label_responses_only():
    tokenizer = build_tokenizer()
    for tokens, labels in islice(batches(tokenizer, Recipe(), seed=0), 50):
        assert tokens.shape == labels.shape and tokens.numel() <= Recipe.batch_tokens
        for row, row_labels in zip(tokens, labels, strict=True):
            text = tokenizer.decode(row).replace(tokenizer.pad_token, "")
            labelled = tokenizer.decode(row[row_labels != IGNORED])
            assert text.startswith("Q: ") and labelled.endswith(END)
            assert text.split("\nA: ")[1] == labelled


def test_learning_rate_warms_up_and_falls_to_its_last_share():
    recipe = Recipe()
    rates = [rate_at(step, recipe) for step in range(recipe.steps)]
    assert rates[0] == 1 / recipe.warmup_steps and max(rates) == rates[recipe.warmup_steps] == 1
    assert rates[recipe.warmup_steps :] == sorted(rates[recipe.warmup_steps :], reverse=True)
    assert rates[-1] == pytest.approx(recipe.final_rate, abs=1e-3)
