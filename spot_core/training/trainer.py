"""``train`` mode: the optimizer steps of the plan, under DeepSpeed."""

import gc
import hashlib
import json
import logging
import math
import time
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn

from spot_core.config.train import result_settings
from spot_core.training import objectives
from spot_core.training.activations import set_checkpointing
from spot_core.training.adapters import add_adapters, merge, save_adapter
from spot_core.training.checkpoints import (
    Checkpoint,
    cut_metrics,
    find_resumable,
    mark_complete,
    refuse_foreign,
)
from spot_core.training.checks import check_first_loss, check_grad_norm, check_loss, check_memory
from spot_core.training.device import (
    DTYPES,
    Place,
    freeze_all_but_the_language_model,
    from_first,
    load_config,
    load_policy,
    peak_bytes,
)
from spot_core.training.export import export, exported_config
from spot_core.training.invariants import (
    Trained,
    check_alone_and_together,
    choose_probes,
    probe,
)
from spot_core.training.job import TrainingJob, append_line
from spot_core.training.layout import choose_layout
from spot_core.training.logprobs import SequenceLogProbs
from spot_core.training.metrics import ModelFlops, StepSums, measure_peak
from spot_core.training.pairs import Pair, Reference
from spot_core.training.plan import MicroBatch, Step, learning_rate, plan_training
from spot_core.training.preflight import GIB
from spot_core.training.rope import boundaries
from spot_core.training.rows import collate
from spot_core.training.weights import check_tensors, tensor_shapes
from spot_core.training.zero import (
    build_engine,
    build_inference_engine,
    full_weights,
    give_back,
    load_state,
    optimizer_step,
)

log = logging.getLogger(__name__)


class Trainer:
    """One rank's view of the training job."""

    def __init__(
        self, job: TrainingJob, pairs: Sequence[Pair], reference: Sequence[Reference], place: Place
    ) -> None:
        self.job, self.settings, self.place = job, job.settings, place
        self.pairs, self.reference = pairs, reference
        layout = self.layout = choose_layout(load_config(job), self.settings, pairs, place)
        self.plan = plan_training(
            layout.index,
            epochs=self.settings.epochs,
            batch_size=self.settings.batch_size,
            seed=self.settings.seed,
            world_size=place.world_size,
            budget=layout.budget,
        )
        if place.is_first:
            layout.record(job)
            self._log_plan()

        self.estimate = check_memory(job, place, self.plan, layout)
        self.peak = measure_peak(place.device, DTYPES[self.settings.precision]) if place.on_gpu else None
        model = load_policy(job, layout.kernel, place)
        freeze_all_but_the_language_model(model)
        if self.settings.lora is not None:
            add_adapters(model, self.settings.lora, self.settings.seed)
        set_checkpointing(model, self.settings.gradient_checkpointing)
        # A config that cannot be exported fails here, not after the last step.
        exported_config(model, job.model_path, DTYPES[self.settings.save_dtype])
        self.flops = ModelFlops.of(model) if place.on_gpu else None
        # Rank 0 looks: another node may still see an older state of a folder on shared storage.
        self.found = from_first(place, lambda: find_resumable(job))
        universal = self.found is not None and self.found.universal
        self.engine = build_engine(SequenceLogProbs(model), self.settings, place, universal=universal)
        self.probes = [pairs[index] for index in choose_probes(pairs, boundaries(model.config))]
        self.started = probe(self.engine, self.probes, layout.form, place.device)
        found = check_alone_and_together(
            self.engine, self.probes, self.started, layout.form, self.settings, place.device
        )
        if place.is_first:
            found.record(job, "alone and together")
        self.delta = objectives.Delta(self.settings)
        self.steps_done = 0
        self.fingerprint = _fingerprint(job, pairs, reference)

    def train(self) -> None:
        """Runs the steps that are left and writes ``output_dir/checkpoint``."""
        self._resume()
        for index in range(self.steps_done, len(self.plan)):
            started = time.perf_counter()
            sums = self._accumulate(self.plan[index]).over_ranks(self.place.device)
            check_loss(index, sums.loss, self.settings)
            if index == 0:
                first = self.plan[0].pairs
                check_first_loss(
                    sums.loss,
                    self.settings,
                    [self.pairs[i] for i in first],
                    [self.reference[i] for i in first],
                )
            rate = learning_rate(self.settings, index, len(self.plan))
            for group in self.engine.optimizer.param_groups:
                group["lr"] = rate
            grad_norm = optimizer_step(self.engine, self.settings)
            check_grad_norm(index, grad_norm, self.settings)
            self.steps_done = index + 1
            metrics_bytes = self._report(index, sums, rate, grad_norm, time.perf_counter() - started)
            self.delta.update(sums.reward_chosen + sums.reward_rejected, int(sums.pairs))
            every = self.settings.checkpoint_every_steps
            if every and self.steps_done % every == 0 and self.steps_done < len(self.plan):
                self._save(metrics_bytes)
        if self.place.is_first:
            log.info("peak memory: %.2f GiB; estimated: %s", peak_bytes(self.place) / GIB, self.estimate)
        self._export()

    def _accumulate(self, step: Step) -> StepSums:
        """Forward and backward of this rank's micro-batches; returns its sums."""
        tokens_chosen = sum(len(self.pairs[index].chosen) for index in step.pairs)
        denominator = objectives.loss_denominator(self.settings, len(step.pairs), tokens_chosen)
        sums = StepSums()
        micro_batches = step.micro_batches[self.place.rank]
        for number, micro_batch in enumerate(micro_batches, start=1):
            self.engine.set_gradient_accumulation_boundary(number == len(micro_batches))
            loss_sum = self._forward(micro_batch, sums)
            # ZeRO averages gradients over ranks; the loss is a mean over all of the step's pairs.
            self.engine.backward(loss_sum * (self.place.world_size / denominator), scale_wrt_gas=False)
        sums.loss /= denominator
        return sums

    def _forward(self, micro_batch: MicroBatch, sums: StepSums) -> torch.Tensor:
        """Adds a micro-batch to ``sums`` and returns its loss, summed over pairs, ready for backward."""
        indexes = [index for row in micro_batch for index in row]
        members = [self.pairs[index] for index in indexes]
        device = self.place.device
        reference = torch.tensor(
            [(self.reference[i].chosen_logprob, self.reference[i].rejected_logprob) for i in indexes],
            dtype=torch.float64,
            device=device,
        ).view(-1, 2)
        batch = collate(self.pairs, micro_batch, self.layout.form)
        logprobs = self.engine(batch.to(device)).view(-1, 2)  # (pairs, [y⁺, y⁻])
        logratios = logprobs - reference
        chosen, rejected = (self.settings.beta * logratios).unbind(-1)  # rewards r⁺, r⁻
        if self.settings.objective == "sft":
            tokens = torch.tensor([len(pair.chosen) for pair in members], device=device)
            losses = objectives.sft_losses(logprobs[:, 0], tokens, self.settings.sft_mean)
        else:
            losses = objectives.reward_losses(self.settings.objective, chosen, rejected, self.delta.value)
        loss_sum = losses.sum()
        with torch.no_grad():
            values = torch.stack(
                [loss_sum, chosen.sum(), rejected.sum(), (chosen > rejected).sum(), logratios[:, 1].sum()]
            )
        sums.add(
            values,
            rejected_tokens=sum(len(pair.rejected) for pair in members),
            pairs=len(members),
            tokens=sum(pair.tokens for pair in members),
            flops=self.flops.count(batch) if self.flops else 0,
        )
        return loss_sum

    def _report(self, index: int, sums: StepSums, rate: float, grad_norm: float, seconds: float) -> int:
        """Appends the step's row of metrics on rank 0; returns the file's size (0 on other ranks)."""
        if not self.place.is_first:
            return 0
        step, pairs = self.plan[index], sums.pairs
        row = {
            "step": index,
            "epoch": (index + 1) * self.settings.epochs / len(self.plan),
            "loss": sums.loss,
            "reward_chosen": sums.reward_chosen / pairs,
            "reward_rejected": sums.reward_rejected / pairs,
            "margin": (sums.reward_chosen - sums.reward_rejected) / pairs,
            "accuracy": sums.right / pairs,
            "delta": self.delta.value if self.settings.objective == "spot_bco" else None,
            "kl": sums.kl,
            "lr": rate,
            "grad_norm": grad_norm,
            "pairs": len(step.pairs),
            "tokens": int(sums.tokens),
            "tokens_per_second": sums.tokens / seconds,
            "mfu": self._utilisation(sums.flops, seconds),
        }
        size = append_line(self.job.metrics_path, row)
        append_line(self.job.progress_path, {"done": index + 1, "total": len(self.plan)})
        return size

    def _utilisation(self, flops: float, seconds: float) -> float | None:
        """Share of the GPUs' arithmetic that the step needed; None where it is not known, and on a CPU."""
        if self.peak is None or self.flops is None:
            return None
        return flops / (seconds * self.peak * self.place.world_size)

    def _resume(self) -> None:
        found = self.found
        if self.place.is_first:
            cut_metrics(self.job, found)
        if found is None:
            return
        refuse_foreign(found, self.fingerprint, self.job.state_dir)
        load_state(self.engine, self.job.state_dir / found.tag, self.settings)
        self.delta.load_state_dict(found.delta)
        self.steps_done = found.steps_done
        log.info("going on after step %d of %d", found.steps_done, len(self.plan))

    def _save(self, metrics_bytes: int) -> None:
        checkpoint = Checkpoint(
            steps_done=self.steps_done,
            world_size=self.place.world_size,
            zero_stage=self.settings.zero_stage,
            fingerprint=self.fingerprint,
            metrics_bytes=metrics_bytes,
            delta=self.delta.state_dict(),
        )
        self.engine.save_checkpoint(
            str(self.job.state_dir), tag=checkpoint.tag, save_latest=False, exclude_frozen_parameters=True
        )
        dist.barrier()  # every rank's shard is written
        if self.place.is_first:
            mark_complete(self.job.state_dir, checkpoint, self.settings.keep_checkpoints)

    def _export(self) -> None:
        model, lora = self.engine.module.model, self.settings.lora
        ended = probe(self.engine, self.probes, self.layout.form, self.place.device)
        trained = Trained.of(model, self.settings, self.started, ended)
        dtype = DTYPES[self.settings.save_dtype]
        weights = full_weights(model, self.settings, None if lora else dtype, keep=self.place.is_first)
        left_by_rounding: dict[str, float] = {}
        if self.place.is_first:
            if lora is not None:
                if lora.save_adapter:
                    save_adapter(weights, lora, self.job.base_model, self.job.output_dir / "adapter")
                weights, left_by_rounding = merge(weights, lora, dtype, DTYPES[self.settings.precision])
            export(model, weights, self.job.model_path, self.checkpoint_dir)
        left_by_rounding = from_first(self.place, lambda: left_by_rounding)
        check_tensors(self.job.model_path, tensor_shapes(self.checkpoint_dir), model)
        del model, weights
        self.close()
        self._check_checkpoint(trained, left_by_rounding)

    def close(self) -> None:
        """Gives the memory of training back."""
        if self.engine is not None:
            give_back(self.engine)
            self.engine = None
            gc.collect()
            torch.cuda.empty_cache()

    def _check_checkpoint(self, trained: Trained, left_by_rounding: dict[str, float]) -> None:
        """Loads the checkpoint, and compares it with what training ended with."""
        job = self.job.model_copy(update={"model_path": self.checkpoint_dir})
        model = load_policy(job, self.layout.kernel, self.place)
        logprobs: nn.Module = SequenceLogProbs(model)
        if self.settings.zero_stage == 3:
            logprobs = build_inference_engine(logprobs, self.settings, self.place)
        saved = probe(logprobs, self.probes, self.layout.form, self.place.device)
        finding = trained.check(model, saved, left_by_rounding, self.probes, self.settings)
        if self.place.is_first:
            finding.record(self.job, "saved and trained")

    @property
    def checkpoint_dir(self) -> Path:
        return self.job.output_dir / "checkpoint"

    def _log_plan(self) -> None:
        steps = self.plan[: math.ceil(len(self.pairs) / self.settings.batch_size)]
        rows = [row for step in steps for rank in step.micro_batches for batch in rank for row in batch]
        computed = sum(self.layout.index.trie_tokens(row) for row in rows)
        alone = sum(pair.tokens for pair in self.pairs)
        log.info(
            "%d pairs, %d steps of %d; rows %s by %s; %d tokens an epoch, %.0f %% saved by shared prefixes",
            len(self.pairs),
            len(self.plan),
            self.settings.batch_size,
            f"merged, up to {self.layout.budget.row_tokens} tokens," if self.layout.form.merged else "plain",
            self.layout.kernel,
            computed,
            100 * max(0.0, 1 - computed / alone),
        )


def _fingerprint(job: TrainingJob, pairs: Sequence[Pair], reference: Sequence[Reference]) -> str:
    """Digest of what decides the weights, beside the model, for which the reference stands: state with another digest
    is of another job."""
    digest = hashlib.sha256(json.dumps(result_settings(job.settings)).encode())
    for pair, logprobs in zip(pairs, reference, strict=True):
        digest.update(f"{pair.key} {logprobs}".encode())
        for ids in (pair.prompt, pair.rejected, pair.chosen):
            digest.update(len(ids).to_bytes(8, "little") + ids.tobytes())
    return digest.hexdigest()
