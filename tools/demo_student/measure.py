"""How well a student does on evaluation questions, by plain transformers generation."""

import re
from collections.abc import Sequence

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from spot_core.demo.families import CHECKER_KIND, generate

COUNTS = {"demo-chains": 500, "demo-format": 300, "demo-strings": 300}
"""Questions per family: a standard error of about 2 points on chains."""
QUESTION_SEED = 0
TEMPERATURE, TOP_P = 0.7, 0.8
MAX_NEW_TOKENS = 96

_FINAL_NUMBER = re.compile(r"\\boxed\{(-?\d+)\}")


def measure_student(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, *, sample: bool, seed: int = 0
) -> dict[str, float]:
    """Share of right responses per family, in 0..1, greedy or sampled at the paper's temperature and top-p."""
    accuracies = {}
    for name, count in COUNTS.items():
        rows = generate(name, count=count, seed=QUESTION_SEED, split="evaluation")
        responses = respond(model, tokenizer, [row["question"] for row in rows], sample=sample, seed=seed)
        right = [
            is_right(CHECKER_KIND[name], row["answer"], response)
            for row, response in zip(rows, responses, strict=True)
        ]
        accuracies[name] = sum(right) / count
    return accuracies


@torch.inference_mode()
def respond(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    questions: Sequence[str],
    *,
    sample: bool,
    seed: int = 0,
) -> list[str]:
    """One response per question, all in one batch padded on the left."""
    prompts = [
        tokenizer.apply_chat_template(
            [{"role": "user", "content": question}], add_generation_prompt=True, tokenize=False
        )
        for question in questions
    ]
    batch = tokenizer(prompts, return_tensors="pt", padding=True, return_token_type_ids=False)
    sampling = {"do_sample": True, "temperature": TEMPERATURE, "top_p": TOP_P, "top_k": 0}
    torch.manual_seed(seed)
    output = model.generate(
        **batch, max_new_tokens=MAX_NEW_TOKENS, **(sampling if sample else {"do_sample": False})
    )
    new_tokens = output[:, batch["input_ids"].shape[1] :]
    return [text.strip() for text in tokenizer.batch_decode(new_tokens, skip_special_tokens=True)]


def is_right(kind: str, answer: str, response: str) -> bool:
    """Whether a stripped response answers its question. Numbers are compared in their boxed form only."""
    if kind == "math":
        found = _FINAL_NUMBER.findall(response)
        return bool(found) and found[-1] == answer
    if kind == "pattern":
        return re.fullmatch(answer, response, re.DOTALL) is not None
    assert kind == "exact", kind
    return response == answer
