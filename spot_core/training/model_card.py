"""README.md of a trained checkpoint: what it was made from, how, and how to load it.

A pure function of what decides the weights, and of the metrics: equal content gives equal bytes.
"""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from huggingface_hub import ModelCardData

from spot_core.config.train import TrainConfig, result_settings
from spot_core.markdown import table

_PAPER = "https://arxiv.org/abs/2603.01683"
_FIGURES = ("loss", "reward_chosen", "reward_rejected", "margin", "accuracy", "kl", "delta", "grad_norm")

_CARD = """\
---
{header}
---

# {base} after Surgical Post-Training

{base}, trained on minimal corrections of its own mistakes with [SPoT]({paper}): pairs of a failed response y⁻ and its
smallest edit y⁺ that is right, under the implicit reward r = β · Σ (log π_θ − log π_ref).

## How to load it

```python
from transformers import AutoModelForCausalLM, AutoTokenizer

folder = "checkpoint"  # the folder of this file
model = AutoModelForCausalLM.from_pretrained(folder, dtype="auto"{remote})
tokenizer = AutoTokenizer.from_pretrained(folder{remote})
```

vLLM serves it with `vllm serve checkpoint`.{adapter}

## Recipe

{recipe}

## Data

{data}
{edits}
## Metrics of training

{metrics}

Rewards are means over pairs; `accuracy` is the share of pairs with r⁺ > r⁻; `kl` is in nats per token of y⁻.
"""


def render_model_card(
    settings: TrainConfig,
    *,
    base: str,
    base_on_hub: bool,
    trust_remote_code: bool,
    sources: Mapping[str, str],
    change_ratio: Mapping[str, float] | None,
    steps: Sequence[Mapping[str, Any]],
) -> str:
    """Returns the card as Markdown with a YAML header.

    Args:
        base: name of the model that was trained.
        base_on_hub: whether the name is one of the Hugging Face hub.
        sources: keys and content digests of what the checkpoint was made from, by name.
        change_ratio: statistics of R over the pairs, if known.
        steps: metrics of every optimizer step, at least one.
    """
    lora = settings.lora
    header = ModelCardData(
        base_model=base if base_on_hub else None,
        library_name="transformers",
        pipeline_tag="text-generation",
        tags=["spot", "surgical-post-training", settings.objective, *(["lora"] if lora else [])],
    )
    adapter = "\n\nThe LoRA adapter alone, in PEFT's format, is in the folder `adapter` beside this one."
    edits = (
        "" if change_ratio is None else f"\n{table(['change ratio R', 'over pairs'], change_ratio.items())}\n"
    )
    return _CARD.format(
        header=header.to_yaml(),
        base=base,
        paper=_PAPER,
        remote=", trust_remote_code=True" if trust_remote_code else "",
        adapter=adapter if lora and lora.save_adapter else "",
        recipe=table(["setting", "value"], _settings(settings)),
        data=table(["source", "key or content digest"], sources.items()),
        edits=edits,
        metrics=_metrics(steps),
    )


def _settings(settings: TrainConfig) -> list[tuple[str, Any]]:
    """Every setting that decides the weights; those of LoRA one by one."""
    rows: list[tuple[str, Any]] = []
    for name, value in result_settings(settings).items():
        if isinstance(value, dict):
            rows += [(f"{name}.{inner}", _plain(detail)) for inner, detail in value.items()]
        else:
            rows.append((name, _plain(value)))
    return rows


def _plain(value: Any) -> Any:
    return ", ".join(map(str, value)) if isinstance(value, list) else value


def _metrics(steps: Sequence[Mapping[str, Any]]) -> str:
    last = steps[-1]
    # ``epoch`` counts epochs done after the step: within the last one it is above all but the last whole number.
    epoch = [step for step in steps if step["epoch"] > last["epoch"] - 1 + 1e-9]
    known = [name for name in _FIGURES if last.get(name) is not None]
    rows = [
        (name, last[name], fmean([step[name] for step in epoch], [step["pairs"] for step in epoch]))
        for name in known
    ]
    rows += [("pairs", last["pairs"], sum(step["pairs"] for step in epoch))]
    return f"{len(steps)} optimizer steps.\n\n" + table(["figure", "last step", "last epoch"], rows)
