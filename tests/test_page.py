"""The page in a real browser: from a file, without a network, by the keyboard alone, at every width."""

import json
import shutil
from dataclasses import replace

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import sync_playwright

from compare import lesson
from compare.record import Record, decode, encode
from compare.report import RENDERERS

pytestmark = pytest.mark.xdist_group("page")

WIDTHS = (400, 1280, 1920)


@pytest.fixture(scope="module")
def chromium():
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        pytest.fail("Chromium is not installed: `apt-get install chromium` brings it.")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def file(page, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(page, "utf-8")
    return path


@pytest.fixture
def opened(chromium, request):
    """Opens a file in a window of its own, without a network; whatever goes wrong there fails the test."""
    contexts, trouble = [], []

    def open_file(path, width=1280, scheme="light"):
        context = chromium.new_context(
            viewport={"width": width, "height": 900}, color_scheme=scheme, offline=True
        )
        contexts.append(context)
        shown = context.new_page()
        shown.on("console", lambda message: trouble.append(message.text))
        shown.on("pageerror", lambda error: trouble.append(str(error)))
        shown.on("dialog", lambda dialog: trouble.append(dialog.message))
        shown.on(
            "request",
            lambda asked: None if asked.url.startswith(path.as_uri()) else trouble.append(asked.url),
        )
        shown.goto(path.as_uri())
        return shown

    yield open_file
    for context in contexts:
        context.close()
    assert trouble == []


def unfold(shown):
    """Open every fold, and have also that laid out which is not near the window."""
    shown.add_style_tag(content="section { content-visibility: visible !important }")
    shown.evaluate("document.querySelectorAll('details').forEach((fold) => { fold.open = true; })")


def test_the_page_opens_from_a_file_without_a_network_and_without_a_complaint(opened, file):
    shown = opened(file)
    assert shown.title() == "PyTorch and JAX, compared"
    assert shown.locator("section").count() == 9 + 3
    assert shown.locator("math").first.bounding_box()["height"] > 10


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_is_wider_than_the_window(opened, file, width, scheme):
    shown = opened(file, width, scheme)
    for _ in range(2):
        assert shown.evaluate("document.documentElement.scrollWidth") <= width
        unfold(shown)


def test_what_is_too_wide_is_noticed(opened, file):
    shown = opened(file, 400)
    shown.evaluate("document.querySelector('.scroll').style.overflow = 'visible'")
    assert shown.evaluate("document.documentElement.scrollWidth") > 400


@pytest.mark.parametrize(("width", "scheme"), [(400, "dark"), (1280, "light")])
def test_axe_finds_nothing(opened, file, width, scheme):
    shown = opened(file, width, scheme)
    unfold(shown)
    found = Axe().run(shown)
    assert found.violations_count == 0, found.generate_report()


def test_axe_notices_letters_that_cannot_be_read(opened, file):
    shown = opened(file)
    shown.evaluate("document.body.style.setProperty('--quiet', '#ddd')")
    assert "color-contrast" in {violation["id"] for violation in Axe().run(shown).response["violations"]}


def test_the_letters_and_lines_of_a_drawing_can_be_read_in_any_light(opened, file):
    inks = {}
    for scheme in ("light", "dark"):
        shown = opened(file, scheme=scheme)
        paper = shown.evaluate("getComputedStyle(document.body).backgroundColor")
        inks[scheme] = shown.evaluate(
            "[...document.querySelectorAll('svg text')].map((text) => getComputedStyle(text).fill)"
        )
        assert paper not in inks[scheme]
    assert len(inks["light"]) > 300
    assert all(light != dark for light, dark in zip(inks["light"], inks["dark"], strict=True))


def test_every_link_leads_to_what_it_names_by_the_keyboard_and_unfolds_it(opened, file):
    shown = opened(file)
    places = shown.evaluate("[...document.querySelectorAll('a')].map((link) => link.hash)")
    assert len(set(places)) > 50
    for k, place in [(places.index(place), place) for place in dict.fromkeys(places)]:
        shown.evaluate("document.querySelectorAll('details').forEach((fold) => { fold.open = false; })")
        shown.evaluate("(k) => document.querySelectorAll('a')[k].focus()", k)
        shown.keyboard.press("Enter")
        shown.wait_for_function("(place) => location.hash === place", arg=place)
        shown.wait_for_function(
            "(place) => { const box = document.querySelector(place).getBoundingClientRect();"
            " return box.height > 0 && box.top < innerHeight && box.bottom > 0; }",
            arg=place,
        )


def test_an_address_that_is_no_address_breaks_nothing(opened, file):
    shown = opened(file)
    for mark in ("#%E0%A4%A", "#nowhere", "#leaves"):
        shown.evaluate("(mark) => { location.hash = mark; }", mark)
    assert shown.locator(".theme").is_visible()
    assert shown.evaluate("document.querySelector('#leaves').getBoundingClientRect().top") < 100


def test_the_card_is_in_sight_of_every_node_and_the_twin_is_brought_into_view(opened, file):
    shown = opened(file)
    nodes = shown.locator("#three_neurons .pair svg").first.locator(".node")
    for k in (0, nodes.count() // 2, nodes.count() - 1):
        nodes.nth(k).focus()
        card = shown.locator("#three_neurons .told").bounding_box()
        assert 0 < card["y"] < 900 - card["height"] + 1
    # Every twin that is drawn out of sight is brought in: some drawing has to move for that.
    moved = "[...document.querySelectorAll('#three_neurons .scroll')].map((place) => place.scrollLeft)"
    before = shown.evaluate(moved)
    for k in range(nodes.count()):
        nodes.nth(k).focus()
        for twin in lit(shown):
            in_sight(shown, twin)
    assert shown.evaluate(moved) != before


def in_sight(shown, twin):
    assert shown.evaluate(
        "(name) => { const node = document.getElementById(name).getBoundingClientRect();"
        " const place = document.getElementById(name).closest('.scroll').getBoundingClientRect();"
        " return node.left >= place.left - 1 && node.right <= place.right + 1; }",
        twin,
    )


def test_every_fold_opens_and_closes_by_the_keyboard(opened, file):
    shown = opened(file)
    unfold(shown)  # what is within a closed one cannot be reached
    for fold in shown.locator("details > summary").all()[::-1]:  # the inner ones first
        fold.focus()
        fold.press("Enter")
        assert fold.evaluate("(summary) => summary.parentElement.open") is False
    for fold in shown.locator("main > section > details > summary").all():
        fold.focus()
        fold.press("Space")
        assert fold.evaluate("(summary) => summary.parentElement.open") is True


def test_the_tab_key_visits_everything_in_order_and_each_drawing_once(opened, file):
    shown = opened(file)
    order = (
        "[...document.querySelectorAll('a, summary, button, [tabindex=\"0\"]')]"
        ".filter((e) => e.checkVisibility())"
    )
    shown.add_style_tag(content="section { content-visibility: visible !important }")
    shown.wait_for_function("document.querySelectorAll('pre:not([tabindex])').length > 10")
    count = shown.evaluate(f"{order}.length")
    assert count < 300
    visited = []
    for _ in range(count):
        shown.keyboard.press("Tab")
        visited.append(shown.evaluate(f"{order}.indexOf(document.activeElement)"))
    assert visited == list(range(count))
    assert shown.locator("#three_neurons svg .node[tabindex='0']").count() == 2


def lit(shown):
    return shown.evaluate("[...document.querySelectorAll('.lit')].map((node) => node.id)")


def test_a_node_that_is_pointed_at_or_focused_says_what_it_holds_and_lights_its_twin(opened, file):
    shown = opened(file)
    nodes = shown.locator("#chain_rule .pair svg").first.locator(".node")
    assert nodes.count() == 6
    for k, node in enumerate(nodes.all()):
        if k % 2:
            node.hover()
        else:
            node.focus()
        twins = node.get_attribute("data-twins").split()
        assert lit(shown) == twins
        assert len(twins) == 1
        assert shown.locator("#chain_rule .told").text_content() == node.get_attribute("aria-label")
    assert "gradient [1.]" in shown.locator("#chain_rule .told").text_content()


def test_the_arrows_go_from_node_to_node(opened, file):
    shown = opened(file)
    nodes = shown.locator("#chain_rule .pair svg").first.locator(".node")
    nodes.first.focus()
    for key, k in [
        ("ArrowRight", 1),
        ("ArrowDown", 2),
        ("ArrowLeft", 1),
        ("End", 5),
        ("ArrowRight", 5),
        ("Home", 0),
    ]:
        shown.keyboard.press(key)
        assert shown.evaluate("document.activeElement.id") == nodes.nth(k).get_attribute("id")


def test_a_node_without_a_twin_is_dashed_and_says_why(opened, file):
    shown = opened(file)
    alone = shown.locator("#sine_network .pair svg").last.locator(".node.alone:has(rect)")
    assert alone.count() > 3
    assert (
        alone.first.locator("rect").evaluate("(frame) => getComputedStyle(frame).strokeDasharray") != "none"
    )
    assert "no twin: a part of" in alone.first.get_attribute("aria-label")


def test_a_node_that_stands_for_several_opens_by_a_click_and_by_the_keyboard(
    opened, run, monkeypatch, tmp_path
):
    monkeypatch.setattr(lesson, "NODES", 20)
    records = tuple(r for r in run.records if r.scenario == "three_neurons")
    page = RENDERERS["html"](
        replace(run, records=records), (), None, {"three_neurons": lesson.gather("three_neurons")}
    )
    (tmp_path / "page.html").write_bytes(page)
    shown = opened(tmp_path / "page.html")
    first, second = shown.locator(".pair svg").first.locator(".node.several").all()[:2]
    first.click()
    second.focus()
    second.press("Enter")
    for node in (first, second):
        inside = shown.locator(f"[id='{node.get_attribute('id')}-inside']")
        assert inside.get_attribute("open") is not None
    assert shown.evaluate("document.activeElement.id").startswith(second.get_attribute("id") + "-")
    here = shown.locator(".node.here")
    while not here.get_attribute("data-twins"):  # what comes from outside has none
        shown.keyboard.press("ArrowRight")
    assert lit(shown) == here.get_attribute("data-twins").split()


def test_the_colours_can_be_turned_round_whatever_the_system_prefers(opened, file):
    shown = opened(file)
    paper = "getComputedStyle(document.body).backgroundColor"
    light = shown.evaluate(paper)
    shown.get_by_role("button", name="light / dark").press("Enter")
    assert shown.evaluate(paper) != light
    shown.get_by_role("button", name="light / dark").press("Enter")
    assert shown.evaluate(paper) == light


def test_printed_it_is_all_there_unfolded(opened, file):
    shown = opened(file)
    hidden = (
        "[...document.querySelectorAll('details > :not(summary)')]"
        ".filter((part) => !part.checkVisibility()).length"
    )
    assert shown.evaluate(hidden) > 20
    answers = shown.locator(".predict details > :not(summary)").count()
    shown.emulate_media(media="print")
    shown.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert shown.evaluate(hidden) == answers > 20  # which stay folded: a handout
    shown.evaluate("dispatchEvent(new Event('afterprint'))")
    shown.emulate_media(media="screen")
    assert shown.evaluate(hidden) > 20


def test_hostile_names_and_messages_are_shown_as_text_and_break_no_layout(opened, run, tmp_path):
    record = next(r for r in run.records if r.scenario == "chain_rule")
    evil = "<script>alert(1)</script>" + "y" * 10_000
    text = encode(record).decode().replace('"a"', json.dumps(evil)).replace("P = ", evil)
    text = text.replace('"scenario":"chain_rule"', f'"scenario":{json.dumps(evil)}')
    failure = json.dumps({"side": "functional", "message": evil, "traceback": evil})
    raised = text.replace('"failure":null', f'"failure":{failure}')
    assert raised != text
    records = tuple(decode(t.encode(), Record, "here") for t in (text, raised))
    (tmp_path / "page.html").write_bytes(RENDERERS["html"](replace(run, records=records)))
    for width in WIDTHS:
        shown = opened(tmp_path / "page.html", width)
        unfold(shown)
        assert shown.get_by_text("<script>alert(1)</script>").count() > 3
        assert shown.evaluate("document.documentElement.scrollWidth") <= width
