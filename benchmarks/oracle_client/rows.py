"""Failures to rectify, and what the endpoint says to each of them."""

import re
from random import Random
from typing import Any

from spot_core.oracles.base import Failure
from spot_core.oracles.prompting import END, START

_STEPS = 14
_CHARACTERS = 4  # of a token; which ones they are plays no role here
_NUMBER = re.compile(r"Problem (\d+):")


def failure(number: int) -> Failure:
    """A solution of about 1,500 characters that slips in its last step."""
    question, right, answer = _solved(number)
    wrong = right.replace(answer, str(int(answer) + 10))
    return Failure(
        question_id=f"{number:016x}",
        sample=0,
        question=question,
        answer=answer,
        response=wrong,
        response_token_ids=range(len(wrong) // _CHARACTERS),
        prompt_token_ids=range(len(question) // _CHARACTERS),
        finish_reason="stop",
    )


def edited(body: dict[str, Any]) -> str:
    """The endpoint's reply: the solution without the slip, between the markers of our prompt."""
    found = _NUMBER.search(str(body["messages"]))
    assert found is not None, "the prompt holds the question"
    return f"{START}\n{_solved(int(found[1]))[1]}\n{END}"


def _solved(number: int) -> tuple[str, str, str]:
    """Question, right solution and answer number so-and-so."""
    rng = Random(number)
    total = 1_000_000 + 100 * number
    question = (
        f"Problem {number}: a shop begins the day with {total} beads and sells some of them {_STEPS} times. "
    )
    lines = []
    for step in range(1, _STEPS + 1):
        sold = rng.randrange(11, 99)
        question += f"Sale {step} is of {sold} beads. "
        lines.append(
            f"Step {step}. Before this sale there are {total} beads, and {sold} of them are sold to one customer."
        )
        lines.append(f"So what is left is {total} - {sold} = {total - sold} beads.")
        total -= sold
    lines.append(f"Therefore, the final answer is \\boxed{{{total}}}.")
    return question + "How many beads are left?", "\n".join(lines), str(total)
