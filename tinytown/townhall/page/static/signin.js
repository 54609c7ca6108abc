// Who comes in: by a key, or by the code of a one-time link that `tt web` prints (behind the #, which no server sees).

import { request } from "/page/api.js";
import { explained } from "/page/ask.js";
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
    submit.disabled = true;
    try {
      await request("POST", "/session", { key: key.value }, { quiet: true });
      dialog.close();
      onIn();
    } catch (refused) {
      outcome.replaceChildren(...explained(refused));
      key.select();
    } finally {
      submit.disabled = false;
    }
  });
  dialog.addEventListener("cancel", (event) => event.preventDefault(), { once: false });
  dialog.replaceChildren(form);
  dialog.showModal();
  key.focus();
}
