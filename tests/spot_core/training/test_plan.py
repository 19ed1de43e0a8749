from hypothesis import given, settings
from hypothesis import strategies as st

from spot_core.training.plan import RowBudget, Step, plan_reference, plan_training
from spot_core.training.prefixes import PrefixIndex
from tests.spot_core.training.synthetic import random_pairs


def _pairs_of(step: Step) -> list[int]:
    return [pair for rank in step.micro_batches for batch in rank for row in batch for pair in row]


@settings(deadline=None, max_examples=40)
@given(
    count=st.integers(1, 40),
    batch_size=st.integers(1, 12),
    world_size=st.integers(1, 5),
    epochs=st.integers(1, 3),
    row_tokens=st.integers(16, 120),
    rows=st.integers(1, 6),
    shared_prompt=st.sampled_from([0, 30]),
)
def test_every_step_has_its_pairs_once_and_every_rank_as_many_micro_batches(
    *,
    count: int,
    batch_size: int,
    world_size: int,
    epochs: int,
    row_tokens: int,
    rows: int,
    shared_prompt: int,
) -> None:
    prefixes = PrefixIndex(random_pairs(count, shared_prompt=shared_prompt))
    budget = RowBudget(row_tokens, row_tokens * rows)
    plan = plan_training(
        prefixes, epochs=epochs, batch_size=batch_size, seed=1, world_size=world_size, budget=budget
    )
    for step in plan:
        assert sorted(_pairs_of(step)) == sorted(step.pairs)
        assert len(step.micro_batches) == world_size
        assert len({len(batches) for batches in step.micro_batches}) == 1
        for batch in (batch for rank in step.micro_batches for batch in rank):
            sizes = [prefixes.trie_tokens(row) for row in batch]
            assert all(size <= row_tokens or len(row) == 1 for size, row in zip(sizes, batch, strict=True))
            assert len(batch) <= 1 or len(batch) * max(sizes) <= budget.micro_batch_tokens
    for epoch in range(epochs):
        sizes = [len(step.pairs) for step in plan if step.epoch == epoch]
        assert all(size == batch_size for size in sizes[:-1]) and sum(sizes) == count
        assert sorted(p for step in plan if step.epoch == epoch for p in step.pairs) == list(range(count))


def test_steps_do_not_depend_on_ranks_or_budgets_but_on_the_seed() -> None:
    prefixes = PrefixIndex(random_pairs(30))

    def steps(world_size: int, row_tokens: int, seed: int) -> list[tuple[int, ...]]:
        budget = RowBudget(row_tokens, 4 * row_tokens)
        plan = plan_training(
            prefixes, epochs=2, batch_size=8, seed=seed, world_size=world_size, budget=budget
        )
        return [step.pairs for step in plan]

    assert steps(1, 64, 0) == steps(3, 200, 0)
    assert steps(1, 64, 0) != steps(1, 64, 1)


def test_ranks_get_about_the_same_number_of_tokens() -> None:
    prefixes = PrefixIndex(random_pairs(64))
    step = plan_reference(prefixes, world_size=4, budget=RowBudget(128, 1024))
    tokens = [
        sum(prefixes.trie_tokens(row) for batch in rank for row in batch) for rank in step.micro_batches
    ]
    assert max(tokens) < 1.1 * min(tokens)


def test_pairs_that_share_a_prompt_share_rows() -> None:
    pairs = random_pairs(24, shared_prompt=60)
    prefixes = PrefixIndex(pairs)
    step = plan_reference(prefixes, world_size=1, budget=RowBudget(256, 1024))
    merged = sum(prefixes.trie_tokens(row) for batch in step.micro_batches[0] for row in batch)
    assert merged < 0.25 * sum(pair.tokens for pair in pairs)
