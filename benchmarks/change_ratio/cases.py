"""What is measured: pairs (y⁻, y⁺) of token ids of a wanted length, edited region by region."""

import random
from collections.abc import Callable

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from benchmarks.shared_data import shared_rows

Ids = list[int]
Pair = tuple[Ids, Ids]

VOCABULARY = 8_192
"""Tokens of the BPE that is learned from the responses; a policy's own has more, which helps `difflib`."""
TOKENS_PER_REGION = 400
"""One edit in so many tokens; on real GSM8K and MATH responses a repaired step touches one to three places."""
LONGEST_DELETION, LONGEST_INSERTION = 40, 60


def make_cases(seed: int) -> dict[str, Callable[[int, int], Pair]]:
    """Name of a case → (length of y⁻ in tokens, number of the pair) → the pair.

    - `responses`: real responses one after the other, as a long reasoning trace is; edits take text from elsewhere.
    - `digits`: ten ids, each everywhere, so that `difflib` has a tenth of all places to look at for every token.
    - `rewrite`: two texts of other responses, as when an Oracle solved the question anew (refused by γ, but measured).
    """
    responses = _tokenized_responses()

    def trace(rng: random.Random, length: int) -> Ids:
        ids: Ids = []
        while len(ids) < length:
            ids += rng.choice(responses)
        return ids[:length]

    def digits(rng: random.Random, length: int) -> Ids:
        return [rng.randrange(10) for _ in range(length)]

    def edited_case(name: str, draw: Callable[[random.Random, int], Ids]) -> Callable[[int, int], Pair]:
        def pair(length: int, number: int) -> Pair:
            rng = random.Random(f"{seed}:{name}:{length}:{number}")
            rejected = draw(rng, length)
            return rejected, edited(rejected, rng, lambda n: draw(rng, n))

        return pair

    def rewrite(length: int, number: int) -> Pair:
        rng = random.Random(f"{seed}:rewrite:{length}:{number}")
        return trace(rng, length), trace(rng, length)

    return {
        "responses": edited_case("responses", trace),
        "digits": edited_case("digits", digits),
        "rewrite": rewrite,
    }


def edited(ids: Ids, rng: random.Random, fresh: Callable[[int], Ids]) -> Ids:
    """A copy in which one region per `TOKENS_PER_REGION` tokens was replaced; `fresh(n)` gives n new ids."""
    starts = sorted(rng.sample(range(len(ids)), max(1, len(ids) // TOKENS_PER_REGION)))
    result: Ids = []
    position = 0
    for start in starts:
        result += ids[position:start]
        result += fresh(rng.randint(0, LONGEST_INSERTION))
        position = max(position, start) + rng.randint(1, LONGEST_DELETION)
    return result + ids[position:]


def _tokenized_responses() -> list[Ids]:
    """Real responses as ids of a byte-level BPE learned from them: no model has to be fetched."""
    names = ("gsm8k_model_solutions_400", "math_model_solutions")
    texts = [row["response"] for name in names for row in shared_rows(name)]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    return [encoding.ids for encoding in tokenizer.encode_batch(texts) if encoding.ids]
