"""Of a correction made elsewhere comes the correction, and nothing of what was written around it."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spot_core.oracles.markers import bare_correction
from spot_core.oracles.prompting import UnparseableReplyError

RESPONSE = "First, 2+3=6.\nTherefore, the final answer is: $\\boxed{6}$."
BODY = "First, 2+3=5.\nTherefore, the final answer is: $\\boxed{5}$."
START, END = "=== CORRECTED STARTED ===", "=== CORRECTED ENDED ==="

AROUND = {
    "exact": f"{START}\n{BODY}\n{END}",
    "no markers": BODY,
    "blank lines": f"\n\n{START}\n\n\n{BODY}\n\n{END}\n",
    "start alone": f"{START}\n{BODY}",
    "end alone": f"{BODY}\n{END}",
    "one line": f"{START}{BODY}{END}",
    "one line, spaces": f"{START} {BODY} {END}",
    "talk around": f"Sure! Here it is.\n{START}\n{BODY}\n{END}\nI hope this helps.",
    "quotes as in the prompt": f"``{START}''\n{BODY}\n``{END}''",
    "quotes in a line": f"``{START}'' {BODY} ``{END}''",
    "half a quote": f"{START}''\n{BODY}\n{END}''",
    "bold": f"**{START}**\n{BODY}\n**{END}**",
    "code": f"`{START}`\n{BODY}\n`{END}`",
    "heading": f"### CORRECTED STARTED\n{BODY}\n### CORRECTED ENDED",
    "no equal signs": f"CORRECTED STARTED\n{BODY}\nCORRECTED ENDED",
    "other case": f"=== Corrected Started ===\n{BODY}\n=== corrected ended ===",
    "other words": f"=== CORRECTION START ===\n{BODY}\n=== CORRECTION END ===",
    "of the": f"=== START OF THE CORRECTED ANSWER ===\n{BODY}\n=== END OF CORRECTED ANSWER ===",
    "underscores": f"=== CORRECTED_STARTED ===\n{BODY}\n=== CORRECTED_ENDED ===",
    "unequal signs": f"== CORRECTED STARTED ====\n{BODY}\n=====CORRECTED ENDED==",
    "signs on one side": f"=== CORRECTED STARTED\n{BODY}\nCORRECTED ENDED ===",
    "end without its word": f"{START}\n{BODY}\n=== END ===",
    "end twice": f"{START}\n{BODY}\n{END}\n\n{END}",
    "other line ends": f"{START}\r\n{BODY}\r\n{END}\r\n",
    "thinking before": f"<think>2+3 is 5, so…</think>\n\n{START}\n{BODY}\n{END}",
    "thinking with markers": f"<think>I write {START} then\n{END}\n</think>{START}\n{BODY}\n{END}",
    "thinking without markers": f"<thinking>hm</thinking>\n\n{BODY}",
    "thinking without beginning": f"hm</think>\n\n{BODY}",
    "thinking inside": f"{START}\n<think>hm</think>\n{BODY}\n{END}",
    "thinking cut by the start": f"<think>hm\n{START}\n{BODY}\n{END}",
}


@pytest.mark.parametrize("reply", AROUND.values(), ids=AROUND)
def test_what_is_around_a_correction_is_left_out(reply):
    assert bare_correction(reply, RESPONSE) == BODY


UNCLEAR = {
    "nothing": "",
    "blank": " \n",
    "markers alone": f"{START}\n\n{END}",
    "turned round": f"{END}\n{BODY}\n{START}",
    "started twice": f"{START}\n{BODY}\n{START}\n{BODY}\n{END}",
    "ended twice": f"{START}\n{BODY}\n{END}\nand more\n{END}",
    "broken in two": f"=== CORRECTED\nSTARTED ===\n{BODY}",
    "in a sentence": f"{BODY} CORRECTED ENDED",
    "signs on one side in a line": f"=== CORRECTED STARTED {BODY}",
    "without its verb": f"=== CORRECTED ===\n{BODY}",
    "with more words": f"=== CORRECTED SOLUTION STARTED HERE ===\n{BODY}",
    "full-width signs in a line": f"＝＝ CORRECTED STARTED ＝＝ {BODY}",
    "thinking without end": f"<think>{BODY}",
    "thinking alone": f"<think>{BODY}</think>",
    "thinking opened inside": f"{START}\n{BODY}<think>\n{END}",
}


@pytest.mark.parametrize("reply", UNCLEAR.values(), ids=UNCLEAR)
def test_what_is_unclear_is_no_correction(reply):
    with pytest.raises(UnparseableReplyError):
        bare_correction(reply, RESPONSE)


ORDINARY = [
    "The correction started with $x == y$, and the interval begins at 0 and ends at 1.",
    "if lo == start and hi == end:\n    return (a === begin) ? b : c === end",
    "I corrected my sum. === \n x == corrected y",
    "=====\nResult\n=====\n**Corrected** total: 5 `end`",
    "f''(x) = 0 and '' == ''",
    "Begin with 5.\nEnd.\n== 5 ==",
]


@pytest.mark.parametrize("text", ORDINARY)
def test_ordinary_text_is_left_as_it_is(text):
    assert bare_correction(f"{START}\n{text}\n{END}", RESPONSE) == text
    assert bare_correction(text, RESPONSE) == text


def test_what_the_policy_itself_writes_is_neither_marker_nor_thinking():
    voice = "<think>2+3=6</think>\n=== BEGIN ===\n6\n=== END ==="
    mended = voice.replace("6", "5")
    assert bare_correction(f"{START}\n{mended}\n{END}", voice) == mended
    assert bare_correction(mended, voice) == mended


def test_a_policy_that_has_learned_the_markers_is_not_taught_them_again():
    learned = f"{START}\n{RESPONSE}\n{END}"
    assert bare_correction(f"{START}\n{BODY}\n{END}", learned) == BODY
    with pytest.raises(UnparseableReplyError):
        bare_correction(f"{START}\n{START}\n{BODY}\n{END}\n{END}", learned)


BLANKS = st.text(" \n\t", max_size=3)
WORDS = st.text(
    st.characters(codec="utf-8", exclude_characters="=<\0\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"), min_size=1
)


@given(core=WORDS.filter(str.strip), blanks=st.tuples(BLANKS, BLANKS), around=st.tuples(BLANKS, BLANKS))
def test_the_white_space_around_it_is_that_of_the_response(core, blanks, around):
    response = f"{blanks[0]}x{blanks[1]}"
    reply = f"{START}{around[0]}\n{core}\n{around[1]}{END}"
    assert bare_correction(reply, response) == f"{blanks[0]}{core.strip()}{blanks[1]}"


@given(
    st.lists(
        st.sampled_from(
            [
                START,
                END,
                "CORRECTED",
                "ENDED",
                "===",
                "\n",
                " ",
                "**",
                "``",
                "''",
                "5",
                "<think>",
                "</think>",
                "started",
            ]
        ),
        max_size=12,
    )
)
def test_no_piece_of_a_marker_comes_through(pieces):
    try:
        text = bare_correction("".join(pieces), RESPONSE)
    except UnparseableReplyError:
        return
    for leak in (START, END, "CORRECTED STARTED", "CORRECTED ENDED", "<think>", "</think>"):
        assert leak not in text


@pytest.mark.timeout(60)  # in quadratic time it would be an hour
@pytest.mark.parametrize(
    "piece",
    ["=", "= ", "== CORRECTED ", "**", "_", "<think>", "=== ", "\n=", "CORRECTED ", "correction begin "],
)
def test_a_million_hostile_characters_are_gone_through(piece):
    text = (piece * 1_000_000)[:1_000_000]
    with contextlib.suppress(UnparseableReplyError):
        assert bare_correction(text, RESPONSE) == text.strip()
