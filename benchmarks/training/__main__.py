"""Pairs per second and peak memory of our training beside TRL's `DPOTrainer`, in turn, in one run.

Both sides load the same model, compute the reference log-probs, and make the same optimizer steps on the same
pairs in the same order, in fp32 on the CPU, with `bco_pair` = `spot_bce`. Measured are the reference pass and the
training, from the moment the libraries are imported; ours also writes its checkpoint. The last line is JSON.
"""

import dataclasses
import json
import os
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer
from datasets import Dataset

from benchmarks.training.measure import run_measured
from benchmarks.training.scenarios import SCENARIOS, Scenario
from spot_core.training.job import TrainingJob
from spot_core.training.pairs import read_pairs
from spot_core.training.preflight import resolve_ranks

_CORES = len(os.sched_getaffinity(0))


def run_ours(scenario: Scenario, folder: Path) -> dict[str, Any]:
    """One run of ours; its report, with ``peak_bytes``."""
    folder.mkdir()
    job = TrainingJob(
        mode="train",
        model_path=scenario.model,
        pairs=(scenario.pairs,),
        reference=(folder / "out" / "reference.parquet",),
        settings=resolve_ranks(scenario.train, ()),
        output_dir=folder / "out",
        scratch_dir=folder / "scratch",
        backend="gloo",
    )
    for path in (job.output_dir, job.scratch_dir):
        path.mkdir()
    job.job_path.write_text(job.model_dump_json())
    job.metrics_path.touch()
    arguments = [str(job.job_path), str(folder / "report.json")]
    return _run(
        _torchrun(job.settings.ranks), "benchmarks.training.ours", arguments, job.settings.ranks, folder
    )


def run_trl(scenario: Scenario, order: list[Any], folder: Path, *, batch: int, ranks: int) -> dict[str, Any]:
    """One run of TRL; its report, with ``peak_bytes``."""
    folder.mkdir()
    pairs = {pair.key: pair for pair in read_pairs([scenario.pairs])}
    rows = [
        {"prompt_ids": pair.prompt, "chosen_ids": pair.chosen, "rejected_ids": pair.rejected}
        for pair in (pairs[question_id, sample] for question_id, sample in order)
    ]
    # On disk, so that all ranks find the reference log-probs which TRL's first rank caches beside it.
    Dataset.from_list(rows).save_to_disk(folder / "dataset")
    spec = {
        "model": str(scenario.model),
        "dataset": str(folder / "dataset"),
        "train": scenario.train.model_dump(),
        "batch": batch,
        "ranks": ranks,
        "output": str(folder / "out"),
    }
    (folder / "spec.json").write_text(json.dumps(spec))
    arguments = [str(folder / "spec.json"), str(folder / "report.json")]
    launcher = _torchrun(ranks) if ranks > 1 else [sys.executable]
    return _run(launcher, "benchmarks.training.trl_dpo", arguments, ranks, folder)


def _torchrun(ranks: int) -> list[str]:
    return [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(ranks)]


def _run(launcher: list[str], module: str, arguments: list[str], ranks: int, folder: Path) -> dict[str, Any]:
    env = {
        **os.environ,
        "OMP_NUM_THREADS": str(max(1, _CORES // ranks)),
        "DS_ACCELERATOR": "cpu",
        "HF_HUB_OFFLINE": "1",
    }
    peak = run_measured([*launcher, "-m", module, *arguments], env=env, log_path=folder / "log")
    return {**json.loads((folder / "report.json").read_text()), "peak_bytes": peak}


def compare(scenario: Scenario, folder: Path, repeats: int, trl_ranks: int) -> dict[str, Any]:
    """Both sides in turn, ``repeats`` times; ratios of medians."""
    ours: list[dict[str, Any]] = []
    theirs: list[dict[str, Any]] = []
    for number in range(repeats):
        ours.append(run_ours(scenario, folder / f"ours-{number}"))
        print(f"{scenario.name} ours {number}: {_shown(ours[-1])}", flush=True)
        order = ours[0]["order"]
        theirs.append(
            run_trl(scenario, order, folder / f"trl-{number}", batch=scenario.trl_batch, ranks=trl_ranks)
        )
        print(f"{scenario.name} TRL  {number}: {_shown(theirs[-1])}", flush=True)

    def median(runs: list[dict[str, Any]], *names: str) -> float:
        return statistics.median(sum(run[name] for name in names) for run in runs)

    whole = ("reference_seconds", "train_seconds")
    steps = list(zip(ours[0]["losses"], theirs[0]["losses"], strict=True))
    return {
        "pairs_per_second_ratio": median(theirs, *whole) / median(ours, *whole),
        "peak_memory_ratio": median(ours, "peak_bytes") / median(theirs, "peak_bytes"),
        "max_loss_difference": max(abs(a - b) for a, b in steps),
        "tokens_saved": ours[0]["tokens_saved"],
        # Another objective on the same pairs reuses our reference; TRL is granted its cache of it as well.
        "second_objective_ratio": median(theirs, "train_seconds") / median(ours, "train_seconds"),
        "pairs": len(order),
        "steps": len(steps),
        "ours_pairs_per_second": len(order) / median(ours, *whole),
        "trl_pairs_per_second": len(order) / median(theirs, *whole),
        "ours_peak_gib": median(ours, "peak_bytes") / 2**30,
        "trl_peak_gib": median(theirs, "peak_bytes") / 2**30,
    }


def _shown(report: dict[str, Any]) -> str:
    seconds = f"reference {report['reference_seconds']:.1f} s, train {report['train_seconds']:.1f} s"
    seconds += f" ({report['cpu_seconds']:.1f} s of CPU on rank 0)"
    return f"{seconds}, peak {report['peak_bytes'] / 2**30:.2f} GiB, last loss {report['losses'][-1]:.6f}"


def main(
    *,
    scenario: Annotated[list[str], typer.Option(help="Which, of demo, few_shot, long.")] = list(SCENARIOS),  # noqa: B006
    repeats: Annotated[int, typer.Option(help="Runs of each side; medians are compared.")] = 3,
    pairs: Annotated[
        int | None, typer.Option(help="Pairs of a scenario; unset: as many as take minutes.")
    ] = None,
    trl_batch: Annotated[int | None, typer.Option(help="Pairs per forward pass of TRL.")] = None,
    trl_ranks: Annotated[int, typer.Option(help="Processes of TRL (DDP).")] = 1,
    store: Annotated[str, typer.Option(help="Where the pipeline's artifacts are, and go.")] = "artifacts",
) -> None:
    """Compares our training with TRL's."""
    results = {}
    with tempfile.TemporaryDirectory(prefix="spot-benchmark-") as temporary:
        for name in scenario:
            folder = Path(temporary) / name
            folder.mkdir()
            made = SCENARIOS[name](folder, store, pairs)
            if trl_batch is not None:
                made = dataclasses.replace(made, trl_batch=trl_batch)
            results[name] = compare(made, folder, repeats, trl_ranks)
    print(json.dumps(results))


if __name__ == "__main__":
    typer.run(main)
