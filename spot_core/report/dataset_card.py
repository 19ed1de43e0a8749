"""README.md of exported pairs: what they are, where they come from, and how to load them.

A pure function of the pairs and of what made them: equal content gives equal bytes.
"""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from spot_core.config.questions import FileQuestions, HubQuestions, QuestionSource
from spot_core.config.spot import SpotConfig
from spot_core.markdown import cell, table
from spot_core.models import is_local, name_of
from spot_core.store import Artifact

_PAPER = "https://arxiv.org/abs/2603.01683"
_SAID_OF_ORACLES = ("model", "with_gold_answer", "temperature")
_COLUMNS = {
    "question_id": "hash of question and answer",
    "sample": "number of the response among those to its question, from 0",
    "question": "the question as its source has it",
    "answer": "the gold answer",
    "change_ratio": "R = 1 − |LCS(y⁻, y⁺)| / |y⁺| over token ids of the policy",
    "oracle": "who made the edit",
    "flags": "what is to be known about the edit",
    "prompt": "chat messages x, before the policy's chat template",
    "chosen": "y⁺: a minimal edit of y⁻ that is right, as one assistant message",
    "rejected": "y⁻: the policy's own response, judged wrong, as one assistant message",
    "chat_template_kwargs": "options of the chat template, the same in every row; TRL applies them",
    "prompt_token_ids": "x as the policy was asked",
    "chosen_token_ids": "y⁺ with its end-of-turn token; it shares the sampled ids of y⁻ up to the first edit",
    "rejected_token_ids": "y⁻ as it was sampled; without end-of-turn token if it was cut at the limit",
}

_CARD = """\
---
{header}
---

# Corrections of {policy}'s mistakes

{pairs} preference pairs for [Surgical Post-Training]({paper}): a response of {policy} that was judged wrong
(`rejected`), and a minimal edit of it that is right (`chosen`).

## How to load it

```python
from datasets import load_dataset

pairs = load_dataset("path/to/this/folder", split="train")
```

The rows are conversational and have an explicit prompt, as TRL's `DPOTrainer` takes them; TRL ignores the other columns.

{tokens}

## Columns

{columns}

## Where it comes from

{sources}

## What became of the failures

{status}

## Edits

{edits}
"""
_TOKENS = """\
TRL renders and tokenizes the messages itself. So its token ids may differ from those that the policy sampled, and it ends
every response with the template's end of turn and what the template writes after that (often a line break), also a
response that was cut at the token limit. """
_IDS_KEPT = "The policy's own ids are in the columns `*_token_ids`."
_IDS_LEFT_OUT = (
    "The policy's own ids are in the run's artifact, and here if the export is made with `--token-ids`."
)


def render_dataset_card(
    config: SpotConfig, *, run_name: str, rectified: Artifact, schema: pa.Schema, files: str
) -> str:
    """Returns the card as Markdown, with the YAML header by which `datasets` finds the files.

    Args:
        config: configuration of the run.
        run_name: its name.
        rectified: the artifact that the pairs were taken from.
        schema: columns of the exported rows.
        files: pattern of the exported files.
    """
    figures = rectified.statistics
    by_oracle, flags = _counts(rectified)
    own_ids = "prompt_token_ids" in schema.names
    ratios = (figures["change_ratio"] or {}).items()
    edits = [(f"change ratio R, {name}", value) for name, value in ratios if isinstance(value, float)]
    edits += [(f"edits by {oracle}", count) for oracle, count in _counted(by_oracle)]
    edits += [(f"flag {flag}", count) for flag, count in _counted(flags)]
    return _CARD.format(
        header=_header(config, figures["pairs"], schema, files),
        policy=cell(name_of(config.model)),
        pairs=f"{figures['pairs']:,}",
        paper=_PAPER,
        tokens=_TOKENS + (_IDS_KEPT if own_ids else _IDS_LEFT_OUT),
        columns=table(["column", "meaning"], ((name, _COLUMNS[name]) for name in schema.names)),
        sources=table(["source", ""], _sources(config, run_name, rectified)),
        status=table(["status", "failures"], _counted(Counter(figures["status"]))),
        edits=table(["over pairs", ""], edits),
    )


def _header(config: SpotConfig, pairs: int, schema: pa.Schema, files: str) -> str:
    from datasets import Features  # noqa: PLC0415 - half a second
    from datasets.info import DatasetInfo, DatasetInfosDict  # noqa: PLC0415
    from huggingface_hub import DatasetCardData  # noqa: PLC0415

    card = DatasetCardData(
        pretty_name=f"Corrections of {name_of(config.model)}'s mistakes",
        task_categories=["text-generation"],
        tags=["preference", "dpo", "trl", "spot", "surgical-post-training"],
        size_categories=[_size(pairs)],
        configs=[{"config_name": "default", "data_files": [{"split": "train", "path": files}]}],
    )
    if not is_local(config.model.path):
        card["base_model"] = config.model.path
    info = DatasetInfo(features=Features.from_arrow_schema(schema))
    DatasetInfosDict({"default": info}).to_dataset_card_data(card)
    return card.to_yaml()


def _size(pairs: int) -> str:
    """The hub's word for a number of rows."""
    if pairs < 1_000:
        return "n<1K"
    limits = ["1K", "10K", "100K", "1M", "10M"]
    low = min(len(str(pairs)) - len("1000"), len(limits) - 2)
    return f"{limits[low]}<n<{limits[low + 1]}"


def _counted(counts: Counter[str]) -> list[tuple[str, str]]:
    return [(name, f"{count:,}") for name, count in counts.most_common()]


def _counts(rectified: Artifact) -> tuple[Counter[str], Counter[str]]:
    """How many accepted pairs there are by Oracle and by flag."""
    rows = rectified.table(columns=["status", "oracle", "flags"])
    rows = rows.filter(pc.equal(rows["status"], "accepted"))
    return Counter(rows["oracle"].to_pylist()), Counter(pc.list_flatten(rows["flags"]).to_pylist())


def _sources(config: SpotConfig, run_name: str, rectified: Artifact) -> Iterator[tuple[str, Any]]:
    yield "run", run_name
    yield "policy", name_of(config.model)
    yield "questions", _title(config.questions)
    yield "Oracle", _oracle(config.rectify.oracle.model_dump(mode="json"))
    yield "largest change ratio (γ)", config.rectify.gamma
    yield "answers checked by", config.filter.kind
    yield "pairs (key, generation)", f"{rectified.key}, {rectified.generation}"
    yield "pairs (content digest)", rectified.digest
    for name, digest in rectified.manifest.inputs.items():
        yield f"made from {name} (content digest)", digest


def _title(source: QuestionSource) -> str:
    """The source's name, without the folders of this machine."""
    if isinstance(source, FileQuestions):
        return Path(source.path).name
    if isinstance(source, HubQuestions) and is_local(source.name):
        return Path(source.name).name
    return source.name


def _oracle(settings: dict[str, Any]) -> str:
    """Kind and deciding settings of an Oracle; of a chain, those of each. Addresses and paths stay out."""
    if "oracles" in settings:
        return " → ".join(map(_oracle, settings["oracles"]))
    known = {name: settings[name] for name in _SAID_OF_ORACLES if settings.get(name) is not None}
    if isinstance(known.get("model"), dict):
        known["model"] = Path(known["model"]["path"]).name
    return ", ".join([settings["kind"], *(f"{name} = {value}" for name, value in known.items())])
