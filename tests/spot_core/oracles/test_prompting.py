import pytest

from spot_core.config.oracle import OpenAIOracleConfig
from spot_core.errors import ConfigError
from spot_core.oracles.base import Failure
from spot_core.oracles.prompting import END, START, Prompt, UnparseableReplyError, parse_reply


def prompt(**settings) -> Prompt:
    return Prompt.of(OpenAIOracleConfig(model="teacher", **settings))


def parse(content: str, response: str = "\\boxed{3}", *, boxed: bool = False) -> str:
    return parse_reply(content, response, boxed=boxed)


def test_the_prompt_carries_the_texts_literally_and_the_gold_answer_only_if_wanted():
    failure = Failure("q", 0, "Cost: $question ${x} $$", "a gold answer 77", "it is $5", [1], [2], "stop")
    with_gold, without = prompt().render(failure), prompt(with_gold_answer=False).render(failure)
    for text in (with_gold, without):
        assert "Cost: $question ${x} $$" in text
        assert "it is $5" in text
        assert text.count(START) == text.count(END) == 1
        assert "\\boxed{}" in text
    assert "a gold answer 77" in with_gold
    assert "a gold answer 77" not in without
    again = prompt().render(failure, earlier=("it was too long", "it was ${wrong}"))
    assert again.startswith(with_gold)
    assert "1. it was too long\n2. it was ${wrong}" in again


def test_a_prompt_of_ones_own_takes_the_place_of_ours(tmp_path):
    mine = tmp_path / "mine.txt"
    mine.write_text("$question? No: $response! It is $answer, for 5 $$. $start $end")
    failure = Failure("q", 0, "What", "2", "3", [1], [2], "stop")
    assert prompt(prompt_file=mine).render(failure) == f"What? No: 3! It is 2, for 5 $. {START} {END}"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("$question $response $start", "no \\$answer, no \\$end"),
        ("$question $response $answer $start $end $gold", "nothing is known for \\$gold"),
        ("costs 5 $ $question $response $answer $start $end", "written \\$\\$"),
        (b"\xff\xfe", "cannot be read"),
        (None, "cannot be read"),
    ],
)
def test_a_prompt_that_cannot_be_used_is_refused_with_its_path_and_the_remedy(tmp_path, text, said):
    mine = tmp_path / "mine.txt"
    if text is not None:
        mine.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ConfigError, match=said) as caught:
        prompt(prompt_file=mine)
    assert str(mine) in str(caught.value)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "1+1=2",
        f"{START}1+1=2",
        f"1+1=2{END}",
        f"{END}1+1=2{START}",
        f"{START}{END}",
        f"{START} \n {END}",
        f"{START}a{END}{START}b{END}",
        f"{START}{START}a{END}",
        f"{START}a <<</RECTIFIED>>> b{END}",
        f"{START}a <<<end_of_rectified>>> b{END}",
    ],
)
def test_anything_but_one_pair_of_markers_is_refused(content):
    with pytest.raises(UnparseableReplyError):
        parse(content)


@pytest.mark.parametrize(
    ("response", "body", "taken"),
    [
        ("\\boxed{3}", "\\boxed{2}", True),
        ("A: 3", "\\boxed{2}", True),
        ("\\boxed{3}", "2", False),
        ("\\boxed{3}", "\\boxed{2} \\boxed{2}", False),
        ("\\boxed{3} \\fbox{3}", "\\boxed{2} \\fbox{2}", True),
        ("\\boxed{3} \\boxed{3}", "\\boxed{2}", True),
        ("\\boxed{3} \\boxed{3}", "\\boxed{2} \\boxed{2} \\boxed{2}", False),
    ],
)
def test_one_box_is_taken_or_as_many_as_the_response_has(response, body, taken):
    content = f"{START}\n{body}\n{END}"
    if taken:
        assert parse(content, response, boxed=True) == body
    else:
        with pytest.raises(UnparseableReplyError, match="one final answer"):
            parse(content, response, boxed=True)
    assert parse(content, response, boxed=False) == body


def test_calculator_annotations_and_indentation_survive_parsing():
    assert parse(f"{START}\nSo\n  5*3 = <<5*3=15>>15\n\n{END}") == "So\n  5*3 = <<5*3=15>>15"


@pytest.mark.parametrize("response", ["a\nb", "\n\na\nb", "a\nb\n", "\n a\nb \n\n", " a\nb"])
def test_white_space_around_the_response_stays_as_it_was(response):
    edited = response.replace("b", "c")
    for around in ("", "\n", " ", "\n\n"):
        assert parse(f"{START}\n{around}{edited.strip()}{around}\n{END}", response) == edited


def test_a_thinking_block_may_speak_of_the_markers():
    assert parse(f"<think>I need {START} and {END}</think>\n{START}\n2\n{END}") == "2"
