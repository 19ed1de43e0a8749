"""The review page in a real browser: edits survive as they are, and hostile text does nothing but stand there."""

import json
import time
from importlib.resources import files
from random import Random

import pytest
from rapidfuzz.distance import LCSseq

from spot_core.rectification.review.page import render_review_page
from tests.chromium import ALT, CTRL
from tests.spot_core.rectification.review.test_page import failure
from tests.spot_core.report.viewer.hostile import TEXTS


@pytest.fixture
def review(browser, tmp_path):
    """Returns a function that writes failures into a page and opens it; what it saves comes to ``tmp_path``."""
    browser.send("Page.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))

    def opened(rows, artifact=tmp_path.name):
        page = render_review_page(rows, artifact=artifact, gamma=0.6, folder="/store/<b>review</b>")
        (tmp_path / "review.html").write_text(page, encoding="utf-8", newline="")
        browser.troubles.clear()
        return browser.open(tmp_path / "review.html")

    return opened


@pytest.fixture(scope="module")
def functions(browser):
    """A page without the policy, in which the page's functions can be called one by one."""
    browser.send("Page.navigate", url="about:blank")
    ours = files("spot_core.rectification.review")
    scripts = (ours / name for name in ("field.js", "words.js", "drafts.js"))
    for script in (files("spot_core.web_page") / "page.js", *scripts):
        browser.value(script.read_text(encoding="utf-8"))
    return browser


def some_failures(count):
    for n in range(count):
        response = f"First, {n}+1={n}.\nThen {n}*1={n}.\nSo \\boxed{{{n}}}"
        yield failure(
            question_id=f"id{n}", question=f"What is {n} and one?", answer=str(n + 1), response=response
        )


def saved(page, folder):
    """What the page saves when it is told to."""
    path = folder / "edits.jsonl"
    path.unlink(missing_ok=True)
    page.press("s", CTRL)
    deadline = time.monotonic() + 20
    while not path.exists():
        page.value("0")  # the browser's events come in meanwhile
        assert time.monotonic() < deadline, "nothing was saved"
        time.sleep(0.05)
    with path.open(encoding="utf-8", newline="\n") as lines:
        return [json.loads(line) for line in lines]


def place(page):
    return page.texts("#place")[0]


def test_edits_and_skips_are_saved_as_they_are_and_nothing_else(review, tmp_path):
    failures = [*some_failures(300)]
    failures[2] |= {"rectified": "So \\boxed{9}", "reason": "the answer was judged incorrect"}
    page = review(failures)
    page.fill("#edit", failures[0]["response"].replace("{0}", "{1}"))
    assert page.texts("#difference ins") == ["1"]
    assert page.texts("#difference del") == ["0"]
    page.press("Enter", CTRL)
    assert place(page).startswith("2 of 300")
    page.press("Escape")
    page.press("s")
    page.press("n")
    assert place(page) == "3 of 300 · id2/0 · open"  # what was sent back is open until it is changed
    assert page.texts("#reason") == ["Your edit was not accepted: the answer was judged incorrect"]
    page.press("ArrowDown", ALT)
    page.fill("#edit", "  \n")
    assert place(page) == "4 of 300 · id3/0 · open"
    assert page.texts("#count") == ["1 edited, 1 skipped, 298 open of 300"]
    assert saved(page, tmp_path) == [
        {"question_id": "id0", "sample": 0, "rectified": "First, 0+1=0.\nThen 0*1=0.\nSo \\boxed{1}"},
        {"question_id": "id1", "sample": 0, "skip": True},
    ]
    assert "move it to /store/<b>review</b>" in page.texts("#note")[0]
    assert page.troubles == []


def test_what_was_written_is_there_after_the_page_is_closed_but_not_on_another_artifacts_page(review):
    failures = [*some_failures(3)]
    review(failures).fill("#edit", "mine")
    again = review(failures)
    assert again.texts("#count") == ["1 edited, 0 skipped, 2 open of 3"]
    assert place(again).startswith("2 of 3")  # the first one that is open
    failures[0] |= {"rectified": "mine", "reason": "wrong"}
    assert review(failures).texts("#count") == ["0 edited, 0 skipped, 3 open of 3"]
    assert review(failures, "another").texts("#count") == ["0 edited, 0 skipped, 3 open of 3"]


def test_all_that_are_left_can_be_skipped_and_taken_back(review, tmp_path):
    page = review([*some_failures(20)])
    page.fill("#edit", "mine")
    page.value("document.getElementById('rest').click()")
    assert page.texts("#left") == ["19 of 20 are open."]
    page.value("document.getElementById('skipall').click()")
    assert page.texts("#count") == ["1 edited, 19 skipped, 0 open of 20"]
    assert sum(row.get("skip", False) for row in saved(page, tmp_path)) == 19
    page.value("document.getElementById('rest').click(); document.getElementById('takeback').click()")
    assert page.texts("#count") == ["1 edited, 0 skipped, 19 open of 20"]


def test_search_and_kind_narrow_the_list(review):
    page = review([*some_failures(300)])
    page.fill("#search", "what is 29")
    assert len(page.texts(".item:not([hidden])")) == 11
    page.press("Escape")
    page.press("j")
    assert place(page).startswith("30 of 300")
    page.press("s")
    page.fill("#search", "")
    page.fill("#show", "skipped")
    assert len(page.texts(".item:not([hidden])")) == 1


def test_hostile_texts_run_nothing_and_survive_an_edit_elsewhere(review, tmp_path):
    texts = [text for text in TEXTS if text.strip()]
    failures = [
        failure(question_id=f"id{n}", question=text, answer=text, response=text)
        for n, text in enumerate(texts)
    ]
    page = review(failures)
    for _ in texts:
        page.value("document.getElementById('edit').value += '!'")
        page.fill("#edit", page.value("document.getElementById('edit').value"))
        page.press("ArrowDown", ALT)
    assert [row["rectified"] for row in saved(page, tmp_path)] == [f"{text}!" for text in texts]
    assert page.value("document.title") == "Failures that wait for you"
    assert page.troubles == []


def test_odd_characters_are_spelled_out_in_the_field_and_saved_as_themselves(functions):
    random = Random(5)
    alphabet = "ab‹›U+0F0\0\r\n\t\u202e\u200d\ud83d\U0001f600\u0301é<&"
    texts = [*TEXTS, "‹U+0000›", "‹U+2039›", "‹‹U+0000›", "‹U+FFFFFF›"]
    texts += ["".join(random.choices(alphabet, k=random.randint(0, 12))) for _ in range(3000)]
    shown, back = functions.value(
        f"((texts) => [texts.map(toField), texts.map((text) => fromField(toField(text)))])({json.dumps(texts)})"
        ".map((all) => JSON.stringify(all))"
    )
    assert json.loads(back) == texts
    for text in json.loads(shown):
        assert not set(text) & set("\0\r\u202e\u200d\ud83d\u2028")


def test_the_difference_is_the_shortest_and_gives_both_texts_back(functions):
    random = Random(7)
    pairs = [
        tuple(" ".join(random.choices("abcd", k=random.randint(0, 30))) for _ in range(2)) for _ in range(500)
    ]
    pairs += [("", ""), ("", "x"), ("x y", ""), (TEXTS[0], TEXTS[0][::-1]), ("1,000 a" * 900, "b 2.5" * 900)]
    differences = functions.value(f"{json.dumps(pairs)}.map(([a, b]) => difference(a, b))")
    for (old, new), runs in zip(pairs, differences, strict=True):
        assert "".join(run["text"] for run in runs if run["kind"] != "new") == old
        assert "".join(run["text"] for run in runs if run["kind"] != "old") == new
        if {*old, *new} <= {*"abcd "}:  # every character is a word
            shared = sum(len(run["text"]) for run in runs if run["kind"] == "same")
            assert shared == LCSseq.similarity(old, new)


def test_where_the_browser_keeps_nothing_the_edits_are_there_until_the_page_is_left(functions):
    # Such a page has no storage: any use of it raises.
    kept, written = functions.value(
        """(() => {
            const drafts = new Drafts("k");
            const row = { id: "a", sample: 0, response: "r", previous: "" };
            drafts.change(row, { text: "mine" });
            return [drafts.kept, drafts.file([row])];
        })()"""
    )
    assert not kept
    assert json.loads(written) == {"question_id": "a", "sample": 0, "rectified": "mine"}
