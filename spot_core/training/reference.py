"""``reference`` mode: log π_ref of both responses of every pair, once, with the kernels that train; and which tokens of y⁺
π_ref finds unlikely."""

import json
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch
import torch.distributed as dist
from torch import Tensor, nn
from transformers import PreTrainedModel

from spot_core.errors import EngineError, InputError
from spot_core.store.schemas import REFERENCE
from spot_core.training.attention import attention_kernel
from spot_core.training.device import Place, gather, load_config, load_policy
from spot_core.training.invariants import check_alone_and_together, choose_probes, probe, rounding_limit
from spot_core.training.job import TrainingJob, append_line
from spot_core.training.layout import choose_layout
from spot_core.training.logprobs import SequenceLogProbs
from spot_core.training.pairs import Pair
from spot_core.training.plan import plan_reference
from spot_core.training.rope import boundaries
from spot_core.training.rows import RowBatch, RowForm, collate

GAP = 10.0
"""Nats below the median of the tokens of its response: one in 22,000 of what they are."""
_SHARE = 0.5
"""Of the responses that have the token: an edit is unlikely in one place, such a token wherever it stands."""
_FEWEST = 3
"""Responses: one or two may be chance."""


@dataclass
class UnlikelyTokens:
    """What is known of the pairs that were added: in how many y⁺ each token stands, and where it is unlikely."""

    standing: Counter[int] = field(default_factory=Counter)
    found: dict[int, list[tuple[float, str, int]]] = field(default_factory=dict)
    """By token id: log-prob, question_id and sample, once a response."""

    def add(self, batch: RowBatch, by_token: Tensor, members: Sequence[Pair]) -> None:
        """Looks at the responses y⁺ of a micro-batch.

        Args:
            by_token: (edges,) log-prob of each token that is predicted.
            members: the batch's pairs, in order.
        """
        values = by_token[batch.path_edge].cpu()
        lengths = batch.path_sequence.bincount(minlength=batch.sequences).tolist()
        for pair, of_response in zip(members, values.split(lengths)[::2], strict=True):
            logprobs = of_response.tolist()
            limit = median(logprobs) - GAP
            worst: dict[int, float] = {}
            for token, logprob in zip(pair.chosen.tolist(), logprobs, strict=True):
                worst[token] = min(logprob, worst.get(token, 0.0))
            self.standing.update(worst.keys())
            for token, logprob in worst.items():
                if logprob < limit:
                    self.found.setdefault(token, []).append((logprob, pair.question_id, pair.sample))

    def merge(self, others: Sequence["UnlikelyTokens"]) -> None:
        """Adds what other ranks know."""
        for other in others:
            self.standing.update(other.standing)
            for token, places in other.found.items():
                self.found.setdefault(token, []).extend(places)

    def report(self) -> list[dict[str, Any]]:
        """Returns the tokens to be looked at: `token_id`, `pairs` (in which it is unlikely), `standing` (in which it
        stands), `median_logprob` and an example's `question_id` and `sample`; the most frequent first."""
        rows = []
        for token, places in sorted(self.found.items(), key=lambda item: (-len(item[1]), item[0])):
            if len(places) >= max(_FEWEST, _SHARE * self.standing[token]):
                _, question_id, sample = min(places)
                rows.append(
                    {
                        "token_id": token,
                        "pairs": len(places),
                        "standing": self.standing[token],
                        "median_logprob": median(logprob for logprob, _, _ in places),
                        "question_id": question_id,
                        "sample": sample,
                    }
                )
        return rows


# Nats between rows and the model's own logits that are put down to rounding: see `invariants.ROUNDING`.
_AGREEMENT = {"fp32": (1e-3, 0.0), "bf16": (5e-2, 0.4)}
_CHUNK = 256  # tokens whose logits are widened to float64 at once
_REMEDY = {
    True: "set rows to plain for this architecture",
    False: "this architecture is not supported",
}


@torch.no_grad()
def compute_reference(job: TrainingJob, pairs: Sequence[Pair], place: Place) -> None:
    """Writes ``output_dir/reference.parquet``, sorted by (question_id, sample).

    Raises:
        InputError: the model gives log-probs that are not finite, or others in rows than alone.
        EngineError: a log-prob is not finite.
    """
    layout = choose_layout(load_config(job), job.settings, pairs, place)
    if place.is_first:
        layout.record(job)
    model = load_policy(job, layout.kernel, place)
    logprobs: nn.Module = SequenceLogProbs(model)
    if job.settings.zero_stage == 3:
        from spot_core.training.zero import build_inference_engine  # noqa: PLC0415  (else DeepSpeed is not needed)

        logprobs = build_inference_engine(logprobs, job.settings, place)
    probes = [pairs[index] for index in choose_probes(pairs, boundaries(model.config))]
    alone = probe(logprobs, probes, layout.form, place.device)
    shortest = min(range(len(probes)), key=lambda index: probes[index].longest)
    ours = alone[2 * shortest : 2 * shortest + 2]
    _check_agreement(model, probes[shortest], ours, layout.form, job, place)
    finding = check_alone_and_together(logprobs, probes, alone, layout.form, job.settings, place.device)
    if place.is_first:
        finding.record(job, "alone and together")

    plan = plan_reference(layout.index, world_size=place.world_size, budget=layout.budget)
    micro_batches = plan.micro_batches[place.rank]
    rows: list[dict[str, object]] = []
    unlikely = UnlikelyTokens()
    for done, micro_batch in enumerate(micro_batches, start=1):
        members = [pairs[index] for row in micro_batch for index in row]
        batch = collate(pairs, micro_batch, layout.form).to(place.device)
        by_token = logprobs(batch, by_token=True)
        unlikely.add(batch, by_token, members)
        sums = batch.sum_paths(by_token).view(-1, 2)  # (pairs, [y⁺, y⁻])
        rows += [_row(pair, *values) for pair, values in zip(members, sums.tolist(), strict=True)]
        if place.is_first:
            progress = round(len(pairs) * done / len(micro_batches))
            append_line(job.progress_path, {"done": progress, "total": len(pairs)})
    _merge(rows, job, place)
    known = gather(place, unlikely)
    if place.is_first:
        unlikely.merge(known[1:])
        job.unlikely_path.write_text(json.dumps(unlikely.report()), encoding="utf-8")


def plain_logprob(model: torch.nn.Module, sequence: Tensor, prompt_tokens: int) -> float:
    """log π(y|x) of one sequence (tokens,) alone, from the model's own logits: the slow, obvious way."""
    response = sequence[prompt_tokens:]
    # logits that predict the response, and one that predicts what follows it
    logits = model(input_ids=sequence[None], use_cache=False, logits_to_keep=len(response) + 1).logits[0, :-1]
    by_token = [
        some.double().log_softmax(-1).gather(-1, ids[:, None]).sum().item()
        for some, ids in zip(logits.split(_CHUNK), response.split(_CHUNK), strict=True)
    ]
    return sum(by_token)


def _check_agreement(  # noqa: PLR0917
    model: PreTrainedModel, pair: Pair, ours: Sequence[Tensor], form: RowForm, job: TrainingJob, place: Place
) -> None:
    """Checks that the log-probs by token of both responses of ``pair`` are those of the model itself."""
    kernel = model.config._attn_implementation
    model.set_attn_implementation(
        attention_kernel(model.config, with_flex=False, merged=False, row_tokens=pair.longest)
    )
    for by_token, ids in zip(ours, (pair.chosen, pair.rejected), strict=True):
        sequence = torch.tensor([*pair.prompt.tolist(), *ids.tolist()], device=place.device)
        alone = plain_logprob(model, sequence, len(pair.prompt))
        if not math.isfinite(alone):
            raise InputError(
                f"model {job.model_path} gives question_id {pair.question_id}, sample {pair.sample} the log-prob "
                f"{alone}: look for NaN or infinity in its weights, or set precision to fp32"
            )
        difference = abs(float(by_token.sum()) - alone)
        # `not <=` also refuses NaN
        if not difference <= rounding_limit(_AGREEMENT[job.settings.precision], len(ids)):
            raise InputError(
                f"model {job.model_path} ({model.config.model_type}): log-probs from "
                f"{'merged' if form.merged else 'plain'} rows differ from the model's own by "
                f"{difference / len(ids):.2g} nats per token; {_REMEDY[form.merged]}"
            )
    model.set_attn_implementation(kernel)


def _row(pair: Pair, chosen: float, rejected: float) -> dict[str, object]:
    if not (-float("inf") < chosen <= 0.0 and -float("inf") < rejected <= 0.0):
        raise EngineError(
            f"question_id {pair.question_id}, sample {pair.sample}: the reference model gives log-probs "
            f"{chosen}, {rejected}; look for NaN in its weights, or set precision to fp32"
        )
    return {
        "question_id": pair.question_id,
        "sample": pair.sample,
        "chosen_logprob": chosen,
        "rejected_logprob": rejected,
        "chosen_tokens": len(pair.chosen),
        "rejected_tokens": len(pair.rejected),
    }


def _merge(rows: list[dict[str, object]], job: TrainingJob, place: Place) -> None:
    """Every rank writes its rows beside the others'; rank 0 makes one sorted file of them."""

    def shard(rank: int) -> Path:
        return job.scratch_dir / f"reference-{rank:05d}-of-{place.world_size:05d}.parquet"

    pq.write_table(pa.Table.from_pylist(rows, schema=REFERENCE), shard(place.rank))
    dist.barrier()
    if not place.is_first:
        return
    table = pa.concat_tables([pq.ParquetFile(shard(rank)).read() for rank in range(place.world_size)])
    table = table.sort_by([("question_id", "ascending"), ("sample", "ascending")])
    target = job.output_dir / "reference.parquet"
    temporary = target.with_suffix(".tmp")
    pq.write_table(table, temporary, compression="zstd")
    temporary.replace(target)
