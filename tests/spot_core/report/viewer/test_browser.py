"""The viewer in a real browser: nothing hostile runs, filters and keys do what they say, no edit is hidden."""

import json
import random
from importlib.resources import files

import pytest

from spot_core.report.viewer.formulas import FORMULA_PATTERN, convert_formula, find_formulas
from spot_core.report.viewer.page import write_viewer
from tests.spot_core.rectification.rows import proposal, row
from tests.spot_core.report.viewer.test_page import artifact_of, hostile_rows


@pytest.fixture
def view(browser, tmp_path):
    """Returns a function that writes rows into a viewer and opens it."""

    def opened(rows):
        write_viewer(tmp_path / "pairs.html", artifact_of(tmp_path / "store", rows), gamma=0.6)
        browser.troubles.clear()
        return browser.open(tmp_path / "pairs.html")

    return opened


@pytest.fixture(scope="module")
def functions(browser):
    """A page without the policy, in which the viewer's functions can be called one by one."""
    browser.send("Page.navigate", url="about:blank")
    scripts = (files("spot_core.report.viewer") / name for name in ("formulas.js", "difference.js"))
    # Declarations of one evaluation are seen by the next, but may not be made twice.
    for script in (files("spot_core.web_page") / "page.js", *scripts):
        browser.value(script.read_text(encoding="utf-8"))
    browser.value(f"const pattern = new RegExp({json.dumps(FORMULA_PATTERN)}, 'gsu')")
    return browser


def shown(page) -> int:
    return int(page.texts("#about")[0].split(" of ")[0].replace(",", ""))


def chosen(page) -> str:
    return page.texts(".facts b")[-1]


def some_rows():
    for n in range(2000):
        status = ("accepted", "accepted", "too_different", "refused")[n % 4]
        made = row(
            n, [proposal(status, oracle=("calculator", "teacher")[n % 2], change_ratio=None)],
            question=f"Question number {n}", response=f"it is {n} pounds", flags=["length_drift"] * (n % 10 == 0),
        )  # fmt: skip
        if made["rectified"] is not None:
            made["change_ratio"] = made["history"][0]["change_ratio"] = (n * 37 % 1000) / 1000
            made["rectified"] = f"it is {n + 1} pounds"
        yield made


def texts_with_formulas(count):
    """Texts in which formulas, and what is nearly one, stand beside each other."""
    rng = random.Random(0)
    parts = "\\frac { } ^ _ $ $$ \\( \\) \\[ \\] \\text a 12 \\\\ \\sqrt [3] \\ 🙂 \\left . \\begin{matrix} \\end{matrix} & \\alpha \\boxed{2} $x$"
    for _ in range(count):
        yield "".join(rng.choices([*parts.split(), " ", "\n", "\n\n"], k=rng.randint(0, 30)))


def test_the_browser_finds_the_formulas_that_python_found(functions):
    texts = [*texts_with_formulas(3000), "\\frac{" * 15_000, "$a" * 50_000, "\\(" * 50_000, "{" * 100_000]
    found = functions.value(
        f"{json.dumps(texts)}.map((text) => [...text.matchAll(pattern)].map((match) => match[0]))"
    )
    assert found == [find_formulas(text) for text in texts]


@pytest.mark.parametrize("formulas", ["null", '{pattern, known: {has: () => true, get: () => ["math", {}]}}'])
def test_no_text_and_no_change_is_hidden(functions, formulas):
    rng = random.Random(1)
    parts = [
        "\\frac{",
        "}{",
        "}",
        "1",
        "2",
        "x",
        "$",
        "^",
        "\\text{",
        " ",
        "\n",
        "\\left(",
        "\\,",
        "{",
        "\\alpha",
    ]
    some = [
        ["".join(rng.choices(parts, k=rng.randint(0, 4))) for _ in range(3 * rng.randint(1, 5))]
        for _ in range(3000)
    ]
    hidden = functions.value(
        f"""{json.dumps(some)}.filter((texts) => [OLD, NEW].some((side) => {{
            const formulas = {formulas};
            const changes = (runs) => runs.filter((run) => run.changed).map((run) => run.text).join("");
            const there = texts.filter((_, n) => n % 3 === side).join("");
            const runs = runsOf(texts, side, formulas);
            const all = runs.map((run) => run.text).join("") === whole(texts, side);
            const inOneText = inOne(texts, formulas).filter((run) => run.side === side);
            const lines = sideBySide(texts, formulas).map((line) => (side === OLD ? line.old : line.fresh));
            const beside = lines.map((runs) => runs.map((run) => run.text).join("")).join("\\n") === whole(texts, side);
            const marked = [runs, inOneText, lines.flat()].every((runs) => changes(runs) === there);
            return !all || !beside || !marked || runs.some((run) => run.changed && run.mathml);
        }}))"""
    )
    assert hidden == []


def test_formulas_are_drawn_as_mathml_and_their_texts_as_texts(functions):
    formula = "$\\frac{1}{2} \\text{<img src=x onerror=alert(1)>\u202e}$"
    drawn = functions.value(
        f"(() => {{ const node = drawMathML({json.dumps(convert_formula(formula))});"
        "document.body.replaceChildren(node); return node.outerHTML; })()"
    )
    assert drawn == (
        "<math><mrow><mfrac><mn>1</mn><mn>2</mn></mfrac><mtext>&lt;img&nbsp;src=x&nbsp;onerror=alert(1)&gt;"
        '<span class="odd">U+202E</span></mtext></mrow></math>'
    )
    assert functions.value(
        "(([above, below]) => above.getBoundingClientRect().bottom <= below.getBoundingClientRect().top)"
        "(document.querySelector('mfrac').children)"
    )


def test_nothing_hostile_runs(view):
    rows = list(hostile_rows())
    page = view(rows)
    for mode in ("", "d", "m", "d"):
        if mode:
            page.press(mode)
        page.press("Home")
        for made in rows:
            assert chosen(page) == f"{made['question_id']}/0"
            assert page.value("document.querySelectorAll('script, style, img, svg, a, iframe').length") == 3
            page.press("j")
    assert page.value("document.title") == "Rectified pairs"
    assert page.troubles == []


def test_characters_that_cannot_be_seen_are_spelled_out(view):
    page = view([row(0, [proposal("refused")], question="a\0b\u202ec\u2028d\u200be")])
    assert page.texts("#detail .text")[0] == "aU+0000bU+202EcU+2028dU+200Be"
    assert page.texts("#detail .text .odd") == ["U+0000", "U+202E", "U+2028", "U+200B"]


def test_two_thousand_pairs_are_there_but_only_what_is_seen_is_drawn(view):
    page = view(list(some_rows()))
    assert shown(page) == 2000
    assert page.value("document.querySelectorAll('*').length") < 400
    page.press("End")
    assert chosen(page) == "001999/0"
    assert "Question number 1999" in page.texts(".item .question")[-1]
    assert page.value("document.querySelectorAll('.item').length") < 50
    assert page.troubles == []


def test_filters_search_and_order(view):
    rows = list(some_rows())
    page = view(rows)
    page.fill("#status", "accepted")
    assert shown(page) == sum(r["status"] == "accepted" for r in rows) == 1000
    page.fill("#oracle", "calculator")
    assert shown(page) == 500
    page.fill("#least", "0.25")
    page.fill("#most", "0.5")
    wanted = [
        r for r in rows
        if r["status"] == "accepted" and r["oracle"] == "calculator" and 0.25 <= r["change_ratio"] <= 0.5
    ]  # fmt: skip
    assert shown(page) == len(wanted)
    page.fill("#order", "R, largest first")
    largest = max(wanted, key=lambda r: r["change_ratio"])
    page.press("Home")
    assert chosen(page) == f"{largest['question_id']}/0"
    page.value("document.querySelector('#clear').click()")
    assert shown(page) == 2000
    page.fill("#flag", "length_drift")
    assert shown(page) == 200
    page.fill("#flag", "")
    page.fill(
        "#search", "IT IS 1234 POUNDS"
    )  # of y⁻ of one row and y⁺ of the row before, if that has an edit
    page.wait_for("document.querySelector('#about').textContent.startsWith('2 of')")
    page.fill("#search", "nowhere")
    page.wait_for("document.querySelector('#about').textContent.startsWith('0 of')")
    assert page.texts(".nothing")
    assert page.troubles == []


def test_the_edit_is_marked_in_both_views(view):
    made = row(
        0, [proposal()], response="First 2+2=5.\nSame line.\nSo \\boxed{\\frac{5}{2}}.",
        rectified="First 2+2=4.\nSame line.\nSo \\boxed{\\frac{4}{2}}.",
    )  # fmt: skip
    page = view([made])
    assert page.texts("#detail del") == page.texts("#detail del") == ["5", "5"]
    assert page.texts("#detail ins") == ["4", "4"]
    assert [text for text in page.texts(".sides .text") if "Same" in text] == ["Same line."] * 2
    assert page.texts(".sides .text")[-1] == "So \\boxed{\\frac{4}{2}}."
    page.press("d")
    assert page.texts("#detail pre")[-1] == "First 2+2=54.\nSame line.\nSo \\boxed{\\frac{54}{2}}."
    assert (page.texts("#detail del"), page.texts("#detail ins")) == (["5", "5"], ["4", "4"])
    page.press("n")
    assert page.texts(".here") == ["5"]


def test_formulas_without_a_change_are_drawn_until_the_text_is_wanted_as_it_is(view):
    made = row(
        0, [proposal()], question="What is $\\frac{1}{2}$?", response="$\\sqrt{4}$ is \\(x = 3\\)", rectified="$\\sqrt{4}$ is \\(x = 2\\)",
    )  # fmt: skip
    page = view([made])
    assert page.texts("math") == ["12", "4", "4"]
    assert page.texts(".sides .text") == ["4 is \\(x = 3\\)", "4 is \\(x = 2\\)"]
    page.press("m")
    assert page.texts("math") == []
    assert page.texts("#detail .text") == [
        "What is $\\frac{1}{2}$?",
        "1",
        "$\\sqrt{4}$ is \\(x = 3\\)",
        "$\\sqrt{4}$ is \\(x = 2\\)",
    ]
    assert page.troubles == []


def test_keys_walk_through_the_list_and_stay_out_of_the_search_field(view):
    page = view(list(some_rows())[:30])
    for key, at in (("j", 1), ("ArrowDown", 2), ("k", 1), ("End", 29), ("j", 29), ("Home", 0), ("k", 0)):
        page.press(key)
        assert chosen(page) == f"{at:06d}/0"
    page.press("/")
    assert page.value("document.activeElement.id") == "search"
    page.press("j")
    assert chosen(page) == "000000/0"
    page.press("Escape")
    page.press("t")
    first = page.value("document.documentElement.dataset.theme")
    page.press("t")
    assert {first, page.value("document.documentElement.dataset.theme")} == {"dark", "light"}


def test_lines_that_are_the_same_are_folded_and_unfolded(view):
    lines = [f"line {n}" for n in range(60)]
    page = view(
        [
            row(
                0,
                [proposal()],
                response="\n".join(lines),
                rectified="\n".join([*lines[:30], "new", *lines[31:]]),
            )
        ]
    )
    assert len(page.texts(".sides .text")) == 2 * 5
    assert [text.split()[1] for text in page.texts(".fold")] == ["28", "27"]
    page.value("document.querySelector('.fold').click()")
    assert len(page.texts(".sides .text")) == 2 * 33


def test_no_failures_make_an_empty_page(view):
    page = view([])
    assert shown(page) == 0
    assert page.troubles == []
