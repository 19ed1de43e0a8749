"""What a model is asked, and how the text of its reply is read: prompt templates, markers, strict parsing."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Self

from spot_core.config.oracle import ModelOracleConfig
from spot_core.errors import ConfigError
from spot_core.oracles.base import Failure

START = "<<<RECTIFIED>>>"
END = "<<<END OF RECTIFIED>>>"
_MARKER_LIKE = re.compile(r"<<<\s*/?\s*(?:END OF |END_OF_|END )?RECTIFIED\s*>>>", re.IGNORECASE)
_THINKING = re.compile(r"\A\s*<think>.*?</think>", re.DOTALL)
_BOX = re.compile(r"\\f?boxed\b")


class UnparseableReplyError(ValueError):
    """A reply that does not hold exactly one repaired solution between the markers."""


@dataclass(frozen=True)
class Prompt:
    """The two templates of an Oracle: for the first attempt, and what later ones add."""

    first: Template
    again: Template
    with_gold_answer: bool

    @classmethod
    def of(cls, config: ModelOracleConfig) -> Self:
        """The templates that a configuration names, or those of this package.

        Raises:
            ConfigError: a file is missing, or lacks a placeholder or has one that nothing is known for.
        """
        gold = config.with_gold_answer
        return cls(
            first=_template(
                config.prompt_file,
                "with_answer.txt" if gold else "without_answer.txt",
                setting="prompt_file",
                needs={"question", "response", "start", "end"} | ({"answer"} if gold else set()),
            ),
            again=_template(config.again_file, "again.txt", setting="again_file", needs={"reasons"}),
            with_gold_answer=gold,
        )

    @property
    def texts(self) -> list[str]:
        """The templates as written: what enters the key of an artifact."""
        return [self.first.template, self.again.template]

    def render(self, failure: Failure, *, earlier: Sequence[str] = ()) -> str:
        """The request for a minimal edit of one failure; `earlier` says why edits before were not accepted."""
        values = {"question": failure.question, "response": failure.response, "start": START, "end": END}
        if self.with_gold_answer:
            values["answer"] = failure.answer
        prompt = self.first.substitute(values)
        if not earlier:
            return prompt
        reasons = "\n".join(f"{number}. {reason}" for number, reason in enumerate(earlier, start=1))
        return prompt + self.again.substitute(reasons=reasons)


def _template(path: Path | None, ours: str, *, setting: str, needs: set[str]) -> Template:
    if path is None:
        return Template(files("spot_core.oracles.prompts").joinpath(ours).read_text(encoding="utf-8"))
    where = f"{setting} = {str(path)!r}"
    try:
        template = Template(path.expanduser().read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{where}: this prompt cannot be read ({error})") from error
    if not template.is_valid():
        raise ConfigError(f"{where}: a $ that begins no placeholder is written $$ there")
    has = set(template.get_identifiers())
    if missing := sorted(needs - has):
        raise ConfigError(
            f"{where}: the prompt has no ${', no $'.join(missing)}; put it where its text belongs"
        )
    if unknown := sorted(has - needs):
        known = ", ".join(f"${name}" for name in sorted(needs))
        raise ConfigError(f"{where}: nothing is known for ${', $'.join(unknown)}; known here are {known}")
    return template


def parse_reply(content: str, response: str, *, boxed: bool) -> str:
    """The solution between the markers, with the white space around it that `response` has.

    `boxed`: it must hold one final answer in \\boxed{}, or as many as `response`. A leading `<think>…</think>` block
    is not part of the reply.

    Raises:
        UnparseableReplyError: not each marker occurs once, in order, around something; or the boxes are not right.
    """
    content = _THINKING.sub("", content)
    if content.count(START) != 1 or content.count(END) != 1:
        raise UnparseableReplyError(f"the reply must contain {START} and {END} exactly once each")
    head, _, rest = content.partition(START)
    body, found, _ = rest.partition(END)
    if not found or END in head:
        raise UnparseableReplyError(f"{END} stands before {START}")
    if not body.strip():
        raise UnparseableReplyError("there is nothing between the markers")
    if _MARKER_LIKE.search(body):
        raise UnparseableReplyError("a marker is part of the solution")
    boxes, own = len(_BOX.findall(body)), len(_BOX.findall(response))
    if boxed and boxes not in {1, max(1, own)}:
        raise UnparseableReplyError(f"the solution must give one final answer in \\boxed{{}}, not {boxes}")
    return in_the_blanks_of(response, body)


def in_the_blanks_of(response: str, text: str) -> str:
    """`text` with the white space around it that `response` has: an edit begins and ends where the response does."""
    core = response.strip()
    if not core:
        return text.strip()
    before, _, after = response.partition(core)
    return before + text.strip() + after
