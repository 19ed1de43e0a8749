"""Token ids of a rectified response that share the sampled ids of the rejected one as far as the texts agree.

Re-tokenizing all of y⁺ would drift from what the policy sampled. So y⁺ keeps the sampled ids up to the last
place before the first edit where the sampled tokens and the tokenization of the new text have a common boundary,
and goes on with the latter: no token is split in a way the tokenizer would not split it. It ends as y⁻ was sampled to
end: a pair must not teach the policy another end of its turn.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from spot_core.change_ratio import shared_prefix_length
from spot_core.inference.prompts import TurnEnd

# How many sampled tokens may be given up before the first edit in search of a common boundary.
MAX_STEPS_BACK = 256


@dataclass(frozen=True, slots=True)
class RectifiedTokens:
    """`ids` end with an end-of-turn token; `kept` of them are y⁻'s own sampled ids.

    `retokenized`: the texts share a beginning of at least one token, yet no common boundary was found, so that
    all ids are new. `exact`: decoding `ids` gives the text; False where the tokenizer cannot represent it, and where special
    tokens stood behind the first edit (a text shows none of them), so that the pair would teach to leave them out.
    """

    ids: list[int]
    kept: int
    retokenized: bool
    exact: bool


def without_terminator(tokenizer: Any, ids: Sequence[int], *, turn_end: TurnEnd, stopped: bool) -> list[int]:
    """The ids of a response without the end-of-turn tokens at its end.

    `stopped`: it ended by itself, so its last ids may be terminators; a response cut at the token limit has none.
    """
    end = len(ids)
    terminators = turn_end.ids | frozenset(tokenizer.all_special_ids) if stopped else frozenset()
    while end and ids[end - 1] in terminators:
        end -= 1
    return list(ids[:end])


def rectified_token_ids(
    tokenizer: Any,
    *,
    response: str,
    response_token_ids: Sequence[int],
    rectified: str,
    turn_end: TurnEnd,
    stopped: bool,
) -> RectifiedTokens:
    """Ids of y⁺ for a fast Hugging Face tokenizer.

    `stopped`: y⁻ ended by itself; y⁺ then ends in the same token. Else it ends in the one that the template writes.
    """
    sampled = without_terminator(tokenizer, response_token_ids, turn_end=turn_end, stopped=stopped)
    end = turn_end.of(response_token_ids) if stopped else None
    terminator = turn_end.written if end is None else end
    # Text that looks like a special token stays text.
    encoding = tokenizer(
        rectified, add_special_tokens=False, return_offsets_mapping=True, split_special_tokens=True
    )
    new_ids: list[int] = list(encoding["input_ids"])
    boundaries = _boundaries(encoding["offset_mapping"])

    special = frozenset(tokenizer.all_special_ids)
    shared_characters = shared_prefix_length(response, rectified)
    most = _tokens_within(tokenizer, sampled, rectified[:shared_characters])
    for kept in range(most, max(-1, most - MAX_STEPS_BACK), -1):
        text = _decode(tokenizer, sampled[:kept])
        if len(text) not in boundaries or not rectified.startswith(text):
            continue
        ids = sampled[:kept] + new_ids[boundaries[len(text)] :]
        if _decode(tokenizer, ids) == rectified:
            retokenized = kept == 0 and most > 0
            exact = special.isdisjoint(sampled[kept:])
            return RectifiedTokens([*ids, terminator], kept, retokenized, exact=exact)
    exact = _decode(tokenizer, new_ids) == rectified and special.isdisjoint(sampled)
    return RectifiedTokens([*new_ids, terminator], 0, retokenized=most > 0, exact=exact)


def _decode(tokenizer: Any, ids: Sequence[int]) -> str:
    return tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)


def _boundaries(offsets: Sequence[tuple[int, int]]) -> dict[int, int]:
    """Character position → number of tokens before it, wherever a token ends and no other one overlaps."""
    boundaries = {0: 0}
    reached = 0
    for index, (start, end) in enumerate(offsets):
        if start >= reached:
            boundaries[start] = index
        reached = max(reached, end)
    boundaries[reached] = len(offsets)
    return boundaries


def _tokens_within(tokenizer: Any, ids: list[int], shared: str) -> int:
    """The most leading ids whose text is no longer than `shared`, found by bisection."""
    low, high = 0, len(ids)
    while low < high:
        middle = (low + high + 1) // 2
        if len(_decode(tokenizer, ids[:middle])) <= len(shared):
            low = middle
        else:
            high = middle - 1
    return low
