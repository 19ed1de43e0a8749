"""What a model is asked, and how its reply is read: prompt templates, markers, strict parsing."""

import re
from functools import cache
from importlib.resources import files
from string import Template

from spot_core.oracles.base import Failure

START = "<<<RECTIFIED>>>"
END = "<<<END OF RECTIFIED>>>"
_MARKER_LIKE = re.compile(r"<<<\s*/?\s*(?:END OF |END_OF_|END )?RECTIFIED\s*>>>", re.IGNORECASE)
_THINKING = re.compile(r"\A\s*<think>.*?</think>", re.DOTALL)


class UnparseableReplyError(ValueError):
    """A reply that does not hold exactly one repaired solution between the markers."""


@cache
def _template(name: str) -> Template:
    return Template(files("spot_core.oracles.prompts").joinpath(f"{name}.txt").read_text(encoding="utf-8"))


def rectification_prompt(failure: Failure, *, with_gold_answer: bool, feedback: str | None) -> str:
    """The request for a minimal edit of one failure; `feedback` says why the last edit was not accepted."""
    values = {"question": failure.question, "response": failure.response, "start": START, "end": END}
    if with_gold_answer:
        prompt = _template("with_answer").substitute(values, answer=failure.answer)
    else:
        prompt = _template("without_answer").substitute(values)
    return prompt + _template("again").substitute(feedback=feedback) if feedback else prompt


def parse_reply(content: str) -> str:
    """The solution between the markers, without the line breaks next to them.

    Raises UnparseableReplyError unless each marker occurs once, in order, around something. A leading
    `<think>…</think>` block is not part of the reply.
    """
    content = _THINKING.sub("", content)
    if content.count(START) != 1 or content.count(END) != 1:
        raise UnparseableReplyError(f"the reply must contain {START} and {END} exactly once each")
    head, _, rest = content.partition(START)
    body, found, _ = rest.partition(END)
    if not found or END in head:
        raise UnparseableReplyError(f"{END} stands before {START}")
    body = body.strip("\n")
    if not body.strip():
        raise UnparseableReplyError("there is nothing between the markers")
    if _MARKER_LIKE.search(body):
        raise UnparseableReplyError("a marker is part of the solution")
    return body
