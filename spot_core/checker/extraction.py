"""Finds the final answer that a response states; everything here is linear in the response's length.

Order: the last well-formed `\\boxed{}`, then the last explicit final-answer form (`#### x`, `A: x` as the last
line, `Answer: x`, "the answer is x"), then a response that is nothing but an answer, and last the conclusion of the
closing sentence. Numbers that merely occur in the text are never taken.
"""

import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from operator import itemgetter

from spot_core.checker.notation import has_prose, is_words, normalised
from spot_core.checker.quantity import read_quantity

MAX_ANSWER_CHARS = 2_000
"""Longer "answers" are text that ran away, not answers; no gold answer in use comes near."""

MAX_SHORT_ANSWER = 60
"""Characters of a response that is nothing but an answer without delimiters."""
MAX_ANNOUNCEMENTS = 20
"""Announcements without a value after them that are passed over, from the end."""
_BOX_WORD = r"\boxed"
_SENTENCE = re.compile(r"(?<![A-Za-z\\])(?:is|as|so|we|I|he|it|of|to|be|do|in|on|at)(?![A-Za-z])|[?!]")

_THINK_TAG = re.compile("</?think>")
_END_OF_TURN = re.compile(r"<\|(?:im_start|im_end|eot_id|end_of_text|endoftext)\|>|</s>")
_BOX = re.compile(r"\\(?:f?boxed|fbox)\s*\{")
_BOXED_TOKEN = re.compile(r"\\boxed[ \t]+([-+]?[A-Za-z\d.,/]+)")
_ANNOUNCEMENT_IN_BOX = re.compile(
    r"\s*(?:\\text(?:bf|it|rm)?\s*\{)?\s*(?:so |thus |therefore )?(?:the )?(?:final |correct )?answer(?: is| *[:=])\s*:?\s*(?P<brace>\})?",
    re.IGNORECASE,
)
MAX_BOXES = 64
"""Boxes that are read as one list."""
MAX_BETWEEN_BOXES = 40
"""Characters between two boxes of one statement, as in `\\boxed{-2} \\quad \\text{and} \\quad \\boxed{1}`."""

_BOLD = r"[*_`]{0,3}"
_LINE_FORM = re.compile(
    rf"^[ \t]*(?:[-*>#]{{1,6}}[ \t]+)?(?:\#{{4}}|{_BOLD}(?:the[ \t]+)?(?:final[ \t]+)?answer{_BOLD}[ \t]*$|{_BOLD}(?:the[ \t]+)?(?:final[ \t]+)?answer{_BOLD}[ \t]*[:=]{_BOLD}"
    rf"|{_BOLD}answer{_BOLD}[ \t]*(?=\$|\\[(\[]))",
    re.IGNORECASE | re.MULTILINE,
)
_SENTENCE_FORM = re.compile(
    r"(?:\banswers?|\b(?:correct|right|best)[ \t]+(?:option|choice))[ \t]+(?:is|are|equals|will be|would be)\b(?![ \t]+not\b)[ \t]*:?"
    r"|(?:答案|答え|정답|ответ|antwort|respuesta|réponse|risposta|resposta)[ \t]*(?:是|为|為|は|ist|es|est|è|é|[:：])+"
    r"|\"(?:final[_ ]?)?answer\"[ \t]*:[ \t]*\"?",
    re.IGNORECASE,
)
_TAG = re.compile(r"<(/?)answer>", re.IGNORECASE)
_ADVERBS = re.compile(
    r"(?:(?:simply|exactly|just|therefore|thus|hence|indeed|then|clearly|actually|equal to|approximately|about|roughly|:)[ \t]+)+",
    re.IGNORECASE,
)
_OTHER = re.compile(r",[ \t]+not\b.*|\"[ \t]*[,}].*|[ \t]*\}[ \t]*$", re.DOTALL)
_REASON = re.compile(
    r"(?<![ \t]),?[ \t]+(?:because|since|as shown|which|where)\b.*|,[ \t]+(?:as|so|and so)\b.*", re.DOTALL
)
_LAST_LINE_A = re.compile(r"^[ \t]*A:[ \t]*(.*)$")
_SENTENCE_END = re.compile(r"\.[ \t]+(?=[A-Z<])")
_CLOSING_REMARK = re.compile(r"(?<![ \t])\.?[ \t]*I hope (?:it is|this is|this|it).{0,40}$", re.IGNORECASE)

_MATH = r"\$\$[^$]+\$\$|\$[^$\n]+\$|\\\((?:[^\n\\]|\\(?![()]))+\\\)|\\\[(?:[^\\]|\\(?![\[\]]))+\\\]"
"""No formula runs across another one's delimiters: that would take exponential time."""
_MATH_LIST = re.compile(rf"(?:{_MATH})(?:[ \t]*(?:,|and|or|, and|, or)[ \t]*(?:{_MATH}))*", re.DOTALL)
_UNIT_WORDS = r"[ \t]*(?:percent(?:age)?|pct|%|[A-Za-z]{2,12})?"
_BARE_MATH = re.compile(rf"(?:{_MATH_LIST.pattern}){_UNIT_WORDS}\.?", re.DOTALL)
_BARE_NUMBER = re.compile(r"[-+−]?[$€£]?[-+−]?(?:\d|\.\d)[\d.,/eE+\- ]*[ \t]*(?:%|pct|percent)?\.?")
_CONCLUSION = re.compile(r"^(?:so|thus|hence|therefore)\b[^\n]*", re.IGNORECASE)
_CONCLUDED_VALUE = re.compile(r"(?:\bis|\bare|=)[ \t]+([-+−]?[$€£]?\d[\d.,/]*[^\s\d.,]{0,6})\.?$")
_AFTER_MATH = re.compile(r"[ \t]*(?:is (?:our|the) (?:final )?(?:answer|solution))?[ \t.]*")


@dataclass(frozen=True, slots=True)
class Extraction:
    """The final answer and the form it was stated in."""

    answer: str
    form: str
    certain: bool = True
    """False for a conclusion that was not announced as the answer: it can confirm the gold, never refute it."""
    box_list: str | None = None
    """All boxes of the closing statement joined by commas, where more than one stands there."""
    start: int = field(default=0, compare=False)
    """Where its announcement begins in the visible text: the box, the tag, `####`, "answer is", …"""
    end: int = field(default=0, compare=False)
    """Where the answer, its box or tag included, ends in the visible text."""


def visible_text(response: str) -> str:
    """The response without its thinking and without what follows the end of the turn.

    A closing tag without its opening one (the template opened it in the prompt) hides everything before it; an
    opening tag that is never closed hides everything after it.
    """
    kept, position, thinking = [], 0, False
    for tag in _THINK_TAG.finditer(response):
        if tag.group() == "</think>":
            if not thinking:
                kept.clear()
            position, thinking = tag.end(), False
        elif not thinking:
            kept.append(response[position : tag.start()])
            thinking = True
    if not thinking:
        kept.append(response[position:])
    text = "".join(kept)
    ended = _END_OF_TURN.search(text)
    return text[: ended.start()] if ended and ended.start() else text


def _boxes(text: str) -> Iterator[tuple[int, int, str]]:
    """Start, end and content of every outermost box with balanced braces and a content, in order."""
    open_boxes: list[tuple[int, int, int]] = []  # (start of \boxed, start of content, depth of its brace)
    found: list[tuple[int, int, str]] = []
    box_starts = {match.end() - 1: match.start() for match in _BOX.finditer(text)}
    depth, escaped = 0, False
    for position, character in (
        (match.start(), match.group()) for match in re.finditer(r"[\\{}]|[^\\{}]+", text)
    ):
        if escaped:
            escaped = False  # an escaped brace is a character of the answer (a set), not a group
        elif character == "\\":
            escaped = True
        elif character == "{":
            depth += 1
            if position in box_starts:
                open_boxes.append((box_starts[position], position + 1, depth))
        elif character == "}" and depth:
            if open_boxes and open_boxes[-1][2] == depth:
                start, content_start, _ = open_boxes.pop()
                content = text[content_start:position].strip()
                while found and found[-1][0] > start:
                    found.pop()  # boxes inside this one
                if content:
                    found.append((start, position + 1, content))
            depth -= 1
    yield from found


def _closing_boxes(text: str) -> Extraction | None:
    boxes = list(_boxes(text))
    if not boxes:
        return None
    together = [boxes[-1]]
    for box in reversed(boxes[-MAX_BOXES:-1]):
        if together[-1][0] - box[1] > MAX_BETWEEN_BOXES:
            break
        together.append(box)
    together.reverse()
    answer = _BOX.sub("{", boxes[-1][2]) if _BOX.search(boxes[-1][2]) else boxes[-1][2]
    joined = ", ".join(content for _, _, content in together) if len(together) > 1 else None
    if joined is not None and len(joined) > MAX_ANSWER_CHARS:
        joined = None
    return Extraction(
        _without_announcement(answer), "boxed", box_list=joined, start=together[0][0], end=boxes[-1][1]
    )


def _without_announcement(answer: str) -> str:
    """`5` for `\\text{The answer is }5`; the box is the announcement."""
    match = _ANNOUNCEMENT_IN_BOX.match(answer)
    if match is None:
        return answer
    rest = answer[match.end() :]
    opened = answer[: match.end()].count("{") - answer[: match.end()].count("}")
    return (rest.removesuffix("}") if opened > 0 else rest).strip() or answer


def _boxed_token(text: str) -> Extraction | None:
    """`\\boxed 5`: TeX boxes what comes next."""
    tokens = list(_BOXED_TOKEN.finditer(text))
    if not tokens or not (answer := _clean(tokens[-1][1])):
        return None
    return Extraction(answer, "boxed", start=tokens[-1].start(), end=tokens[-1].end())


def _tagged(text: str) -> Extraction | None:
    """The last `<answer>…</answer>` of the response, the form that many models are trained to give."""
    found, opened = None, None
    for tag in _TAG.finditer(text):
        if not tag[1]:
            opened = tag
        elif opened is not None:
            if content := text[opened.end() : tag.start()].strip():
                answer = _without_announcement(content)
                found = Extraction(answer, "answer_tag", start=opened.start(), end=tag.end())
            opened = None
    return found


def _clean(answer: str) -> str:
    """Without Markdown emphasis, closing remarks and the full stop of the sentence."""
    answer = _CLOSING_REMARK.sub("", answer).strip().strip("*`_ \t")
    if answer.endswith((".", ",", ";", "。")) and not answer.endswith("..."):
        answer = answer[:-1].rstrip()
    if len(answer) > 2 and answer[0] == answer[-1] and answer[0] in "\"'":
        answer = answer[1:-1]
    return answer.strip("* \t")


def _announced(text: str, prefixes: tuple[str, ...]) -> Extraction | None:
    end = len(text.rstrip())
    last_line = text[:end].rsplit("\n", 1)[-1]
    if (match := _LAST_LINE_A.match(last_line)) and (answer := _clean(match[1])):
        return Extraction(answer, "a_line", start=end - len(last_line), end=end)
    forms = [(*match.span(), "answer_line") for match in _LINE_FORM.finditer(text)]
    forms += [(*match.span(), "answer_sentence") for match in _SENTENCE_FORM.finditer(text)]
    for prefix in prefixes:
        pattern = rf"^[ \t]*{_BOLD}{re.escape(prefix)}{_BOLD}"
        found = re.finditer(pattern, text, re.IGNORECASE | re.MULTILINE)
        forms += [(*match.span(), "answer_prefix") for match in found]
    for begin, start, form in sorted(forms, key=itemgetter(1, 2), reverse=True)[:MAX_ANNOUNCEMENTS]:
        # The value may stand on the next line, or open a display formula over several lines.
        rest = text[start : start + MAX_ANSWER_CHARS].lstrip(" \t*\n")
        formula = _MATH_LIST.match(rest)
        if formula and _AFTER_MATH.fullmatch(rest[formula.end() :].split("\n", 1)[0]):
            answer = formula.group()
        else:
            rest = rest[match.end() :] if (match := _ADVERBS.match(rest)) else rest
            line = _OTHER.sub("", rest.split("\n", 1)[0])
            answer = _REASON.sub("", _SENTENCE_END.split(line, maxsplit=1)[0])
        if answer := _clean(answer):
            end = text.index(answer, start) + len(answer)
            return Extraction(answer, form, start=begin, end=end)
    return None


def _whole_response(text: str) -> Extraction | None:
    end = len(text)
    text = text.strip()
    if not text or len(text) > MAX_ANSWER_CHARS:
        return None
    if _BARE_NUMBER.fullmatch(text) or _BARE_MATH.fullmatch(text):
        return Extraction(_clean(text), "whole_response", end=end)
    plain = (
        normalised(text)
        if len(text) <= MAX_SHORT_ANSWER and "\n" not in text and _BOX_WORD not in text
        else ""
    )
    if not plain or (
        " " in plain and (has_prose(plain) or _SENTENCE.search(plain)) and read_quantity(plain) is None
    ):
        return None
    # A word may be an answer, or all that the model had to say.
    return Extraction(_clean(text), "whole_response", certain=not is_words(plain), end=end)


def _conclusion(text: str) -> Extraction | None:
    """The value of a closing sentence: its last formula, or a number after "is" in a "Therefore …" sentence."""
    end = len(text.rstrip())
    line = text[:end][-MAX_ANSWER_CHARS:].rsplit("\n", 1)[-1].lstrip()
    formulas = list(_MATH_LIST.finditer(line))
    if formulas and _AFTER_MATH.fullmatch(line, formulas[-1].end()):
        start = end - len(line) + formulas[-1].start()
        return Extraction(formulas[-1].group(), "conclusion", certain=False, start=start, end=end)
    sentence = _SENTENCE_END.split(line)[-1]
    if _CONCLUSION.match(sentence) and (match := _CONCLUDED_VALUE.search(sentence)):
        start = end - len(sentence) + match.start(1)
        return Extraction(_clean(match[1]), "conclusion", certain=False, start=start, end=end)
    return None


def extract_answer(response: str, prefixes: tuple[str, ...] = ()) -> Extraction | None:
    """The final answer of the response, or None where it states none.

    `prefixes`: further words that announce it at the beginning of a line, such as `Antwort:`.
    """
    text = visible_text(response)
    announced = functools.partial(_announced, prefixes=prefixes)
    for find in (_closing_boxes, _boxed_token, _tagged, announced, _whole_response, _conclusion):
        if (extraction := find(text)) is not None:
            return None if len(extraction.answer) > MAX_ANSWER_CHARS else extraction
    return None
