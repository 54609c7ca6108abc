// Elements out of words. All text goes through `clean` and textContent: nothing that an agent prints is markup.

const ESCAPES = new RegExp(
  [
    "\\u001b\\[[0-?]*[ -/]*[@-~]", // CSI: colours, cursor
    "\\u001b\\][^\\u0007\\u001b]*(?:\\u0007|\\u001b\\\\)?", // OSC: titles, links
    "\\u001b[PX^_][^\\u001b]*(?:\\u001b\\\\)?", // DCS, SOS, PM, APC
    "\\u001b[ -/]*[0-~]?",
    "[\\u0000-\\u0008\\u000b-\\u001f\\u007f-\\u009f]", // other controls; tab and line end stay
    "[\\u200e\\u200f\\u202a-\\u202e\\u2066-\\u2069]", // what turns the direction of text around
  ].join("|"),
  "g",
);

export const byId = (id) => document.getElementById(id);

// Text without what moves a terminal or turns a line around.
export function clean(text) {
  return String(text ?? "").replace(ESCAPES, "");
}

// An element: attributes by name, `on` for listeners, then children (nodes or text; null is left out).
export function h(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "on") for (const [type, listener] of Object.entries(value)) node.addEventListener(type, listener);
    else if (value === true) node.setAttribute(name, "");
    else if (value !== null && value !== undefined && value !== false) node.setAttribute(name, value);
  }
  for (const child of children.flat()) {
    if (child !== null && child !== undefined && child !== false) node.append(child.nodeType ? child : clean(child));
  }
  return node;
}

// Set text only where it differs: an unchanged node costs no layout.
export function say(node, text) {
  const said = clean(text);
  if (node.textContent !== said) node.textContent = said;
}

export function attribute(node, name, value) {
  if (value === null || value === undefined || value === false) {
    if (node.hasAttribute(name)) node.removeAttribute(name);
  } else if (node.getAttribute(name) !== String(value)) node.setAttribute(name, value);
}

// Make the children of `parent` these rows in this order; `known` maps ids to elements and is kept between calls.
export function reconcile(parent, rows, known, make, update) {
  const wanted = new Set();
  let place = parent.firstElementChild;
  for (const row of rows) {
    wanted.add(row.id);
    let node = known.get(row.id);
    if (!node) known.set(row.id, (node = make(row)));
    update(node, row);
    if (node === place) place = place.nextElementSibling;
    else move(parent, node, place);
  }
  for (const [id, node] of known) {
    if (!wanted.has(id)) {
      remove(node);
      known.delete(id);
    }
  }
}

const FOCUSABLE = "button, input, select, textarea, summary, a[href], [tabindex]";
const PLACE = "#drawer-title, section[tabindex]"; // what can take the focus when all in it is gone
const inside = (node) => (node ? [...node.querySelectorAll(FOCUSABLE)].find((one) => one.checkVisibility()) : null);
const placeOf = (node) => node.closest(".drawer")?.querySelector(PLACE) ?? node.closest(PLACE);

// Take a node out; the focus that is in it goes to its neighbour, or to the part of the page that it was in.
export function remove(node) {
  const isHeld = node.contains(document.activeElement);
  const heir = isHeld && (inside(node.nextElementSibling) ?? inside(node.previousElementSibling) ?? placeOf(node));
  node.remove();
  if (heir) heir.focus({ preventScroll: true });
}

// Show or hide; the focus that is in what is hidden goes to the part of the page that it was in.
export function hide(node, is) {
  const isHeld = is && node.contains(document.activeElement);
  node.hidden = is;
  if (isHeld) (placeOf(node) ?? byId("needs")).focus({ preventScroll: true });
}

const nameOf = (node) => [node.id, node.dataset.action, node.dataset.item, node.getAttribute("aria-label") ?? node.textContent].join("|");

// Other children; the focus that was in one of the old goes to the one of the same name, or to the first.
export function renew(parent, ...children) {
  const held = parent.contains(document.activeElement) ? nameOf(document.activeElement) : null;
  parent.replaceChildren(...children);
  if (held === null) return;
  const same = [...parent.querySelectorAll(FOCUSABLE)].find((node) => nameOf(node) === held);
  (same ?? inside(parent) ?? placeOf(parent))?.focus({ preventScroll: true });
}

// Call it when something opens; what it returns, when that has closed: the focus goes back to where it was, or near it.
export function wayBack() {
  const from = document.activeElement;
  const near = [from.closest(".buttons"), from.closest("[data-need], .drawer, .mission"), from.closest("section[tabindex]")];
  return () => {
    if (document.activeElement !== document.body && document.activeElement.checkVisibility()) return;
    const ways = [from, ...near.map((node) => node?.isConnected && (inside(node) ?? node))];
    for (const node of ways) {
      node?.focus?.({ preventScroll: true });
      if (node && document.activeElement === node) return;
    }
    byId("needs").focus({ preventScroll: true });
  };
}

// A node that is moved loses the focus that is in it; here it keeps it.
function move(parent, node, before) {
  const focused = node.isConnected && node.contains(document.activeElement) ? document.activeElement : null;
  parent.insertBefore(node, before);
  focused?.focus({ preventScroll: true });
}

// Text that can be copied with one click.
export function command(text) {
  const button = h("button", { type: "button", class: "copy", "aria-label": `Copy: ${clean(text)}` }, "Copy");
  button.addEventListener("click", async (event) => {
    event.stopPropagation();
    say(button, (await copy(clean(text))) ? "Copied" : "Not copied");
    setTimeout(() => say(button, "Copy"), 1500);
  });
  return h("span", { class: "command" }, h("code", {}, text), button);
}

// What would help: words, and each command in them, which can be copied.
export function helps(text) {
  const ways = String(text).split(", or ").map(helped);
  return ways.length > 1 ? h("span", { class: "ways" }, ways.flatMap((way, n) => (n ? [" or ", way] : [way]))) : ways[0];
}

function helped(text) {
  const [, words, line] = /^((?:[^:]*: )?)((?:tt|townhall|kill) .*)$/s.exec(text) ?? [null, text, null];
  return line ? h("span", {}, words, command(line)) : words;
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return false; // no clipboard outside of https and localhost
  }
}
