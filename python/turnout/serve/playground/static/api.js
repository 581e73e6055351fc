// Everything that goes over the wire, and every way it can fail: `Failure.kind` is what a person can act on.

export class Failure extends Error {
  /** @param {"gone"|"key"|"overloaded"|"upstream"|"request"|"server"} kind */
  constructor(kind, message, retryAfter = null) {
    super(message);
    this.kind = kind;
    this.retryAfter = retryAfter;
  }
}

let key = "";

export function useKey(value) {
  key = value.trim();
}

/** Paths are relative to the page, which may lie under a prefix of a proxy. */
async function send(path, options) {
  const headers = { ...options.headers, ...(key ? { authorization: `Bearer ${key}` } : {}) };
  let answer;
  try {
    answer = await fetch(path, { ...options, headers, cache: "no-store" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Failure("gone", "The server does not answer.");
  }
  if (!answer.ok) throw await failure(answer);
  return answer;
}

async function failure(answer) {
  let message = `The server answered ${answer.status}.`;
  try {
    message = (await answer.json()).error.message ?? message;
  } catch {
    // No JSON: the status has to do.
  }
  const seconds = Number.parseFloat(answer.headers.get("retry-after") ?? "");
  const retryAfter = Number.isFinite(seconds) ? Math.min(Math.max(seconds, 0.5), 60) : null;
  return new Failure(kindOf(answer.status), message, retryAfter);
}

function kindOf(status) {
  if (status === 401 || status === 403) return "key";
  if (status === 429 || status === 503) return "overloaded";
  if (status === 502 || status === 504) return "upstream";
  return status < 500 ? "request" : "server";
}

const json = (path, body, signal) =>
  send(path, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body), signal });

export const setup = async () => (await send("playground/api/setup", {})).json();
export const scores = async (prompt, routers, signal) => (await (await json("playground/api/scores", { prompt, routers }, signal)).json()).scores;
export const explain = async (prompt, router, signal) => (await json("playground/api/explain", { prompt, router }, signal)).json();

/** The decision of a pool with all its models, as every client may ask for it. */
export const route = async (question, signal) => (await (await json("v1/route", question, signal)).json()).decisions[0];

/** Values of the server-sent events in an answer. */
async function* events(answer) {
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let waiting = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      waiting += value;
      const parts = waiting.split(/\r?\n\r?\n/);
      waiting = parts.pop();
      for (const part of parts) {
        const lines = part.split(/\r?\n/).filter((line) => line.startsWith("data:"));
        if (lines.length) yield lines.map((line) => line.slice(5).trimStart()).join("\n");
      }
    }
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Failure("gone", "The connection broke.");
  } finally {
    reader.cancel().catch(() => {});
  }
}

/** Decisions as they are made, and again when their answers have ended: `{count, decisions}`. Ends when the server does. */
export async function* decisions() {
  for await (const data of events(await send("playground/api/decisions", {}))) yield JSON.parse(data);
}

/** A chat: first `{route}` with what was decided, then `{text}` piece by piece. */
export async function* chat(model, messages, signal) {
  const answer = await json("v1/chat/completions", { model, messages, stream: true }, signal);
  const header = (name) => answer.headers.get(`x-turnout-${name}`);
  yield { route: { model: decoded(header("model")), winRate: number(header("win-rate")), threshold: number(header("threshold")), success: number(header("success")), reason: header("reason"), fallback: decoded(header("fallback")) } };
  let ended = false;
  for await (const data of events(answer)) {
    if (data === "[DONE]") return;
    const found = JSON.parse(data);
    if (found.error) throw new Failure("upstream", found.error.message ?? "The upstream failed.");
    const choice = found.choices?.[0];
    if (choice?.delta?.content) yield { text: choice.delta.content };
    ended = ended || Boolean(choice?.finish_reason);
  }
  if (!ended) throw new Failure("upstream", "The answer was cut short.");
}

const number = (text) => (text === null ? null : Number.parseFloat(text));

function decoded(text) {
  try {
    return text === null ? null : decodeURIComponent(text);
  } catch {
    return text;
  }
}
