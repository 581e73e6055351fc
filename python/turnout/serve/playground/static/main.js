// The page: a prompt is typed, every router scores it, and the chosen one explains and answers.

import * as api from "./api.js";
import { Chat } from "./chat.js";
import { Dial } from "./dial.js";
import { byId, html } from "./dom.js";
import { Live } from "./live.js";
import { Pool } from "./pool.js";
import { Routers } from "./routers.js";
import * as why from "./why.js";

/** Routers of microseconds are asked while typing, others when it pauses: they may cost money or a second. */
const FAST_MS = 80;
const SLOW_MS = 700;
const EXPLAIN_MS = 250;
const SAY_MS = 900;
const LONGEST_RETRY_MS = 10_000;
const TYPED_LIMIT = 100_000;

const EXAMPLES = [
  ["Small talk", "Hi! How was your day?"],
  ["A sum", "What is 17 + 25?"],
  ["A proof", "Prove that there are infinitely many primes, then prove it a second way that uses no contradiction."],
  ["Code", "Write a lock-free queue in Rust for one producer and many consumers, and argue why no item is lost."],
  ["A choice", "Which of these is a noble gas?\nA. nitrogen\nB. argon\nC. chlorine\nD. oxygen\nAnswer:"],
];

const alertLine = byId("alert");

function tellAlert(text) {
  alertLine.hidden = !text;
  if (alertLine.textContent !== text) alertLine.textContent = text;
}

function status(state, text) {
  const line = byId("status");
  line.dataset.state = state;
  if (line.textContent !== text) line.textContent = text;
}

/** Tells a failure; one of the connection is over when the connection is back, another one when its request succeeds. */
function failed(failure, isOfConnection = failure.kind === "gone") {
  alertLine.dataset.of = isOfConnection ? "connection" : "request";
  if (failure.kind === "key") {
    byId("key").hidden = false;
    status("gone", "needs a key");
  } else if (failure.kind === "gone") {
    status("gone", "server gone");
    tellAlert("The server does not answer. Trying again; what you typed stays.");
  } else if (failure.kind === "overloaded") {
    tellAlert(`The server is busy: ${failure.message}. Try again in a moment.`);
  } else {
    tellAlert(failure.message);
  }
}

function recovered() {
  status("here", "connected");
  if (alertLine.dataset.of === "connection") tellAlert("");
  byId("key").hidden = true;
}

const pause = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));

/** Runs `work` once typing has paused for a while; what is under way is aborted, and its answer dropped. */
class Latest {
  #timer = 0;
  #running = null;

  ask(wait, work) {
    clearTimeout(this.#timer);
    this.#running?.abort();
    const running = new AbortController();
    this.#running = running;
    this.#timer = setTimeout(async () => {
      try {
        await work(running.signal, () => running === this.#running);
      } catch (failure) {
        if (failure.name !== "AbortError" && running === this.#running) failed(failure);
      }
    }, wait);
  }
}

class Page {
  constructor(setup) {
    this.setup = setup;
    this.prompt = byId("prompt");
    this.fast = new Latest();
    this.slow = new Latest();
    this.explaining = new Latest();
    this.ranking = new Latest();
    this.saying = 0;
    // The chat goes through the dial that was moved last.
    this.chat = new Chat(byId("chat"), setup.pair, () => (this.target ?? this.dial ?? this.pool).model.textContent, failed);
    if (setup.pair) {
      for (const part of ["routers", "why-section", "dial-section"]) byId(part).hidden = false;
      this.routers = new Routers(byId("routers"), setup.routers, setup.pair, (router) => this.choose(router));
      this.dial = new Dial(byId("dial"), setup.pair, (threshold) => this.moved(threshold));
    }
    if (setup.pools.length) {
      byId("pool-section").hidden = false;
      this.pool = new Pool(byId("pool"), setup.pools, () => this.aimed());
      this.pool.show(null);
    }
    this.prompt.maxLength = TYPED_LIMIT;
    this.prompt.addEventListener("input", () => this.typed());
    byId("pair").textContent = setup.pair ? `${setup.pair.strong.name} or ${setup.pair.weak.name}` : `one of ${setup.pools[0].models.length} models`;
    byId("version").textContent = `turnout ${setup.version}`;
    byId("examples").replaceChildren(...EXAMPLES.map(([name, text]) => html("button", { type: "button", class: "quiet", onclick: () => this.fill(text) }, name)));
    if (setup.pair) this.choose(setup.routers[0]);
    else this.chat.retarget();
    this.prompt.focus({ preventScroll: true });
    this.typed();
  }

  fill(text) {
    this.prompt.value = text;
    this.typed();
  }

  choose(router) {
    this.router = router;
    this.target = this.dial;
    this.routers.choose(router.name);
    this.dial.show(router, this.routers.threshold(router.name));
    this.chat.retarget();
    this.explain();
  }

  moved(threshold) {
    this.target = this.dial;
    this.routers.setThreshold(this.router.name, threshold);
    this.chat.retarget();
    this.say();
  }

  /** The pool's dial was moved, by hand or at the start. */
  aimed() {
    if (!this.pool) return;
    this.target = this.pool;
    this.chat.retarget();
    this.rank();
  }

  typed() {
    const routers = (isFast) => this.setup.routers.filter((router) => router.is_microseconds === isFast).map((router) => router.name);
    this.score(this.fast, FAST_MS, routers(true));
    this.score(this.slow, SLOW_MS, routers(false));
    this.explain();
    this.rank();
  }

  rank() {
    const { pool, prompt: { value: prompt } } = this;
    if (!pool) return;
    this.ranking.ask(prompt ? (pool.pool.is_microseconds ? FAST_MS : SLOW_MS) : 0, async (signal, isLatest) => {
      try {
        const found = prompt ? await api.route(pool.question(prompt), signal) : null;
        if (isLatest()) pool.show(found);
      } catch (failure) {
        // What no model may serve, or the router refuses, is about the prompt and not about the page.
        if (failure.kind !== "request") throw failure;
        if (isLatest()) pool.fail(failure.message);
      }
      this.say();
    });
  }

  score(latest, wait, names) {
    const prompt = this.prompt.value;
    if (!names.length) return;
    latest.ask(prompt ? wait : 0, async (signal, isLatest) => {
      const found = prompt ? await api.scores(prompt, names, signal) : {};
      if (!isLatest()) return;
      for (const name of names) this.routers.show(name, found[name] ?? null);
      if (prompt) tellAlert("");
      this.say();
    });
  }

  explain() {
    if (!this.router) return;
    const [prompt, router, box] = [this.prompt.value, this.router, byId("why")];
    this.explaining.ask(router.is_microseconds ? EXPLAIN_MS : SLOW_MS, async (signal, isLatest) => {
      if (!router.explains) why.hint(box, `Router ${router.name} has no explanations.`);
      else if (!prompt.trim()) why.hint(box, "Type a prompt: its words, tokens and what they add stand here.");
      else {
        try {
          const found = await api.explain(prompt, router.name, signal);
          if (isLatest()) why.show(box, router.name, found);
        } catch (failure) {
          if (failure.kind !== "request") throw failure;
          if (isLatest()) why.hint(box, failure.message, true);
        }
      }
    });
  }

  say() {
    clearTimeout(this.saying);
    this.saying = setTimeout(() => (byId("said").textContent = [this.routers?.said, this.pool?.said].filter(Boolean).join(" ")), SAY_MS);
  }
}

async function connect() {
  for (let wait = 500; ; wait = Math.min(wait * 2, LONGEST_RETRY_MS)) {
    try {
      return await api.setup();
    } catch (failure) {
      failed(failure, true);
      if (failure.kind === "key") await keyGiven();
      else await pause(wait);
    }
  }
}

function keyGiven() {
  return new Promise((done) => {
    const value = byId("key-value");
    byId("key").onsubmit = (event) => {
      event.preventDefault();
      api.useKey(value.value);
      value.value = "";
      done();
    };
    value.focus();
  });
}

async function watch(live, page) {
  for (let wait = 500; ; wait = Math.min(wait * 2, LONGEST_RETRY_MS)) {
    try {
      let isFirst = true;
      for await (const event of api.decisions()) {
        live.take(event, isFirst);
        if (isFirst) {
          recovered();
          // What was asked while the server was gone is asked again.
          if (wait > 500) page.typed();
          isFirst = false;
          wait = 500;
        }
      }
      failed(new api.Failure("gone", "The server ended the connection."));
    } catch (failure) {
      failed(failure, true);
      if (failure.kind === "key") await keyGiven();
    }
    await pause(wait);
  }
}

const setup = await connect();
recovered();
watch(new Live(byId("live")), new Page(setup));
