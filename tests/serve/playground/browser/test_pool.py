"""The pool of the page in a real browser: all models ranked as a prompt is typed, and the dial between cost and quality."""

from __future__ import annotations

import re

import pytest

import turnout

pytest.importorskip("playwright.sync_api", reason="needs Playwright: `make test-browser` installs it")

from playwright.sync_api import expect
from tests.serve.playground.site import POOL

PROMPT = "Prove that there are infinitely many primes."
MODELS = {
    "expert": {"like": "gpt-4-1106-preview", "input_price": 10, "output_price": 30},
    "allround": {"like": "mixtral-8x7b-instruct-v0.1", "input_price": 0.6, "output_price": 0.6},
    "quick": {"success": 0.35, "input_price": 0.05, "output_price": 0.1, "context_window": 2000},
}


@pytest.fixture(scope="module")
def ranked():
    """The models of a pool for a prompt, as the router ranks them."""
    router = turnout.load(pool=turnout.Pool.from_dict({"models": MODELS}))
    return lambda prompt, **objective: router.rank(prompt, **objective)


def rows(page):
    return page.locator("#pool-models tbody tr")


def test_all_models_are_ranked_as_a_prompt_is_typed(start_site, open_page, ranked):
    page = open_page(start_site(more=POOL).url)
    expect(rows(page)).to_have_count(3)
    page.get_by_role("textbox", name="Prompt").fill(PROMPT)
    expected = ranked(PROMPT, target=0.7)
    expect(page.locator("#pool-verdict .verdict")).to_have_text(expected[0].model)
    expect(rows(page).locator("th")).to_have_text([one.model for one in expected])
    for row, one in enumerate(expected):
        expect(rows(page).nth(row)).to_contain_text(f"{one.success:.3f}")
        expect(rows(page).nth(row)).to_contain_text(f"{one.success_low:.3f} to {one.success_high:.3f}")
    expect(rows(page).nth(0)).to_have_attribute("aria-current", "true")
    expect(page.locator("#pool-models")).to_contain_text("10 / 30")


def test_the_dial_goes_from_quality_to_cost(start_site, open_page, ranked):
    page = open_page(start_site(more=POOL).url)
    page.get_by_role("textbox", name="Prompt").fill(PROMPT)
    dial = page.locator("#pool-dial")
    dial.fill("0.3")
    expect(page.locator("#pool-model-name")).to_have_text("router-mf-target-0.3")
    expect(page.locator("#pool-verdict .verdict")).to_have_text("quick")
    page.get_by_role("radio", name="Weigh cost against failure").check()
    dial.fill("1")
    expect(page.locator("#pool-model-name")).to_have_text("router-mf-error-cost-10")
    expect(page.locator("#pool-verdict .verdict")).to_have_text(ranked(PROMPT, error_cost=10)[0].model)
    expect(page.locator("#pool-verdict")).to_contain_text("least expected cost + 10 x P(failure)")


def test_a_model_that_may_not_serve_the_prompt_has_its_reason(start_site, open_page):
    page = open_page(start_site(more=POOL).url)
    page.get_by_role("textbox", name="Prompt").fill("many words " * 1500)
    quick = rows(page).filter(has_text="quick")
    expect(quick).to_contain_text(re.compile("exceed its context window of 2000"))
    expect(quick).to_have_class("excluded")


def test_without_a_pair_the_page_is_about_the_pool(start_site, open_page):
    page = open_page(start_site(more=POOL, pair="").url)
    expect(page.get_by_role("heading", name="Models of the pool")).to_be_visible()
    expect(page.get_by_role("heading", name="Threshold")).to_be_hidden()
    expect(page.locator("#routers")).to_be_hidden()
    page.locator("#pool-dial").fill("0.3")
    page.get_by_role("textbox", name="Message").fill(PROMPT)
    page.get_by_role("button", name="Send").click()
    expect(page.locator(".said.answer")).to_contain_text("I am quick")
    expect(page.locator(".said.answer")).to_contain_text("cheapest model with P(success) >= 0.3")
    expect(page.locator("#live tbody tr")).to_contain_text("quick")
    expect(page.locator("#live")).to_contain_text("100 % to quick")
