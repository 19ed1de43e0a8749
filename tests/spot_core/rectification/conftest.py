"""Two small tokenizers, built here: one like the demo student's, one like those of the big models."""

import pytest
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

EOS = "<|im_end|>"


@pytest.fixture(scope="session")
def character_tokenizer() -> PreTrainedTokenizerFast:
    """Printable characters one by one, and whole-word tokens for frequent pieces."""
    characters = {chr(code): index for index, code in enumerate([10, *range(32, 127)])}
    tokenizer = Tokenizer(models.BPE(vocab=characters, merges=[]))
    tokenizer.decoder = decoders.Fuse()
    tokenizer.add_tokens(
        [AddedToken(w, normalized=False, special=False) for w in ("Answer: \\boxed{", "Compute ")]
    )
    tokenizer.add_special_tokens([AddedToken(EOS, special=True)])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=EOS)


@pytest.fixture(scope="session")
def byte_tokenizer() -> PreTrainedTokenizerFast:
    """Byte-level BPE with merges that cross spaces and digits, so that boundaries move with the text."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=[EOS],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    corpus = [
        "First, 16 + 4 = 20. Then, 20 - 5 = 15. The answer is 15.",
        "helping the helper help",
        "1234 123 12 éé 你好",
    ]
    tokenizer.train_from_iterator(corpus * 20, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=EOS)


@pytest.fixture(params=["character", "byte"])
def tokenizer(request, character_tokenizer, byte_tokenizer) -> PreTrainedTokenizerFast:
    """Either of them."""
    return {"character": character_tokenizer, "byte": byte_tokenizer}[request.param]
