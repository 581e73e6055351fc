// A conversation through the routed model; each answer says who gave it.

import * as api from "./api.js";
import { html } from "./dom.js";
import { rate } from "./numbers.js";

const TELL = {
  gone: "The server is gone.",
  key: "The server asks for a key.",
  overloaded: "Too many requests right now.",
  upstream: "The model's endpoint failed.",
  request: "The server refused the request.",
  server: "The server failed.",
};

export class Chat {
  /** @param {() => string} modelName  @param {(failure: Error) => void} failed */
  constructor(container, pair, modelName, failed) {
    this.pair = pair;
    this.modelName = modelName;
    this.failed = failed;
    this.messages = [];
    this.stopping = null;
    this.log = html("div", { class: "log", role: "log", "aria-label": "Conversation", tabindex: 0 });
    this.through = html("p", { class: "hint" });
    this.box = html("textarea", { id: "message", rows: 2, placeholder: "Say something", "aria-describedby": "chat-keys", onkeydown: (event) => this.#key(event) });
    this.button = html("button", { type: "button", onclick: () => (this.stopping ? this.stopping.abort() : this.#say()) }, "Send");
    this.clear = html("button", { type: "button", class: "quiet", onclick: () => this.#clear() }, "New chat");
    this.#clear();
    container.replaceChildren(
      this.through,
      this.log,
      html("label", { for: "message", class: "unseen" }, "Message"),
      this.box,
      html("div", { class: "row" }, this.button, this.clear, html("span", { id: "chat-keys", class: "hint" }, "Enter sends, Shift+Enter breaks the line.")),
    );
  }

  /** Tells which model name the next message goes to. */
  retarget() {
    this.through.replaceChildren("Through ", html("code", {}, this.modelName()));
  }

  #key(event) {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      if (!this.stopping) this.#say();
    }
  }

  #clear() {
    this.stopping?.abort();
    this.messages = [];
    this.log.replaceChildren(html("p", { class: "hint" }, this.pair ? `Each message is routed by itself, to ${this.pair.strong.name} or ${this.pair.weak.name}.` : "Each message is routed by itself, to a model of the pool."));
    this.box.focus({ preventScroll: true });
  }

  #say() {
    const text = this.box.value.trim();
    if (!text) return;
    this.box.value = "";
    if (!this.messages.length) this.log.replaceChildren();
    this.messages.push({ role: "user", content: text });
    this.log.append(html("article", { class: "said user" }, html("h3", {}, "You"), html("p", { class: "text" }, text)));
    this.#ask();
  }

  async #ask() {
    const conversation = this.messages;
    const badge = html("h3", {}, "routing …");
    const text = html("p", { class: "text" });
    const article = html("article", { class: "said answer", "aria-busy": "true" }, badge, text);
    this.log.append(article);
    this.#follow();
    this.stopping = new AbortController();
    this.button.textContent = "Stop";
    let content = "";
    try {
      for await (const part of api.chat(this.modelName(), [...conversation], this.stopping.signal)) {
        if (part.route) badge.replaceChildren(...this.#badge(part.route));
        if (part.text) {
          content += part.text;
          text.append(part.text);
          this.#follow();
        }
      }
      conversation.push({ role: "assistant", content });
    } catch (failure) {
      if (failure.name === "AbortError") {
        article.append(html("p", { class: "hint" }, "Stopped."));
        if (content) conversation.push({ role: "assistant", content });
        else conversation.pop();
      } else {
        this.#fail(article, badge, failure, conversation, content);
      }
    } finally {
      article.removeAttribute("aria-busy");
      this.stopping = null;
      this.button.textContent = "Send";
      this.#follow();
    }
  }

  #fail(article, badge, failure, conversation, content) {
    if (!content) badge.textContent = "No answer";
    const wait = failure.retryAfter ? ` It asks to wait ${failure.retryAfter} s.` : "";
    const again = html("button", { type: "button", class: "quiet", onclick: () => {
      if (this.stopping || conversation !== this.messages || conversation.at(-1)?.role !== "user") return;
      article.remove();
      this.#ask();
    } }, "Try again");
    article.append(html("div", { class: "error", role: "alert" }, html("p", {}, html("strong", {}, TELL[failure.kind] ?? "Something failed."), ` ${failure.message}${wait}`), again));
    article.classList.add("failed");
    this.failed(failure);
  }

  #badge(route) {
    const side = route.winRate === null ? "" : route.model === this.pair?.strong.name ? "strong" : route.model === this.pair?.weak.name ? "weak" : "";
    const parts = [html("span", { class: "verdict", "data-side": side }, side ? `${side}: ${route.model}` : route.model ?? "a model that was not named")];
    if (route.winRate !== null) parts.push(html("span", { class: "hint" }, `win rate ${rate(route.winRate)}, threshold ${rate(route.threshold)}`));
    if (route.success !== null) parts.push(html("span", { class: "hint" }, `chance of success ${rate(route.success)}, ${route.reason}`));
    if (route.fallback) parts.push(html("span", { class: "hint error" }, `fallback: ${route.fallback}`));
    return parts;
  }

  #follow() {
    this.log.scrollTop = this.log.scrollHeight;
  }
}
