// Requests to the town hall. Every failure is a Problem: what went wrong, and what helps.

export class Problem extends Error {
  constructor(status, detail, remedy = null) {
    super(detail);
    this.status = status;
    this.remedy = remedy;
  }
}

// Writes that were sent and not answered: whoever presses again asks for the same, once.
const unanswered = new Map();

function keyOf(what) {
  const fresh = () => Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
  if (!unanswered.has(what)) unanswered.set(what, fresh());
  return unanswered.get(what);
}

const signedOut = new EventTarget();
export const onSignedOut = (listener) => signedOut.addEventListener("out", listener);

// The JSON that is answered. Throws Problem; status 0 when the town hall does not answer.
export async function request(method, path, body, { signal, quiet = false } = {}) {
  const options = { method, signal, credentials: "same-origin", cache: "no-store", headers: { Accept: "application/json" } };
  if (body !== undefined) {
    options.body = JSON.stringify(body);
    options.headers["Content-Type"] = "application/json";
  }
  const what = `${method} ${path} ${options.body ?? ""}`;
  if (method !== "GET" && path.startsWith("/v1/")) options.headers["Idempotency-Key"] = keyOf(what);
  let response;
  try {
    response = await fetch(path, options);
    unanswered.delete(what);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(0, "The town hall does not answer.", "Is it running? Start it: townhall");
  }
  const text = await response.text();
  let answer = null;
  try {
    answer = text ? JSON.parse(text) : null;
  } catch {
    if (response.ok) throw new Problem(response.status, "The town hall's answer cannot be read.");
  }
  if (response.ok) return answer;
  if (response.status === 401 && !quiet) signedOut.dispatchEvent(new Event("out"));
  throw new Problem(response.status, answer?.detail ?? `The town hall answered ${response.status}.`, answer?.remedy ?? null);
}

export const path = (strings, ...parts) =>
  strings.reduce((made, piece, n) => made + piece + (n < parts.length ? encodeURIComponent(parts[n]) : ""), "");
