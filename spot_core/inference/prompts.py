"""Renders questions with the policy's own chat template, straight to token ids."""

from pathlib import Path
from typing import Any

from spot_core.config.model import ModelConfig, PromptConfig
from spot_core.errors import InputError
from spot_core.models import load_tokenizer


class PromptRenderer:
    """Turns a question into the token ids that the policy is asked with and trained on.

    Raises:
        InputError: the model's tokenizer has no chat template.
    """

    def __init__(self, model_path: Path, model: ModelConfig, prompt: PromptConfig) -> None:
        self.tokenizer = load_tokenizer(model_path, trust_remote_code=model.trust_remote_code)
        self._prompt = prompt
        self._options = model.chat_template_kwargs

    def text(self, question: str) -> str:
        """The filled prompt as text, for people to read."""
        return self._render(question, tokenize=False)

    def token_ids(self, question: str) -> list[int]:
        """The filled prompt as token ids."""
        return self._render(question, tokenize=True)

    def _render(self, question: str, *, tokenize: bool) -> Any:
        from jinja2 import TemplateError  # noqa: PLC0415

        try:
            return self.tokenizer.apply_chat_template(
                self._prompt.messages(question),
                tokenize=tokenize,
                add_generation_prompt=True,
                return_dict=False,
                **self._options,
            )
        except TemplateError as error:
            raise InputError(
                f"the model's chat template refuses the prompt ({error}); does it allow a system message and "
                "few-shot turns? See `prompt.system` and `prompt.examples`"
            ) from error
