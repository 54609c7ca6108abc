// Doing something: its question in a dialog where one is needed, and what came of it, told in every case.

import { ACTIONS } from "/page/actions.js";
import { attribute, byId, h, helps, wayBack } from "/page/dom.js";

const SHOWN_MS = 8000;
let afterwards = () => {};
export const onDone = (listener) => (afterwards = listener);

// A button for an action on a target: {agent, task_id, mission_id, item_id, letter_id, message_ids, name}.
export function button(name, target, label = ACTIONS[name].label) {
  const action = ACTIONS[name];
  const node = h("button", { type: "button", class: action.danger ? "danger" : null, "data-action": name }, label);
  node.addEventListener("click", (event) => {
    event.stopPropagation();
    perform(name, target, node);
  });
  return node;
}

async function perform(name, target, node) {
  const action = ACTIONS[name];
  if (action.title) return ask(action, target);
  if (isBusy(node)) return;
  busy(node, true);
  try {
    told(action.done(await action.run(target, {})));
  } catch (problem) {
    failed(problem);
  } finally {
    busy(node, false);
  }
}

// A button that is disabled would lose the focus; this one only does nothing.
const isBusy = (node) => node.getAttribute("aria-disabled") === "true";
const busy = (node, is) => attribute(node, "aria-disabled", is);

function ask(action, target) {
  const dialog = byId("ask");
  const { field, choice } = action;
  const input = field && h(field.line ? "input" : "textarea", { id: "ask-field", required: field.required, rows: field.line ? null : 4, autocomplete: "off" });
  const check = choice && h("input", { type: "checkbox", id: "ask-choice" });
  const outcome = h("div", { class: "outcome", role: "alert" });
  const submit = h("button", { type: "submit", class: action.danger ? "danger" : "main" }, action.confirm);
  const leave = h("button", { type: "button", on: { click: () => dialog.close() } }, "Leave it");
  const form = h("form", { method: "dialog" },
    h("h2", { id: "ask-title" }, action.title(target)),
    action.text && h("p", {}, action.text),
    field && h("p", {}, h("label", { for: "ask-field" }, field.label), input),
    choice && h("p", { class: "check" }, check, h("label", { for: "ask-choice" }, choice.label)),
    outcome, h("p", { class: "buttons" }, submit, leave));
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (isBusy(submit)) return;
    busy(submit, true);
    outcome.replaceChildren();
    try {
      const given = { ...(field && { [field.name]: input.value }), ...(choice && { [choice.name]: check.checked }) };
      told(action.done(await action.run(target, given)));
      dialog.close();
    } catch (problem) {
      outcome.replaceChildren(...explained(problem));
      busy(submit, false);
    }
  });
  // In a text of several lines the Enter key makes a line; with Ctrl it sends.
  input?.addEventListener("keydown", (event) => event.key === "Enter" && (event.ctrlKey || event.metaKey) && form.requestSubmit());
  dialog.onclose = wayBack();
  dialog.replaceChildren(form);
  dialog.showModal();
  (input ?? (action.danger ? leave : submit)).focus(); // what cannot be undone is no slip of the Enter key
}

// Say what came of something; it goes by itself.
export function told(text) {
  toast(h("div", { class: "toast" }, h("p", {}, text)), false);
  afterwards();
}

// Say what went wrong and what helps; it stays until it is closed.
export function failed(problem) {
  toast(h("div", { class: "toast bad" }, ...explained(problem)), true);
}

export function explained(problem) {
  return [h("p", { class: "bad" }, `✕ ${problem.message}`), problem.remedy && h("p", {}, helps(problem.remedy))].filter(Boolean);
}

function toast(node, stays) {
  const shelf = byId("toasts");
  while (shelf.childElementCount > 3) drop(shelf.firstElementChild);
  shelf.append(node);
  if (stays) node.append(h("button", { type: "button", class: "close", on: { click: () => drop(node) } }, "Close"));
  else setTimeout(() => drop(node), SHOWN_MS);
}

// Whoever came to a message goes back to where they came from.
let before = null;
byId("toasts").addEventListener("focusin", ({ relatedTarget }) => relatedTarget?.closest("#toasts") || (before = relatedTarget));

function drop(node) {
  const isHeld = node.contains(document.activeElement);
  node.remove();
  if (!isHeld) return;
  before?.focus();
  if (document.activeElement === document.body) byId("needs").focus({ preventScroll: true });
}

// Take the last message away that stays until it is closed. Returns whether there was one.
export function dropLast() {
  const last = [...byId("toasts").querySelectorAll(".close")].at(-1);
  if (last) drop(last.parentNode);
  return Boolean(last);
}
