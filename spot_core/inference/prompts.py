"""Renders questions with the policy's own chat template, straight to token ids, and says how its turns end."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from spot_core.config.model import ModelConfig, PromptConfig
from spot_core.errors import InputError
from spot_core.models import load_tokenizer

log = logging.getLogger(__name__)

_RESPONSE = "The answer is 4."
"""Stands for a response where the chat template is looked at."""


@dataclass(frozen=True)
class TurnEnd:
    """The tokens that end a turn of the policy.

    Attributes:
        ids: those at which sampling ends, as vLLM decides it: the tokenizer's end-of-sequence token and those of
            generation_config.json.
        written: the one of them that the chat template puts behind a response; a response that did not end by itself
            is continued with it.
    """

    ids: frozenset[int]
    written: int

    def of(self, response_token_ids: Sequence[int]) -> int | None:
        """The token that ended a response; None if it was cut off, or tokenized from text."""
        last = response_token_ids[-1] if response_token_ids else None
        return last if last in self.ids else None


class PromptRenderer:
    """Turns a question into the token ids that the policy is asked with and trained on.

    Raises:
        InputError: the model's tokenizer has no chat template.
    """

    def __init__(self, model_path: Path, model: ModelConfig, prompt: PromptConfig) -> None:
        self._model_path, self._model = model_path, model
        self.tokenizer = load_tokenizer(model_path, trust_remote_code=model.trust_remote_code)
        self._prompt = prompt

    def text(self, question: str) -> str:
        """The filled prompt as text, for people to read."""
        return self._render(self._prompt.messages(question), tokenize=False)

    def token_ids(self, question: str) -> list[int]:
        """The filled prompt as token ids."""
        return self._render(self._prompt.messages(question), tokenize=True)

    @cached_property
    def turn_end(self) -> TurnEnd:
        """How the policy ends its turns.

        Raises:
            InputError: the chat template refuses the prompt.
        """
        ids = {self.tokenizer.eos_token_id, *self._generation_ends()}
        messages = [*self._prompt.messages("What is 2 + 2?"), {"role": "assistant", "content": _RESPONSE}]
        text: str = self._render(messages, tokenize=False, add_generation_prompt=False)
        _, found, behind = text.rpartition(_RESPONSE)
        pieces = self.tokenizer(behind if found else "", add_special_tokens=False)["input_ids"]
        written = next((piece for piece in pieces if piece in ids), None)
        if written is None:
            written = self.tokenizer.eos_token_id
            log.warning(
                "the chat template of %s puts %s behind a response, where sampling does not end; responses that did not "
                "end by themselves are continued with %s",
                self._model_path.name,
                repr(behind) if behind.strip() else "nothing",
                repr(self.tokenizer.convert_ids_to_tokens(written)),
            )
        return TurnEnd(frozenset(ids), written)

    def _generation_ends(self) -> list[int]:
        """End-of-sequence tokens of generation_config.json; without that file, of config.json."""
        from transformers import AutoConfig, GenerationConfig  # noqa: PLC0415

        try:
            generation = GenerationConfig.from_pretrained(self._model_path)
        except OSError:
            trusted = self._model.trust_remote_code
            config = AutoConfig.from_pretrained(self._model_path, trust_remote_code=trusted)
            generation = GenerationConfig.from_model_config(config)
        ends = generation.eos_token_id
        return [] if ends is None else [ends] if isinstance(ends, int) else list(ends)

    def _render(
        self, messages: list[dict[str, str]], *, tokenize: bool, add_generation_prompt: bool = True
    ) -> Any:
        from jinja2 import TemplateError  # noqa: PLC0415

        try:
            return self.tokenizer.apply_chat_template(
                messages,
                tokenize=tokenize,
                add_generation_prompt=add_generation_prompt,
                return_dict=False,
                **self._model.chat_template_kwargs,
            )
        except TemplateError as error:
            raise InputError(
                f"the model's chat template refuses the prompt ({error}); does it allow a system message and "
                "few-shot turns? See `prompt.system` and `prompt.examples`"
            ) from error
