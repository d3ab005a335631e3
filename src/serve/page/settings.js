// The settings dialog, and the settings that new conversations begin with.
import { key } from "./api.js";
import { byId, el } from "./dom.js";

const DEFAULTS = "octavo.defaults";

// As in the API; the placeholder is the server’s own value.
const FIELDS = [
  { name: "temperature", label: "Temperature", min: 0, max: 2, step: 0.05 },
  { name: "top_p", label: "Top-p", min: 0.01, max: 1, step: 0.01 },
  { name: "top_k", label: "Top-k", min: 0, step: 1 },
  { name: "min_p", label: "Min-p", min: 0, max: 1, step: 0.01 },
  { name: "max_tokens", label: "Most tokens", min: 1, step: 1 },
  { name: "seed", label: "Seed", step: 1 },
  { name: "repetition_penalty", label: "Repetition penalty", min: 0.01, max: 2, step: 0.01 },
  { name: "presence_penalty", label: "Presence penalty", min: -2, max: 2, step: 0.1 },
  { name: "frequency_penalty", label: "Frequency penalty", min: -2, max: 2, step: 0.1 },
];

export function defaults() {
  try {
    return { system: "", sampling: {}, tools: "", ...JSON.parse(localStorage.getItem(DEFAULTS) ?? "{}") };
  } catch {
    return { system: "", sampling: {}, tools: "" };
  }
}

export class Settings {
  // `changed()`: the conversation or the key has other settings now.
  constructor(changed) {
    this.changed = changed;
    for (const { name, label, ...limits } of FIELDS) {
      byId("sampling").append(el("label", { class: "field" }, label,
        el("input", { id: `s-${name}`, type: "number", inputmode: "decimal", ...limits })));
    }
    byId("sampling").after(el("label", { class: "field wide-field" }, "Stop at, one text a line", el("textarea", { id: "s-stop", rows: "2" })));
    const form = byId("settings").querySelector("form");
    form.addEventListener("submit", (event) => { if (!this.take()) event.preventDefault(); });
    byId("settings-reset").addEventListener("click", () => this.fill({ system: "", sampling: {}, tools: "" }));
  }

  open(conversation, serverDefaults) {
    this.conversation = conversation;
    for (const { name } of FIELDS) {
      const value = serverDefaults?.[name];
      byId(`s-${name}`).placeholder = name === "max_tokens" ? "no limit" : value ?? (name === "seed" ? "random" : "");
    }
    this.fill(conversation);
    byId("settings-key").value = key.get();
    byId("settings").showModal();
  }

  fill({ system, sampling, tools }) {
    byId("system").value = system;
    byId("tools").value = tools;
    for (const { name } of FIELDS) byId(`s-${name}`).value = sampling[name] ?? "";
    byId("s-stop").value = (sampling.stop ?? []).join("\n");
    this.complain("");
  }

  complain(text) {
    byId("settings-problem").textContent = text;
    byId("settings-problem").hidden = !text;
  }

  // Takes the fields over; false, with the reason shown, if one is wrong.
  take() {
    const tools = byId("tools").value.trim();
    const problem = toolsProblem(tools);
    byId("tools").setAttribute("aria-invalid", String(problem !== ""));
    this.complain(problem);
    if (problem) {
      byId("tools").closest("details").open = true;
      byId("tools").focus();
      return false;
    }
    const sampling = {};
    for (const { name } of FIELDS) {
      const text = byId(`s-${name}`).value;
      if (text !== "") sampling[name] = Number(text);
    }
    const stop = byId("s-stop").value.split("\n").filter((line) => line !== "");
    if (stop.length) sampling.stop = stop;
    const settings = { system: byId("system").value, sampling, tools };
    Object.assign(this.conversation, structuredClone(settings));
    localStorage.setItem(DEFAULTS, JSON.stringify(settings));
    key.set(byId("settings-key").value.trim());
    this.changed();
    return true;
  }
}

function toolsProblem(text) {
  if (!text) return "";
  try {
    const tools = JSON.parse(text);
    const fine = Array.isArray(tools) && tools.every((tool) => tool?.type === "function" && tool.function?.name);
    return fine ? "" : 'Tools are a list like [{"type": "function", "function": {"name": …}}].';
  } catch (error) {
    return `The tools are not JSON: ${error.message}`;
  }
}
