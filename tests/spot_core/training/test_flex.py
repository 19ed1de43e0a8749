"""FlexAttention over rows of tries: its masks, its values, how often it is compiled, and what happens if it cannot be.

A CPU has no backward pass of it. Here the check that says so is replaced, and PyTorch's own arithmetic stands in for the
kernels: Dynamo traces, guards and counts as on a GPU.
"""

import json
import logging
import multiprocessing
import os
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch._dynamo.testing import CompileCounterWithBackend
from torch._inductor.runtime.triton_compat import OutOfResources
from torch._inductor.runtime.triton_heuristics import NoTritonConfigsError
from torch.nn.attention import flex_attention as torch_flex
from torch.nn.attention.flex_attention import create_mask
from transformers import PreTrainedModel

from spot_core.config.train import TrainConfig
from spot_core.errors import ConfigError, EngineError
from spot_core.processes.supervised import free_port
from spot_core.training import flex
from spot_core.training.activations import set_checkpointing
from spot_core.training.attention import attention_kernel, trie_mask
from spot_core.training.device import join
from spot_core.training.flex import BLOCK, trie_block_mask
from spot_core.training.job import TrainingJob
from spot_core.training.layout import choose_layout
from spot_core.training.logprobs import SequenceLogProbs
from spot_core.training.pairs import Pair, read_reference
from spot_core.training.plan import MicroBatch, RowBudget, plan_step
from spot_core.training.prefixes import PlainIndex, PrefixIndex
from spot_core.training.reference import compute_reference
from spot_core.training.rows import RowForm, collate
from spot_core.training.trainer import Trainer
from spot_core.training.worker import usable_pairs
from tests.spot_core.training.models import tiny_model
from tests.spot_core.training.stage import SETTINGS, Stage, timeless
from tests.spot_core.training.synthetic import VOCABULARY, random_pairs
from tests.spot_core.training.test_attention import HERE, rows_of_tries

JOINED = RowForm(block=BLOCK)
MODELS: dict[str, dict[str, Any]] = {
    "qwen3": {},
    "mistral": {"sliding_window": 40},
    "gemma3_text": {"sliding_window": 40},
    "gemma2": {"sliding_window": 40, "attn_logit_softcapping": 2.0},
    "gpt_oss": {"sliding_window": 40, "num_local_experts": 2, "num_experts_per_tok": 1},
}
GRAPHS = {"qwen3": 1, "mistral": 1, "gemma3_text": 2, "gemma2": 2, "gpt_oss": 2}  # kinds of layers
Use = Callable[[Any], CompileCounterWithBackend]


@pytest.fixture
def compile_with(monkeypatch: pytest.MonkeyPatch) -> Iterator[Use]:
    """Lets FlexAttention train here, its graphs computed by the given backend of `torch.compile`."""

    def use(backend: Any) -> CompileCounterWithBackend:
        torch._dynamo.reset()
        flex._compiled.cache_clear()
        counter = CompileCounterWithBackend("eager")
        if callable(backend):
            counter.backend = backend
        monkeypatch.setattr(flex, "BACKEND", counter)
        return counter

    monkeypatch.setattr(flex, "has_backward", lambda device: True)
    monkeypatch.setattr(torch_flex, "_validate_device", lambda *states: None)
    yield use
    torch._dynamo.reset()
    flex._compiled.cache_clear()


def no_kernel(_graph: Any, _inputs: Any) -> Callable[..., tuple[Tensor]]:
    """A backend whose kernels only have the right shape: for tests of how often something is compiled."""

    def kernel(*inputs: Any) -> tuple[Tensor]:
        states = [given for given in inputs if isinstance(given, Tensor) and given.dim() == 4]
        query = next(state for state in states if state.is_floating_point())
        return (query.transpose(1, 2).contiguous(),)

    return kernel


def with_flex(kind: str) -> PreTrainedModel:
    model = tiny_model(kind, torch.float32, **MODELS[kind])
    model.set_attn_implementation(flex.KERNEL)
    return model


@given(seed=st.integers(0, 10**6), blocks=st.integers(2, 5), window=st.sampled_from([None, 3, 40, 200]))
@settings(max_examples=40, deadline=None)
def test_the_block_mask_computes_every_allowed_pair_and_no_needless_block(seed, blocks, window) -> None:
    end, depth = rows_of_tries(seed, blocks, tokens=BLOCK)
    dense = trie_mask(end, depth, window)
    by_block = trie_block_mask(end, depth, window)
    needed = dense.view(2, 1, blocks, BLOCK, blocks, BLOCK).any(dim=(3, 5))
    computed = by_block.to_dense().bool()
    assert not (needed & ~computed).any()
    if window is None:
        assert torch.equal(needed, computed)
    assert torch.equal(create_mask(by_block.mask_mod, 2, 1, *dense.shape[2:], device="cpu"), dense)


@pytest.mark.parametrize(
    ("kind", "checkpointing"), [*product(MODELS, ["none"]), ("gemma3_text", "selective")]
)
def test_logprobs_and_gradients_are_those_of_dense_attention(
    kind: str, checkpointing: Any, compile_with: Use
) -> None:
    counter = compile_with("eager")
    merged = kind != "gpt_oss"  # routed experts have plain rows
    pairs = random_pairs(24 if merged else 4, shared_prompt=50)
    batch = (tuple(range(len(pairs) - 2)), (len(pairs) - 2, len(pairs) - 1))
    found = []
    for trie_kernel in (False, True):
        model = tiny_model(kind, torch.float32, **MODELS[kind])
        kernel = attention_kernel(model.config, with_flex=trie_kernel, merged=merged, row_tokens=300)
        model.set_attn_implementation(kernel)
        set_checkpointing(model, checkpointing)
        form = RowForm(merged=merged, block=BLOCK if trie_kernel else None)
        logprobs = SequenceLogProbs(model)(collate(pairs, batch, form))
        logprobs.sum().backward()
        found.append((logprobs.detach(), {name: p.grad for name, p in model.named_parameters()}))
    assert counter.frame_count == GRAPHS[kind]
    torch.testing.assert_close(found[1], found[0], rtol=2e-4, atol=2e-4)


def ordinary_batches(merged: bool) -> tuple[list[Pair], list[MicroBatch]]:
    """Pairs of ordinary lengths and 60 micro-batches of them, no two of the same shape, as the planner lays them out."""
    rng = np.random.default_rng(0)

    def ids(tokens: float) -> np.ndarray:
        return rng.integers(0, VOCABULARY, max(1, int(tokens))).astype(np.int32)

    few_shot, pairs = ids(240), []
    for number in range(240):
        prompt = np.concatenate([few_shot[: 240 * (number % 3 == 0)], ids(rng.integers(20, 200))])
        rejected = ids(np.clip(rng.lognormal(np.log(300), 0.7), 10, 3000))
        kept = rejected[: int(len(rejected) * rng.uniform())]  # parts at once, or only at the end
        pairs.append(
            Pair(f"q{number:04d}", 0, prompt, rejected, np.concatenate([kept, ids(rng.integers(5, 400))]))
        )
    index = PrefixIndex(pairs) if merged else PlainIndex(pairs)
    shapes: dict[tuple[int, int], MicroBatch] = {(0, 0): ()}  # what a rank gets that has nothing left to do
    for row_tokens, micro_batch_tokens, ranks in product((1024, 8192), (2048, 8192), (1, 4)):
        budget = RowBudget(row_tokens if merged else 1, micro_batch_tokens)
        for start in range(0, len(pairs), 32):
            step = plan_step(index, 0, range(start, min(start + 32, len(pairs))), ranks, budget)
            for batch in (batch for rank in step.micro_batches for batch in rank if batch):
                shapes[len(batch), sum(index.trie_tokens(row) for row in batch)] = batch
    assert len(shapes) >= 60
    few = rng.permutation(list(shapes))[:59].tolist()
    return pairs, [(), *(shapes[rows, tokens] for rows, tokens in few)]


@pytest.mark.parametrize("kind", ["qwen3", "mistral", "gemma3_text", "gpt_oss"])
def test_sixty_ordinary_shapes_share_one_graph_for_each_kind_of_layer(kind: str, compile_with: Use) -> None:
    counter = compile_with(no_kernel)
    form = RowForm(merged=kind != "gpt_oss", block=BLOCK)
    pairs, batches = ordinary_batches(form.merged)
    logprobs = SequenceLogProbs(with_flex(kind))
    blocks = set()
    for batch in batches:
        rows = collate(pairs, batch, form)
        blocks.add(rows.input_ids.shape[1] // BLOCK)
        logprobs(rows)
    assert len(batches) == 60 and len(blocks) > 20
    assert counter.frame_count == GRAPHS[kind] <= flex.MAX_GRAPHS


def test_layers_of_which_a_part_is_frozen_share_at_most_two_graphs_of_each_kind(compile_with: Use) -> None:
    counter = compile_with(no_kernel)
    model = with_flex("gemma3_text")
    for name, parameter in model.named_parameters():
        parameter.requires_grad = "v_proj" in name
    logprobs, pairs = SequenceLogProbs(model), random_pairs(80, shared_prompt=140)
    for size in (2, 20, 30, 60, 80):
        logprobs(collate(pairs, (tuple(range(size)),), JOINED))
    assert counter.frame_count <= 4


def refuse_to_build(_graph: Any, _inputs: Any) -> None:
    raise NoTritonConfigsError("No valid triton configs. OutOfResources: out of resource: shared memory")


def refuse_to_load(_graph: Any, _inputs: Any) -> Callable[..., None]:
    def kernel(*_inputs: Any) -> None:
        raise RuntimeError("No valid triton configs. OutOfResources: out of resource: shared memory")

    return kernel


def refuse_to_start(_graph: Any, _inputs: Any) -> Callable[..., None]:
    def kernel(*_inputs: Any) -> None:
        raise OutOfResources(270336, 232448, "shared memory")

    return kernel


def test_too_many_graphs_end_in_plain_rows_with_the_right_logprobs(
    compile_with: Use, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    compile_with(no_kernel)
    pairs = random_pairs(9)
    model = tiny_model("gemma3_text")
    layout = choose_layout(model.config, TrainConfig(), pairs, HERE)
    assert layout.form == JOINED and layout.kernel == flex.KERNEL and layout.fallback is None

    compile_with(no_kernel)
    monkeypatch.setattr(flex, "MAX_GRAPHS", 1)
    layout = choose_layout(model.config, TrainConfig(), pairs, HERE)
    assert layout.form == RowForm(merged=False) and layout.kernel == "sdpa"
    assert layout.fallback == "rank 0: FlexAttention needs more than 1 compiled graphs for its rows"
    assert (
        f"rows are plain, one sequence each, by sdpa, for this gemma3_text: {layout.fallback}" in caplog.text
    )
    batch = ((0, 1, 2, 3), (4, 5), (6, 7, 8))
    with torch.no_grad():
        expected = SequenceLogProbs(model)(collate(pairs, batch))
        found = SequenceLogProbs(model)(collate(pairs, batch, layout.form))
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("kernel", [refuse_to_build, refuse_to_load, refuse_to_start])
def test_a_kernel_that_does_not_fit_the_gpu_ends_in_plain_rows_or_a_refusal(
    kernel: Any, compile_with: Use, caplog: pytest.LogCaptureFixture
) -> None:
    compile_with(kernel)
    pairs, config = random_pairs(9), tiny_model("qwen3").config
    layout = choose_layout(config, TrainConfig(), pairs, HERE)
    assert not layout.form.merged and layout.kernel == "sdpa" and "shared memory" in layout.fallback
    assert layout.fallback in caplog.text
    with pytest.raises(ConfigError, match=r"out of resource: shared memory.* Set rows to auto or plain"):
        choose_layout(config, TrainConfig(rows="merged"), pairs, HERE)
    capped = tiny_model("gemma2", attn_logit_softcapping=2.0).config
    layout = choose_layout(capped, TrainConfig(rows="plain"), pairs, HERE)
    assert layout.form == RowForm(merged=False) and layout.kernel == "eager"


def test_an_error_of_ours_is_no_kernel_that_does_not_fit(
    compile_with: Use, monkeypatch: pytest.MonkeyPatch
) -> None:
    compile_with("eager")
    monkeypatch.setattr(flex, "trie_block_mask", lambda *tensors: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        choose_layout(tiny_model("qwen3").config, TrainConfig(), random_pairs(9), HERE)
    monkeypatch.setattr(flex, "trie_block_mask", lambda *tensors: torch.ones(2) @ torch.ones(3))
    with pytest.raises(RuntimeError, match="size"):
        choose_layout(tiny_model("qwen3").config, TrainConfig(), random_pairs(9), HERE)


def test_it_never_runs_without_being_compiled(compile_with: Use) -> None:
    compile_with("eager")
    logprobs, rows = SequenceLogProbs(with_flex("qwen3")), collate(random_pairs(3), ((0, 1, 2),), JOINED)
    with torch.compiler.set_stance("force_eager"), pytest.raises(EngineError, match="TORCH_COMPILE_DISABLE"):
        logprobs(rows)


def test_graphs_beyond_the_limit_are_an_error(compile_with: Use, monkeypatch: pytest.MonkeyPatch) -> None:
    compile_with("eager")
    monkeypatch.setattr(flex, "MAX_GRAPHS", 1)
    logprobs, rows = (
        SequenceLogProbs(with_flex("gemma3_text")),
        collate(random_pairs(3), ((0, 1, 2),), JOINED),
    )
    with pytest.raises(torch._dynamo.exc.FailOnRecompileLimitHit):
        logprobs(rows)


def _run_rank(reference: TrainingJob, jobs: list[TrainingJob], rank: int, port: int) -> None:
    """Rank ``rank`` of two, of which the second has room for one graph only."""
    torch.set_num_threads(1)
    logging.basicConfig(level=logging.INFO)
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "DS_ACCELERATOR": "cpu"}
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2"}
    torch_flex._validate_device = lambda *states: None
    flex.has_backward = lambda device: True
    flex.BACKEND, flex.MAX_GRAPHS = no_kernel, 8 - 7 * rank
    place = join(reference)
    compute_reference(reference, usable_pairs(reference, place), place)
    dist.barrier()  # it is written
    for job in jobs:
        pairs = usable_pairs(job, place)
        Trainer(job, pairs, read_reference(job.reference, pairs), place).train()
    dist.destroy_process_group()


def test_all_ranks_fall_back_if_one_has_to_and_train_as_with_plain_rows(tmp_path: Path) -> None:
    stage = Stage(tmp_path, settings=SETTINGS.model_copy(update={"epochs": 1}))
    tiny_model("gemma3_text", torch.float32).save_pretrained(stage.model)
    jobs = [stage.job("fallen-back"), stage.job("plain", rows="plain")]
    reference = stage.job("reference", "reference")
    for job in (reference, *jobs):
        for folder in (job.output_dir, job.scratch_dir):
            folder.mkdir(parents=True)
    port, context = free_port(), multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__, "torch._inductor.compile_fx"])  # imported once for both ranks
    ranks = [context.Process(target=_run_rank, args=(reference, jobs, rank, port)) for rank in range(2)]
    for rank in ranks:
        rank.start()
    for rank in ranks:
        rank.join()
    assert [rank.exitcode for rank in ranks] == [0, 0]
    reason = "rank 1: FlexAttention needs more than 1 compiled graphs for its rows"
    for job, fallback in ((reference, reason), (jobs[0], reason), (jobs[1], None)):
        facts = json.loads(job.layout_path.read_text())
        assert facts == {"rows": "plain", "attention": "sdpa", "fallback": fallback}
    fallen_back, plain = (timeless(stage.metrics(job)) for job in jobs)
    assert len(plain) == 6 and fallen_back == plain


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["qwen3", "gemma3_text"])
def test_inductor_compiles_one_kernel_for_each_kind_of_layer_and_all_shapes(
    kind: str, compile_with: Use
) -> None:
    counter = compile_with(torch._inductor.compile)
    pairs, batches = ordinary_batches(merged=True)
    dense = tiny_model(kind, torch.float32, **MODELS[kind])
    checked = 0
    with torch.no_grad():
        for batch in batches:
            rows = collate(pairs, batch, JOINED)
            found = SequenceLogProbs(with_flex(kind))(rows)
            if rows.tokens < 3000:  # of the others, a dense mask takes long
                expected = SequenceLogProbs(dense)(collate(pairs, batch))
                torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-3)
                checked += 1
    assert counter.frame_count == GRAPHS[kind] and checked > 10
