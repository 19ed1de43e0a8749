"""The policy that is rolled out and trained, and the prompt it is asked with."""

from typing import Any

from pydantic import Field, field_validator

from spot_core.config.base import Section


class ModelConfig(Section):
    """The policy π_θ at its start, which is also the reference π_ref."""

    path: str
    """Folder of a Hugging Face checkpoint, a model name on the hub, or `demo-student` / `smollm2-135m-instruct`."""
    revision: str | None = None
    """Branch, tag or commit, for a model from the hub."""
    trust_remote_code: bool = False
    """Run Python code that comes with the model. Only for models whose code you have read."""
    chat_template_kwargs: dict[str, Any] = Field(default_factory=dict)
    """Passed to the chat template, e.g. `{"enable_thinking": false}`."""
    architecture: dict[str, Any] | None = None
    """Numbers of its config.json, for a dry run where the model is not at hand. Never used for training."""


class Example(Section):
    """One worked example shown before the question."""

    question: str
    """What the user asks."""
    answer: str
    """What the assistant answers."""


class PromptConfig(Section):
    """How a question becomes a conversation; the model's own chat template renders it."""

    system: str | None = None
    """System message, if any."""
    template: str = "{question}"
    """Text of the user's message; `{question}` stands for the question."""
    examples: tuple[Example, ...] = ()
    """Few-shot examples, as earlier turns of the conversation."""

    @field_validator("template")
    @classmethod
    def _has_a_place_for_the_question(cls, template: str) -> str:
        if "{question}" not in template:
            raise ValueError(
                f"template {template!r} has no place for the question: put {{question}} where it belongs"
            )
        return template

    def messages(self, question: str) -> list[dict[str, str]]:
        """The conversation that ends with ``question``, as chat messages."""
        turns: list[dict[str, str]] = []
        if self.system is not None:
            turns.append({"role": "system", "content": self.system})
        for example in self.examples:
            turns.append({"role": "user", "content": self.template.replace("{question}", example.question)})
            turns.append({"role": "assistant", "content": example.answer})
        turns.append({"role": "user", "content": self.template.replace("{question}", question)})
        return turns
