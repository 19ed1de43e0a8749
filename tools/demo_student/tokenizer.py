r"""The student's tokenizer: characters one by one, and one token for each fixed piece of the demo's texts.

An ordinary fast Hugging Face tokenizer with a chat template:

    Q: Compute 48+8-8.
    A: 48+8=56
    56-8=48
    Answer: \boxed{48}<|end|>
"""

from string import ascii_letters, digits, punctuation

from tokenizers import AddedToken, Tokenizer, decoders, models
from transformers import PreTrainedTokenizerFast

from spot_core.demo.chains import STYLES
from spot_core.demo.strings import STRING_TASKS

MAX_TOKENS = 256
"""Context of the student: the longest demo text has about 80 tokens."""

PAD, END, UNKNOWN = "<|pad|>", "<|end|>", "<|unk|>"
QUESTION, ANSWER = "Q: ", "\nA: "
CHARACTERS = sorted(f"{digits}{ascii_letters}{punctuation} \n")
PIECES = (
    QUESTION,
    ANSWER,
    "Compute ",
    "Answer: \\boxed{",
    *(style.instruction for style in STYLES.values()),
    *(f"{task.capitalize()} " for task in STRING_TASKS),
    " times.",
)

CHAT_TEMPLATE = (
    "{%- for message in messages -%}"
    "{%- if message.role == 'user' -%}"
    "{{- 'Q: ' + message.content -}}"
    "{%- elif message.role == 'assistant' -%}"
    "{{- '\\nA: ' + message.content + '<|end|>\\n' -}}"
    "{%- else -%}"
    "{{- raise_exception('the demo student knows the roles user and assistant, not ' + message.role) -}}"
    "{%- endif -%}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '\\nA: ' -}}{%- endif -%}"
)


def build_tokenizer() -> PreTrainedTokenizerFast:
    """The tokenizer; it decodes what it encodes without loss, except characters that are no printable ASCII."""
    vocabulary = {token: number for number, token in enumerate((PAD, END, UNKNOWN, *CHARACTERS))}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[], unk_token=UNKNOWN))
    # Without a decoder that joins them, tokens would be separated by spaces.
    tokenizer.decoder = decoders.Fuse()
    tokenizer.add_tokens([AddedToken(piece, normalized=False, special=False) for piece in PIECES])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        eos_token=END,
        unk_token=UNKNOWN,
        chat_template=CHAT_TEMPLATE,
        model_max_length=MAX_TOKENS,
        padding_side="left",
        clean_up_tokenization_spaces=False,
    )


def prompt_text(question: str) -> str:
    """What the chat template makes of one question with the generation prompt."""
    return f"{QUESTION}{question}{ANSWER}"
