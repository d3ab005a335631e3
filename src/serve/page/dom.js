// Elements without markup: every text goes in as text, which is why nothing a model writes can run.

// el("p", {class: "note", onclick: f}, "text", child): properties that begin with `on` are listeners, the others attributes;
// false and null leave an attribute out.
export function el(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== false && value != null) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child != null));
  return element;
}

export const byId = (id) => document.getElementById(id);

// A symbol of index.html.
export function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  use.setAttribute("href", `#i-${name}`);
  svg.append(use);
  return svg;
}

export function iconButton(name, label, onclick) {
  return el("button", { type: "button", class: "icon", "aria-label": label, title: label, onclick }, icon(name));
}

// Copies, and shows on the button for a moment that it did.
export async function copyText(text, button) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // No clipboard outside https and localhost: the old way, which needs a selection.
    const area = el("textarea", { class: "unseen", "aria-hidden": "true" });
    area.value = text;
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
    button.focus();
  }
  const before = [...button.childNodes];
  button.replaceChildren(button.classList.contains("icon") ? icon("check") : "Copied");
  setTimeout(() => button.replaceChildren(...before), 1200);
}

// A line at the bottom for some seconds, with perhaps one thing to do about it.
export function toast(text, action, run) {
  const line = el("div", { class: "toast" }, text);
  if (action) line.append(el("button", { type: "button", onclick: () => { run(); line.remove(); } }, action));
  byId("toasts").append(line);
  setTimeout(() => line.remove(), action ? 8000 : 4000);
}

// A model served from a folder is called by its path; the folder's own name is what a person wants to read.
export const shortName = (model) => (/^[./~]/.test(model) ? model.replace(/\/+$/, "").split("/").pop() : model);

const separators = new Intl.NumberFormat("en");
export const count = (n) => separators.format(n);
export const plural = (n, one) => `${count(n)}\u00a0${one}${n === 1 ? "" : "s"}`;
// Three figures: 0.42, 7.31, 123, 4,560.
export const figures = (n) => (n >= 100 ? count(Math.round(n)) : n >= 10 ? n.toFixed(1) : n.toFixed(2));
export function duration(seconds) {
  if (seconds < 0.01) return `${(seconds * 1000).toFixed(1)}\u00a0ms`;
  if (seconds < 1) return `${Math.round(seconds * 1000)}\u00a0ms`;
  return seconds < 60 ? `${seconds.toFixed(1)}\u00a0s` : `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s`;
}
export function bytes(n) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  for (; n >= 1024 && unit < units.length - 1; ++unit) n /= 1024;
  return `${unit && n < 100 ? n.toFixed(1) : Math.round(n)}\u00a0${units[unit]}`;
}
