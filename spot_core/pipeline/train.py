"""Stage 4: log π_ref of every pair, then SPoT training with DeepSpeed."""

import json
import logging
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from spot_core.config.spot import SpotConfig
from spot_core.config.train import TrainConfig, result_settings
from spot_core.errors import InputError
from spot_core.inference.prompts import PromptRenderer
from spot_core.models import is_local, name_of
from spot_core.pipeline.progress import Progress, silent
from spot_core.store import Artifact, ArtifactWriter, Recipe, schemas
from spot_core.store.journal import read_plain_lines
from spot_core.training import checkpoints
from spot_core.training.job import TrainingJob
from spot_core.training.launch import launch
from spot_core.training.model_card import render_model_card
from spot_core.training.watchers import Show, require_watchers, watching

log = logging.getLogger(__name__)

REFERENCE_VERSION = 3
TRAIN_VERSION = 3
CHECKPOINT = "checkpoint"
ADAPTER = "adapter"
_PAIR_COLUMNS = ["question_id", "sample", "prompt_token_ids", "response_token_ids", "rectified_token_ids"]


def reference_recipe(train: TrainConfig, *, rectified: Artifact, model: str) -> Recipe:
    """Recipe of the reference log-probs: the model and the pairs, and in which precision they are computed."""
    return Recipe(
        stage="reference",
        settings={"precision": train.precision, "context_length": train.context_length},
        inputs={"pairs": rectified.digest, "model": model},
        code_version=REFERENCE_VERSION,
    )


def train_recipe(train: TrainConfig, *, rectified: Artifact, reference: Artifact, model: str) -> Recipe:
    """Recipe of the trained policy. Ranks, row budgets and the like do not change it."""
    return Recipe(
        stage="train",
        settings=result_settings(train),
        inputs={"pairs": rectified.digest, "reference": reference.digest, "model": model},
        code_version=TRAIN_VERSION,
    )


def write_pairs(rectified: Artifact, folder: Path, renderer: PromptRenderer) -> Path:
    """Writes the accepted pairs of a rectify artifact where the ranks read them.

    Raises:
        InputError: a pair would teach the policy to end its turn otherwise than it does.
    """
    table: pa.Table = rectified.table(columns=[*_PAIR_COLUMNS, "status"])
    accepted = table.filter(pc.equal(table["status"], "accepted")).drop_columns(["status"])
    _check_turn_ends(accepted, renderer)
    path = folder / "pairs.parquet"
    pq.write_table(accepted, path, compression="zstd")
    return path


def _check_turn_ends(pairs: pa.Table, renderer: PromptRenderer) -> None:
    """Raises InputError unless y⁺ ends in the token that ended y⁻, or in any that ends a turn if y⁻ was cut off."""
    turn_end = renderer.turn_end
    for batch in pairs.select(
        ["question_id", "sample", "response_token_ids", "rectified_token_ids"]
    ).to_batches():
        rejected, chosen = (_last_ids(batch[name]) for name in ("response_token_ids", "rectified_token_ids"))
        for row, (old, new) in enumerate(zip(rejected, chosen, strict=True)):
            wanted = {old} if old in turn_end.ids else turn_end.ids
            if new not in wanted:
                names = renderer.tokenizer.convert_ids_to_tokens([new, *sorted(wanted)])
                raise InputError(
                    f"question_id {batch['question_id'][row]}, sample {batch['sample'][row]}: the rectified response "
                    f"ends in {names[0]!r} where the sampled one ends in {' or '.join(map(repr, names[1:]))}: such pairs "
                    "teach the policy an end of turn that it never writes. Make the pairs again: refresh=['rectify']"
                )


def _last_ids(ids: pa.ListArray) -> list[int]:
    """The last token of each response; none is empty."""
    return ids.values.take(pc.subtract(ids.offsets[1:], 1)).to_pylist()


def make_reference(
    writer: ArtifactWriter,
    config: SpotConfig,
    *,
    rectified: Artifact,
    model_path: Path,
    on_progress: Progress = silent,
) -> None:
    """Computes the summed log-probs of both responses of every pair under π_ref.

    Raises:
        EngineError: a rank failed; with the end of the log.
    """
    require_watchers(config.train)  # the training that this is for would be refused
    renderer = PromptRenderer(model_path, config.model, config.prompt)
    pairs = write_pairs(rectified, writer.work, renderer)
    job = TrainingJob(
        mode="reference",
        model_path=model_path,
        trust_remote_code=config.model.trust_remote_code,
        pairs=(pairs,),
        reference=None,
        settings=config.train,
        output_dir=writer.work / "out",
        scratch_dir=writer.work / "scratch",
    )
    launch(
        job,
        log_path=writer.folder.parent / "logs" / "reference.log",
        on_progress=on_progress,
        on_wait=lambda said: on_progress(0, 0, note=said),
    )
    table = pq.read_table(job.output_dir / "reference.parquet", schema=schemas.REFERENCE)
    tokens = pc.sum(table["chosen_tokens"]).as_py() or 0
    writer.complete(
        table.to_pylist(),
        statistics={
            "pairs": table.num_rows,
            "mean_logprob_per_chosen_token": (pc.sum(table["chosen_logprob"]).as_py() or 0.0)
            / max(1, tokens),
            "layout": _read(job.layout_path),
            "invariants": _read(job.invariants_path),
            "unlikely_tokens": _unlikely_tokens(job, renderer),
        },
    )


def make_train(
    writer: ArtifactWriter,
    config: SpotConfig,
    *,
    rectified: Artifact,
    reference: Artifact,
    model_path: Path,
    run_name: str,
    on_progress: Progress = silent,
) -> None:
    """Trains the policy on the accepted pairs, going on from the last complete checkpoint if there is one.

    Raises:
        ConfigError: metrics cannot be shown where the configuration wants them.
        EngineError: a rank failed or the loss is not what it must be; with the end of the log. Checkpoints stay.
    """
    train = config.train
    require_watchers(train)
    renderer = PromptRenderer(model_path, config.model, config.prompt)
    job = TrainingJob(
        mode="train",
        model_path=model_path,
        base_model=name_of(config.model),
        trust_remote_code=config.model.trust_remote_code,
        pairs=(write_pairs(rectified, writer.work, renderer),),
        reference=tuple(reference.parts),
        settings=train,
        output_dir=writer.folder,
        scratch_dir=writer.work / "scratch",
    )
    going_on_from = checkpoints.latest(job.state_dir)
    watched = watching(
        train,
        folder=writer.folder.parent,
        generation=writer.generation,
        scratch=job.scratch_dir,
        name=run_name,
        facts={"run": run_name, "key": writer.recipe.key, **writer.recipe.inputs, **writer.recipe.settings},
        going_on_after=going_on_from.steps_done if going_on_from else 0,
    )
    with watched as show:
        follow = _Follower(show, on_progress)
        launch(
            job,
            log_path=writer.folder.parent / "logs" / "train.log",
            on_metrics=follow.on_metrics,
            on_progress=follow.on_progress,
            on_wait=lambda said: on_progress(0, 0, note=said),
        )
    steps = list(read_plain_lines(job.metrics_path))
    card = render_model_card(
        train,
        base=name_of(config.model),
        base_on_hub=not is_local(config.model.path),
        trust_remote_code=config.model.trust_remote_code,
        sources={"train": writer.recipe.key, **writer.recipe.inputs},
        change_ratio=rectified.statistics["change_ratio"],
        steps=steps,
    )
    (writer.folder / CHECKPOINT / "README.md").write_text(card, encoding="utf-8")
    rows = [{name: step.get(name) for name in schemas.TRAIN.names} for step in steps]
    last = rows[-1]
    with_adapter = train.lora is not None and train.lora.save_adapter
    writer.complete(
        rows,
        statistics={
            "objective": train.objective,
            "steps": len(rows),
            "final_loss": last["loss"],
            "reward_chosen": last["reward_chosen"],
            "reward_rejected": last["reward_rejected"],
            "tokens": sum(row["tokens"] for row in rows),
            "layout": _read(job.layout_path),
            "invariants": _read(job.invariants_path),
        },
        files=[writer.folder / name for name in (CHECKPOINT, *([ADAPTER] if with_adapter else []))],
    )


def _read(path: Path) -> dict[str, Any]:
    """What the ranks say of how they worked."""
    facts: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return facts


def _unlikely_tokens(job: TrainingJob, renderer: PromptRenderer) -> list[dict[str, Any]]:
    """Returns what `spot_core.training.reference` found, with the tokens' texts; and says it."""
    rows: list[dict[str, Any]] = json.loads(job.unlikely_path.read_text(encoding="utf-8"))
    for row in rows:
        row["token"] = renderer.tokenizer.convert_ids_to_tokens(row["token_id"])
        log.warning(
            "in %d of the %d rectified responses that have it, the token %r is far less likely under the reference model "
            "than the rest (median log-prob %.1f; e.g. question_id %s, sample %d): training would teach it. Is it how this "
            "model writes and ends its turns?",
            row["pairs"],
            row["standing"],
            row["token"],
            row["median_logprob"],
            row["question_id"],
            row["sample"],
        )
    return rows


class _Follower:
    """What `launch` reports, passed on to those who watch: every row, and a note on the last one with the progress."""

    def __init__(self, show: Show, progress: Progress) -> None:
        self._show, self._progress, self._note = show, progress, ""

    def on_metrics(self, row: dict[str, Any]) -> None:
        self._show(row)
        self._note = f"loss {row['loss']:.4f}, margin {row['margin']:+.3f}"

    def on_progress(self, done: int, total: int) -> None:
        self._progress(done, total, note=self._note)
