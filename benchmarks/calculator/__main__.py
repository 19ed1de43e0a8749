r"""Measures the calculator Oracle on real responses and on slips that are put into right ones:  python -m benchmarks.calculator

Real: the labelled responses of GSM8K and MATH, and GSM8K's reference solutions. A wrong one counts as repaired if the
proposal's answer is the gold answer; of the right ones none may be altered. Most of these wrong responses come from
models that calculated with a tool: they fail in what they calculate, and hardly ever in how.

Injected: right solutions are written in the styles of several models with a wrong result in one step (or two), carried
on through all that follows by a program that shares nothing with the Oracle. A proposal restores the right text, up to
the form of its numbers, or it made something else of it. The last line is JSON with all figures.
"""

import json
import random
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from benchmarks.calculator.slips import draw_slip
from benchmarks.calculator.solutions import Solution, UnusableError, number_of, numbers_in, read_solution
from benchmarks.calculator.styles import ANSWERS, STEPS, write
from benchmarks.shared_data import shared_rows
from spot_core.change_ratio import change_ratio
from spot_core.checker import CheckItem, check_many
from spot_core.demo import STUDENT_PATH
from spot_core.oracles.arithmetic.carry import NothingWrongError, corrected
from spot_core.oracles.arithmetic.finding import find_equations
from spot_core.oracles.arithmetic.judging import Verdict, judge_all
from spot_core.oracles.arithmetic.rewriting import CannotCarryError

KINDS: dict[str, dict[str, Any]] = {
    "one slip": {},
    "two slips": {"slips": 2},
    "one slip, rounded": {"rounds": True},
}


@dataclass(frozen=True)
class Response:
    """One response with the question and the gold answer."""

    id: str
    question: str
    gold: str
    text: str
    right: bool


def real_responses() -> list[Response]:
    """The labelled responses; those whose label is known to be wrong are left out."""
    return [
        Response(row["id"], row["question"], row["answer"], row["response"], row["is_correct"])
        for name in ("gsm8k_model_solutions_400", "math_model_solutions")
        for row in shared_rows(name)
        if not row.get("label_error")
    ]


def reference_solutions() -> list[Response]:
    """GSM8K's own solutions, all of them right."""
    questions = {row["id"]: row for row in shared_rows("gsm8k_train_500")}
    return [
        Response(row["id"], question["question"], question["answer"], row["solution"], right=True)
        for row in shared_rows("gsm8k_train_500_solutions")
        for question in [questions[row["id"]]]
    ]


def propose(question: str, response: str) -> str | None:
    """The calculator's proposal; None if it makes none."""
    try:
        return corrected(response, question)
    except (NothingWrongError, CannotCarryError):
        return None


def is_slip(response: Response) -> bool:
    """Whether one of the steps that can be read is wrong."""
    judgements = judge_all(find_equations(response.text), response.text, response.question)
    return any(judgement.verdict is Verdict.FALSE for judgement in judgements)


def on_real_responses(responses: list[Response], *, show: bool) -> dict[str, Any]:
    """Counts of wrong responses repaired and of right ones altered."""
    from tokenizers import Tokenizer  # noqa: PLC0415

    tokenizer = Tokenizer.from_file(str(STUDENT_PATH / "tokenizer.json"))
    wrong = [response for response in responses if not response.right]
    proposals = {r.id: text for r in responses if (text := propose(r.question, r.text)) is not None}
    edited = [response for response in wrong if response.id in proposals]
    verdicts = check_many([CheckItem(proposals[r.id], r.gold) for r in edited], workers=1)
    repaired = [r for r, verdict in zip(edited, verdicts, strict=True) if verdict.verdict == "correct"]
    ratios = [
        change_ratio(*(tokenizer.encode(text).ids for text in (response.text, proposals[response.id])))
        for response in edited
    ]
    if show:
        for response in edited:
            print(f"\n{response.id} (gold {response.gold})\n- {response.text}\n+ {proposals[response.id]}")
    return {
        "wrong_responses": len(wrong),
        "with_a_wrong_step": sum(map(is_slip, wrong)),
        "proposals": len(edited),
        "repaired": len(repaired),
        "median_change_ratio": round(statistics.median(ratios), 3) if ratios else None,
        "right_responses": len(responses) - len(wrong),
        "altered_right_responses": [r.id for r in responses if r.right and r.id in proposals],
    }


def usable_solutions(responses: list[Response]) -> Iterator[tuple[Solution, str]]:
    """The right responses that can be bound to their annotations, with their questions."""
    for response in responses:
        if response.right:
            try:
                yield read_solution(response.text, response.question), response.question
            except UnusableError:
                continue


def same_numbers(left: str, right: str) -> bool:
    """Whether two texts differ at most in how their numbers are written (`1,250` and `1250.00`)."""
    texts, values = [], []
    for text in (left, right):
        numbers = numbers_in(text)
        values.append([number_of(match.group()) for match in numbers])
        pieces, position = [], 0
        for match in numbers:
            pieces.append(text[position : match.start()])
            position = match.end()
        texts.append([*pieces, text[position:]])
    return texts[0] == texts[1] and values[0] == values[1]


def on_injected_slips(
    solutions: list[tuple[Solution, str]], seed: int, *, show: bool
) -> tuple[dict[str, Counter[str]], dict[str, Counter[str]], int]:
    """Counts by style and by kind of slip, and how many right texts were altered."""
    rng = random.Random(seed)
    by_style: dict[str, Counter[str]] = defaultdict(Counter)
    by_kind: dict[str, Counter[str]] = defaultdict(Counter)
    altered = 0
    for solution, question in solutions:
        for style in STEPS:
            answer = rng.choice(ANSWERS)
            right = write(solution, None, style, answer)
            altered += propose(question, right) is not None
            kind = rng.choice(list(KINDS))
            slip = draw_slip(solution, rng, **KINDS[kind])
            if slip is None:
                continue
            wrong = write(solution, slip.values, style, answer)
            proposal = propose(question, wrong)
            outcome = "left" if proposal is None else "other"
            if proposal is not None and same_numbers(proposal, right):
                outcome = "restored"
            if outcome == "other" and show:
                print(f"\n{question}\n= {right}\n- {wrong}\n+ {proposal}")
            by_style[style][outcome] += 1
            by_kind[kind][outcome] += 1
    return by_style, by_kind, altered


def _table(title: str, counts: dict[str, Counter[str]]) -> Table:
    table = Table(title=title)
    for column in ("", "restored", "left alone", "made something else", "share restored"):
        table.add_column(column, justify="left" if not column else "right")
    for name, count in {**counts, "all": sum(counts.values(), Counter())}.items():
        figures = [count[outcome] for outcome in ("restored", "left", "other")]
        table.add_row(name, *map(str, figures), f"{count['restored'] / max(1, count.total()):.1%}")
    return table


def main(
    *,
    seed: Annotated[int, typer.Option(help="Of the slips.")] = 0,
    show: Annotated[
        bool, typer.Option(help="Print every edit of a real response, and every wrong restoration.")
    ] = False,
) -> None:
    """Measures the calculator Oracle."""
    responses, references = real_responses(), reference_solutions()
    real = on_real_responses([*responses, *references], show=show)
    gsm8k = on_real_responses([r for r in responses if r.id.startswith("gsm8k")], show=False)
    for name, value in real.items():
        print(f"{name.replace('_', ' '):>26}: {value if not isinstance(value, list) else len(value)}")
    solutions = list(usable_solutions([*responses, *references]))
    by_style, by_kind, altered = on_injected_slips(solutions, seed, show=show)
    console = Console(width=110)
    console.print(_table("slips put into right solutions, by style", by_style))
    console.print(_table("by kind of slip", by_kind))
    total = sum(by_style.values(), Counter())
    print(
        json.dumps(
            {
                "gsm8k": gsm8k,
                "all_real": real,
                "injected": {
                    "solutions": len(solutions),
                    "slips": total.total(),
                    "restored": total["restored"],
                    "left": total["left"],
                    "made_something_else": total["other"],
                    "altered_right_texts": altered,
                },
            }
        )
    )


if __name__ == "__main__":
    typer.run(main)
