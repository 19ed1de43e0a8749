"""What a raw chat.completion says: its edit or why there is none, and the tokens it took."""

from typing import Any

from spot_core.config.oracle import Price
from spot_core.oracles.base import Failure, Proposal
from spot_core.oracles.prompting import UnparseableReplyError, parse_reply


def read_reply(reply: dict[str, Any], failure: Failure, *, price: Price, boxed: bool) -> Proposal:
    """The edit that a reply proposes, or the reason why it cannot be used."""
    input_tokens, output_tokens = usage_of(reply) or (0, 0)
    figures = {
        "input_tokens": input_tokens,
        "output_tokens": output_tokens,
        "cost_usd": price.of(input_tokens, output_tokens),
    }
    choices = reply.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    message = choice.get("message") if isinstance(choice, dict) else None
    if not isinstance(message, dict):
        return Proposal(text=None, status="unparseable", reason="the reply has no message", **figures)
    if message.get("refusal") or choice.get("finish_reason") == "content_filter":
        said = str(message.get("refusal") or "stopped by a content filter")
        reason = said.encode(errors="backslashreplace").decode()
        return Proposal(text=None, status="refused", reason=reason, **figures)
    if choice.get("finish_reason") == "length":
        reason = f"the reply was cut at its limit, after {output_tokens} tokens"
        return Proposal(text=None, status="unparseable", reason=reason, **figures)
    content = message.get("content")
    try:
        text = parse_reply(content if isinstance(content, str) else "", failure.response, boxed=boxed)
    except UnparseableReplyError as error:
        return Proposal(text=None, status="unparseable", reason=str(error), **figures)
    return Proposal(text=text, **figures)


def usage_of(reply: dict[str, Any]) -> tuple[int, int] | None:
    """Prompt and completion tokens of a reply; None if it does not say, or says that there were none.

    Some endpoints leave the tokens of hidden reasoning out of the completion but not out of the total.
    """
    usage = reply.get("usage")
    if not isinstance(usage, dict):
        return None
    prompt, completion, total = (
        usage.get(f"{name}_tokens") or 0 for name in ("prompt", "completion", "total")
    )
    if not all(isinstance(count, int) and count >= 0 for count in (prompt, completion, total)):
        return None
    return (prompt, max(completion, total - prompt)) if prompt or total else None
