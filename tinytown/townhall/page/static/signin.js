// Who comes in: by a key, or by the code of a one-time link that `tt web` prints (behind the #, which no server sees).

import { request } from "/page/api.js";
import { explained, failed } from "/page/ask.js";
import { byId, command, h } from "/page/dom.js";

// Sign in with the code of the address, if there is one. Returns the problem, or null.
export async function byLink() {
  const code = new URLSearchParams(location.hash.slice(1)).get("code");
  if (!code) return null;
  history.replaceState(null, "", location.pathname); // used up: it is not to stay in the history
  try {
    await request("POST", "/session", { code }, { quiet: true });
    return null;
  } catch (problem) {
    return problem;
  }
}

// Ask for a key until one is taken.
export function ask(onIn, problem = null) {
  const dialog = byId("signin");
  if (dialog.open) return;
  const key = h("input", { type: "password", id: "signin-key", required: true, autocomplete: "current-password" });
  const outcome = h("div", { class: "outcome", role: "alert" }, problem ? explained(problem) : []);
  const submit = h("button", { type: "submit", class: "main" }, "Sign in");
  const form = h("form", { method: "dialog" }, h("h2", { id: "signin-title" }, "Sign in to this town"),
    h("p", {}, "With a key of this town, or by the link that ", command("tt web"), " prints on its machine."),
    h("p", {}, h("label", { for: "signin-key" }, "Key"), key), outcome, h("p", { class: "buttons" }, submit));
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    try {
      await request("POST", "/session", { key: key.value }, { quiet: true });
      dialog.onclose = null;
      dialog.close();
      onIn();
    } catch (refused) {
      outcome.replaceChildren(...explained(refused));
      key.select();
    }
  });
  const show = () => {
    dialog.showModal();
    key.focus();
  };
  dialog.oncancel = (event) => event.preventDefault();
  dialog.onclose = show; // a browser closes it at a second Escape, whatever the page says
  dialog.replaceChildren(form);
  show();
}

// Who is signed in can sign out; nobody is where the town hall asks for nothing.
export async function offerLeave() {
  const out = byId("signout");
  if (out.onclick) return;
  const seen = await request("GET", "/session", undefined, { quiet: true }).catch(() => null);
  if (!seen || out.onclick) return;
  const { mode, principal } = seen;
  out.hidden = mode === "none";
  out.title = `Signed in: ${principal}`;
  out.onclick = async () => {
    try {
      await request("DELETE", "/session", undefined, { quiet: true });
      location.reload(); // nothing of the town stays on the screen
    } catch (problem) {
      failed(problem);
    }
  };
}
