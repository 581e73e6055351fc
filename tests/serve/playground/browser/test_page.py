"""The page in a real browser, as people use it."""

from __future__ import annotations

import json
import re
import threading
from contextlib import contextmanager, suppress
from hashlib import sha256
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from shutil import copytree

import pytest
from scripted_upstream import refuse

import turnout
from turnout.router import DEFAULT_ARTIFACT

pytest.importorskip("playwright.sync_api", reason="needs Playwright: `make test-browser` installs it")

from playwright.sync_api import expect

PROMPT = "Prove that there are infinitely many primes."


@pytest.fixture(scope="module")
def mf():
    return turnout.load()


def prompt_box(page):
    return page.get_by_role("textbox", name="Prompt")


def message_box(page):
    return page.get_by_role("textbox", name="Message")


def card(page, name):
    return page.locator(".card", has=page.get_by_role("radio", name=name))


@contextmanager
def prefix_proxy(target, prefix):
    """A proxy that takes a prefix off, as nginx's ``location /turnout/ { proxy_pass http://target/; }`` does."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            if not self.path.startswith(f"{prefix}/"):
                self.send_error(404)
                return
            headers = {name: value for name, value in self.headers.items() if name.lower() != "host"}
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            connection = HTTPConnection(target.removeprefix("http://"))
            connection.request(self.command, self.path.removeprefix(prefix), body, headers)
            answer = connection.getresponse()
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in ("connection", "transfer-encoding", "content-length"):
                    self.send_header(name, value)
            self.end_headers()
            with suppress(ConnectionError):
                while part := answer.read1(65536):
                    self.wfile.write(part)
            connection.close()

        do_POST = do_GET  # noqa: N815

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as proxy:
        threading.Thread(target=proxy.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{proxy.server_port}"
        proxy.shutdown()


def say(page, text):
    message_box(page).fill(text)
    message_box(page).press("Enter")


def test_every_router_is_scored_while_typing(page, mf):
    prompt_box(page).press_sequentially(PROMPT, delay=5)
    expect(card(page, "mf").locator(".value")).to_have_text(f"{mf.win_rate(PROMPT):.3f}")
    side = "strong: large-model" if mf.route(PROMPT).is_strong else "weak: small-model"
    expect(card(page, "mf").locator(".verdict")).to_have_text(side)
    expect(card(page, "random").locator(".value")).to_have_text(re.compile(r"^0\.\d{3}$"))
    expect(card(page, "mf")).to_contain_text(re.compile(r"Higher than \d+ % of calibration prompts"))
    expect(card(page, "mf").get_by_role("img")).to_have_accessible_name(
        re.compile(rf"Calibration scores from .*this prompt {mf.win_rate(PROMPT):.3f}")
    )
    expect(page.locator("#said")).to_contain_text(f"mf: win rate {mf.win_rate(PROMPT):.3f}")
    prompt_box(page).fill("")
    expect(card(page, "mf").locator(".value")).to_have_text("–")


def test_typing_is_debounced_and_stale_answers_are_dropped(page, mf):
    asked = []

    def late_if_first(route):
        asked.append(route.request.post_data_json["prompt"])
        if len(asked) == 1:
            held.append(route)
        else:
            route.continue_()

    held = []
    page.route("**/playground/api/scores", late_if_first)
    prompt_box(page).fill("first")
    page.wait_for_timeout(300)
    assert asked == ["first"]
    prompt_box(page).press_sequentially(" and a second much longer prompt", delay=1)
    last = "first and a second much longer prompt"
    expect(card(page, "mf").locator(".value")).to_have_text(f"{mf.win_rate(last):.3f}")
    held[0].continue_()
    page.wait_for_timeout(300)
    expect(card(page, "mf").locator(".value")).to_have_text(f"{mf.win_rate(last):.3f}")
    assert asked[-1] == last
    assert len(asked) < len(last) / 2


def test_the_slider_moves_share_threshold_model_name_and_verdict(page, mf):
    prompt_box(page).fill(PROMPT)
    share = page.get_by_role("slider", name="Share of prompts")
    threshold = page.get_by_role("slider", name="Threshold")
    quantiles = mf.manifest["thresholds"]["quantiles"]
    share.fill("20")
    expect(page.locator("output[for=share]")).to_have_text("20 %")
    expect(page.locator("output[for=threshold]")).to_have_text(f"{quantiles[80]:.3f}")
    expect(page.locator("#model-name")).to_have_text(f"router-mf-{round(quantiles[80], 4)}")
    expect(page.locator(".tiles")).to_contain_text("20 %")
    expect(page.locator(".tiles")).to_contain_text("$1.86")  # 20 % of $7.50 and 80 % of $0.45
    threshold.fill("0")
    expect(page.locator("output[for=share]")).to_have_text("100 %")
    expect(card(page, "mf").locator(".verdict")).to_have_text("strong: large-model")
    threshold.fill("1")
    expect(page.locator("output[for=share]")).to_have_text("0 %")
    expect(card(page, "mf").locator(".verdict")).to_have_text("weak: small-model")
    expect(threshold).to_have_attribute("aria-valuetext", "1.000")
    # The ends of the share are exact, as in the core.
    for value, expected in (("100", "0.000"), ("0", "1.000")):
        share.fill(value)
        expect(page.locator("output[for=threshold]")).to_have_text(expected)


def test_another_router_can_be_chosen(page):
    page.get_by_role("radio", name="random").check()
    expect(page.locator("#model-name")).to_have_text("router-random-0.5")
    expect(page.locator("#why")).to_contain_text("random has no explanations")
    page.get_by_role("slider", name="Share of prompts").fill("30")
    expect(page.locator("#model-name")).to_have_text("router-random-0.7")


def test_a_missing_evaluation_is_told(page):
    expect(page.locator("#dial")).to_contain_text("No expected quality")


def test_an_evaluation_beside_the_artifact_gives_expected_quality(open_page, start_site, tmp_path):
    folder = tmp_path / "artifact"
    copytree(DEFAULT_ARTIFACT, folder)
    artifact_hash = turnout.load(folder).artifact_hash
    tables = [
        {
            "table": name,
            "prompts": 100,
            "strong": "big",
            "weak": "small",
            "strong_quality": {"value": 0.8},
            "weak_quality": {"value": low},
            "routers": {"mf": {"curve": {"shares": [0.0, 0.5, 1.0], "quality": [low, 0.7, 0.8]}}},
        }
        for name, low in (("sums", 0.4), ("proofs", 0.6))
    ]
    document = {"facts": {"artifact mf": artifact_hash}, "tables": tables}
    (folder / "evaluation.json").write_text(json.dumps(document), encoding="utf-8")
    page = open_page(start_site(folder).url)
    page.get_by_role("slider", name="Share of prompts").fill("50")
    expect(page.locator(".tiles")).to_contain_text("75 % of the gap")
    expect(page.locator("#dial").get_by_role("img")).to_have_accessible_name(re.compile("0.400 with none"))
    page.get_by_label("Measured on").select_option(label="proofs: big and small")
    expect(page.locator(".tiles")).to_contain_text("50 % of the gap")


def test_words_tokens_and_numbers_behind_a_win_rate(page, mf):
    prompt_box(page).fill(PROMPT)
    words = page.locator("#why .word")
    expect(words).to_have_count(len(PROMPT.split()))
    expect(page.locator("#why")).to_contain_text(f"win rate of {mf.win_rate(PROMPT):.3f}")
    page.get_by_text(re.compile(r"^Tokens")).click()
    expect(page.locator("#why .tokens li")).to_have_text(mf.explain(PROMPT).tokens)
    page.get_by_text("Stages and numbers").click()
    expect(page.locator("#why")).to_contain_text(mf.artifact_hash[:12])


def test_markup_in_prompts_models_and_answers_stays_text(page, upstream):
    from scripted_upstream import event

    markup = "<img src=x onerror=document.title='owned'><script>document.title='owned'</script>"

    async def hostile(exchange):
        await exchange.begin_stream()
        await exchange.chunk(event({"content": markup}))
        await exchange.chunk(event({}, finish="stop") + b"data: [DONE]\n\n")
        await exchange.chunk(b"")

    upstream.default = hostile
    prompt_box(page).fill(markup)
    expect(page.locator("#why .words")).to_contain_text("onerror")
    say(page, markup)
    expect(page.locator(".said.answer .text")).to_have_text(markup)
    assert page.locator("main img, main script").count() == 0
    assert page.title() == "turnout playground"


def test_a_chat_streams_and_tells_the_model_of_each_message(page, upstream):
    from scripted_upstream import event

    page.get_by_role("slider", name="Threshold").fill("0")

    async def slow(exchange):
        await exchange.begin_stream()
        await exchange.chunk(event({"content": "first "}))
        await release.wait()
        await exchange.chunk(event({"content": "second"}))
        await exchange.chunk(event({}, finish="stop") + b"data: [DONE]\n\n")
        await exchange.chunk(b"")

    import asyncio

    release = asyncio.Event()
    upstream.default = slow
    say(page, "Hello!")
    answer = page.locator(".said.answer").last
    expect(answer.locator(".text")).to_have_text("first ")
    expect(answer).to_have_attribute("aria-busy", "true")
    upstream._loop.call_soon_threadsafe(release.set)
    expect(answer.locator(".text")).to_have_text("first second")
    expect(answer.locator(".verdict")).to_have_text("strong: large-model")
    page.get_by_role("slider", name="Threshold").fill("1")
    say(page, "And now?")
    answer = page.locator(".said.answer").last
    expect(answer.locator(".verdict")).to_have_text("weak: small-model")
    expect(answer.locator(".text")).to_have_text("first second")
    assert upstream.models == ["large-model", "small-model"]
    roles = [message["role"] for message in upstream.requests[-1].json["messages"]]
    assert roles == ["user", "assistant", "user"]


def test_stop_ends_the_call_at_the_upstream(page, upstream):
    from scripted_upstream import event

    async def endless(exchange):
        await exchange.begin_stream()
        await exchange.chunk(event({"content": "on "}))
        await exchange.is_gone.wait()

    upstream.default = endless
    say(page, "Hello!")
    expect(page.locator(".said.answer .text")).to_have_text("on ")
    page.get_by_role("button", name="Stop").click()
    expect(page.locator(".said.answer")).to_contain_text("Stopped.")
    expect(page.get_by_role("button", name="Send")).to_be_visible()
    for _ in range(100):
        if upstream.gone:
            break
        page.wait_for_timeout(50)
    assert upstream.gone


@pytest.mark.parametrize(
    ("status", "headers", "words"),
    [
        (500, {}, "scripted 500"),
        (502, {}, "The model's endpoint failed."),
        (429, {"retry_after": "7"}, "Too many requests right now."),
        (400, {}, "The server refused the request."),
    ],
)
def test_errors_of_the_upstream_are_told_and_can_be_tried_again(open_page, site, upstream, status, headers, words):
    from scripted_upstream import answer, refuse

    page = open_page(site.url, expects_errors=True)
    page.wait_for_selector("#status[data-state=here]")
    upstream.default = refuse(status, **headers)
    say(page, "Hello!")
    failed = page.locator(".said.failed")
    expect(failed.get_by_role("alert")).to_contain_text(words)
    if headers:
        expect(failed).to_contain_text("wait 7 s")
    upstream.default = answer
    failed.get_by_role("button", name="Try again").click()
    expect(page.locator(".said.answer .text")).to_have_text(re.compile("^I am (large|small)-model$"))
    expect(page.locator(".said.failed")).to_have_count(0)


def test_a_stream_that_breaks_keeps_what_came_and_says_so(open_page, site, upstream):
    from scripted_upstream import event

    async def broken(exchange):
        await exchange.begin_stream()
        await exchange.chunk(event({"content": "half an"}))
        exchange.abort()

    page = open_page(site.url, expects_errors=True)
    page.wait_for_selector("#status[data-state=here]")
    upstream.default = broken
    say(page, "Hello!")
    expect(page.locator(".said.failed .text")).to_have_text("half an")
    expect(page.locator(".said.failed").get_by_role("alert")).to_contain_text("The model's endpoint failed.")


def test_a_server_that_goes_is_told_and_found_again(open_page, site, mf):
    page = open_page(site.url, expects_errors=True)
    page.wait_for_selector("#status[data-state=here]")
    site.stop()
    expect(page.locator("#status")).to_have_text("server gone")
    expect(page.locator("#alert")).to_contain_text("does not answer")
    prompt_box(page).fill(PROMPT)
    say(page, "Hello!")
    expect(page.locator(".said.failed").get_by_role("alert")).to_contain_text("The server is gone.")
    site.start()
    expect(page.locator("#status")).to_have_text("connected", timeout=30_000)
    expect(page.locator("#alert")).to_be_hidden()
    expect(prompt_box(page)).to_have_value(PROMPT)
    expect(card(page, "mf").locator(".value")).to_have_text(f"{mf.win_rate(PROMPT):.3f}")


def test_an_overloaded_server_is_told(open_page, site):
    page = open_page(site.url, expects_errors=True)
    page.wait_for_selector("#status[data-state=here]")
    body = json.dumps({"error": {"message": "too many requests in flight"}})
    page.route(
        "**/playground/api/scores", lambda route: route.fulfill(status=429, headers={"retry-after": "1"}, body=body)
    )
    prompt_box(page).fill(PROMPT)
    expect(page.get_by_role("alert").first).to_contain_text("The server is busy: too many requests in flight")
    page.unroute("**/playground/api/scores")
    prompt_box(page).fill(PROMPT + " ")
    expect(page.locator("#alert")).to_be_hidden()


def test_live_decisions_appear_as_clients_make_them(page, upstream, site):
    import httpx

    for threshold in (0.0, 1.0, 0.0, 0.0):
        body = {"model": f"router-mf-{threshold}", "messages": [{"role": "user", "content": "Hi"}]}
        assert httpx.post(f"{site.url}/v1/chat/completions", json=body, trust_env=False).status_code == 200
    rows = page.locator("#live tbody tr")
    expect(rows).to_have_count(4)
    expect(rows.first).to_contain_text("large-model")
    expect(page.locator("#live")).to_contain_text("4 decisions since the start; 75 % of the last 4")
    expect(page.locator("#live").get_by_role("img")).to_have_accessible_name(re.compile("now 75 %"))


def test_everything_can_be_done_with_the_keyboard(page, upstream, mf):
    page.keyboard.type(PROMPT)  # The prompt has the focus from the start.
    expect(card(page, "mf").locator(".value")).to_have_text(f"{mf.win_rate(PROMPT):.3f}")
    seen = []
    for _ in range(40):
        page.keyboard.press("Tab")
        seen.append(
            page.evaluate(
                "document.activeElement.id || document.activeElement.value || document.activeElement.textContent"
            )
        )
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline != "none", seen[-1]
        if seen[-1] == "share":
            before = page.locator("output[for=share]").inner_text()
            page.keyboard.press("ArrowLeft")
            expect(page.locator("output[for=share]")).not_to_have_text(before)
        if seen[-1] == "message":
            break
    order = [seen.index(one) for one in ("mf", "share", "threshold", "message")]
    assert order == sorted(order)
    page.keyboard.type("Hello!")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("Again")
    page.keyboard.press("Enter")
    expect(page.locator(".said.user .text")).to_have_text("Hello!\nAgain")
    expect(page.locator(".said.answer .text")).to_have_text(re.compile("^I am"))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_contrast_in_light_and_dark(open_page, site, scheme):
    page = open_page(site.url, color_scheme=scheme)
    page.wait_for_selector("#status[data-state=here]")
    prompt_box(page).fill(PROMPT)
    page.wait_for_selector("#why .word")
    say(page, "Hello!")
    page.wait_for_selector(".said.answer .verdict")
    # WCAG 2.2, contrast (minimum): 4.5 to 1.
    poor = page.evaluate(
        """() => {
          const channels = (color) => {
            const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
            canvas.fillStyle = color;
            canvas.fillRect(0, 0, 1, 1);
            return canvas.getImageData(0, 0, 1, 1).data;
          };
          const luminance = (color) => {
            const linear = [...channels(color)].slice(0, 3).map((c) => c / 255).map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
            return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
          };
          const ground = (element) => {
            for (let one = element; one; one = one.parentElement) {
              const color = getComputedStyle(one).backgroundColor;
              if (channels(color)[3] === 255) return color;
            }
            return getComputedStyle(document.body).backgroundColor;
          };
          return [...document.querySelectorAll("body *")]
            .filter((one) => [...one.childNodes].some((child) => child.nodeType === 3 && child.textContent.trim()) && one.getClientRects().length && !one.closest(".unseen, .skip, .word"))
            .map((one) => {
              const color = one instanceof SVGElement ? getComputedStyle(one).fill : getComputedStyle(one).color;
              const [a, b] = [luminance(color), luminance(ground(one))].sort((p, q) => q - p);
              return [one.textContent.slice(0, 30), (a + 0.05) / (b + 0.05)];
            })
            .filter(([, ratio]) => ratio < 4.5);
        }"""
    )
    assert poor == []
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", ground)[:3])) < 200) == (scheme == "dark")


def test_every_control_has_a_name(page):
    prompt_box(page).fill(PROMPT)
    page.wait_for_selector("#why .word")
    for role in ("button", "slider", "textbox", "radio", "img", "region", "log"):
        for element in page.get_by_role(role).all():
            expect(element).to_have_accessible_name(re.compile(r"\S"))


def test_the_live_view_shows_the_model_that_answered(page, upstream, site):
    import httpx

    upstream.by_model["large-model"] = refuse(500)
    body = {"model": "router-mf-0.0", "messages": [{"role": "user", "content": "Hi"}]}
    assert httpx.post(f"{site.url}/v1/chat/completions", json=body, trust_env=False).status_code == 200
    row = page.locator("#live tbody tr")
    expect(row.locator(".verdict")).to_have_text("small-model")
    expect(row.locator(".verdict")).to_have_attribute("data-side", "weak")
    expect(row).to_contain_text("for large-model (500)")
    expect(row).to_have_count(1)
    expect(page.locator("#live")).to_contain_text("100 % of the last 1")


def test_the_page_works_under_a_prefix_of_a_proxy(open_page, site):
    with prefix_proxy(site.url, "/turnout") as url:
        page = open_page(f"{url}/turnout/")
        page.wait_for_selector("#status[data-state=here]")
        prompt_box(page).fill("Prove it.")
        page.wait_for_selector("#why .word")
        say(page, "Hello")
        page.wait_for_selector(".said.answer .verdict")
        expect(page.locator("#live tbody tr")).to_have_count(1)


@pytest.mark.parametrize("width", [390, 1280])
def test_heads_stand_over_their_columns_and_columns_are_within_the_page(open_page, site, width):
    page = open_page(site.url)
    page.set_viewport_size({"width": width, "height": 900})
    page.wait_for_selector("#status[data-state=here]")
    say(page, "Hello")
    page.wait_for_selector(".said.answer .verdict")
    prompt_box(page).fill("Prove it.")
    page.wait_for_selector("#why .word")
    page.evaluate("document.querySelectorAll('#why details').forEach((one) => (one.open = true))")
    # Of each table: where text begins, or ends in columns of numbers, in the head and in the first row.
    edges = page.evaluate(
        """() => [...document.querySelectorAll("table")].map((table) => ["thead tr", "tbody tr"].map((row) =>
            [...table.querySelector(row).children].filter((cell) => cell.offsetWidth).map((cell) => {
                const range = document.createRange();
                range.selectNodeContents(cell);
                const [text, box] = [range.getBoundingClientRect(), cell.getBoundingClientRect()];
                return [box.left, box.right, cell.classList.contains("number") ? box.right - text.right < 10 : text.left - box.left < 20];
            })))"""
    )
    assert len(edges) == 3
    for head, row in edges:
        assert [cell[:2] for cell in head] == [cell[:2] for cell in row]
        assert all(is_at_edge for *_, is_at_edge in head + row)
        assert row[-1][1] <= width
    is_scrolled = page.evaluate(
        "[...document.querySelectorAll('.scroll')].map((one) => one.scrollWidth > one.clientWidth)"
    )
    assert not any(is_scrolled)


def test_labels_of_the_axis_are_clear_of_the_marker(page):
    prompt_box(page).fill("Hello")
    page.wait_for_selector("#why .word")
    overlaps = page.evaluate(
        """() => [...document.querySelectorAll("#routers svg")].flatMap((chart) => {
            const marker = chart.querySelector("path.dot").getBoundingClientRect();
            return [...chart.querySelectorAll("text")].filter((text) => {
                const box = text.getBoundingClientRect();
                return box.top < marker.bottom && box.bottom > marker.top;
            }).map((text) => text.textContent);
        })"""
    )
    assert overlaps == []


def test_a_narrow_window_does_not_scroll_sideways(open_page, site):
    page = open_page(site.url)
    page.set_viewport_size({"width": 360, "height": 740})
    page.wait_for_selector("#status[data-state=here]")
    prompt_box(page).fill("x" * 300)
    say(page, "y" * 300)
    page.wait_for_selector(".said.answer .verdict")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_a_server_with_keys_asks_for_one(open_page, start_site, tmp_path):
    keys = tmp_path / "keys"
    keys.write_text(f"me:{sha256(b'open-sesame').hexdigest()}\n", encoding="utf-8")
    page = open_page(start_site(server=f'client_keys_file = "{keys}"').url, expects_errors=True)
    box = page.get_by_label("API key of this server")
    box.fill("wrong")
    with page.expect_response("**/playground/api/setup"):
        box.press("Enter")
    expect(box).to_be_visible()
    box.fill("open-sesame")
    page.get_by_role("button", name="Use this key").click()
    expect(page.locator("#status")).to_have_text("connected")
    expect(box).to_be_hidden()
    say(page, "Hello!")
    expect(page.locator(".said.answer .text")).to_have_text(re.compile("^I am"))
