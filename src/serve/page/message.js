// One message of the transcript: its element, and how it changes while an answer grows.
import { copyText, duration, el, figures, iconButton, plural, shortName } from "./dom.js";
import { render } from "./markdown.js";

// `actions`: {edit(node, text), regenerate(node), show(node), answerCall(node, call, text)}; `place`: {siblings, isLast, busy, live}.
export class Message {
  constructor(node, place, actions) {
    this.node = node;
    this.actions = actions;
    this.place = place;
    this.body = el("div", { class: node.role === "assistant" ? "body prose" : "body" });
    this.head = el("div");
    this.foot = el("div", { class: "message-foot" });
    const speaker = { user: "You", tool: "Result of the tool" }[node.role] ?? (node.stats?.model ? shortName(node.stats.model) : "Answer");
    this.element = el("article", { class: `message ${node.role}`, "aria-label": speaker, "data-id": node.id },
      this.head, this.body, this.foot);
    this.update(place.live);
  }

  // Shows the node as it is now; `live`: more is to come.
  update(live) {
    const { node } = this;
    if (node.role !== "assistant") {
      this.body.textContent = node.content;
    } else {
      this.updateReasoning(live);
      render(this.body, node.content);
      this.updateCalls(live);
      this.waiting?.remove();
      if (live && !node.content && !node.reasoning) {
        this.waiting ??= el("span", { class: "waiting", "aria-hidden": "true" });
        this.body.append(this.waiting);
      }
    }
    if (live) this.updateStats();
    else this.updateFoot();
  }

  updateReasoning(live) {
    const { node } = this;
    if (!node.reasoning) return;
    if (!this.reasoning) {
      this.thought = el("div", { class: "prose" });
      this.reasoningTitle = el("summary");
      this.reasoning = el("details", { class: "reasoning" }, this.reasoningTitle, this.thought);
      this.head.append(this.reasoning);
      this.reasoning.addEventListener("toggle", () => render(this.thought, this.node.reasoning));
    }
    const thinking = live && !node.content && !node.calls?.length;
    this.reasoning.toggleAttribute("data-live", thinking);
    const seconds = node.stats?.reasoningSeconds;
    this.reasoningTitle.textContent = thinking ? "Reasoning" : seconds > 1 ? `Reasoned for ${duration(seconds)}` : "Reasoning";
    if (this.reasoning.open) render(this.thought, node.reasoning);
  }

  updateCalls(live) {
    const { node } = this;
    if (!node.calls?.length) return;
    this.calls ??= this.body.parentElement.insertBefore(el("div"), this.foot);
    while (this.calls.children.length > node.calls.length) this.calls.lastChild.remove();
    node.calls.forEach((call, i) => {
      const text = prettyJson(call.arguments);
      const known = this.calls.children[i];
      if (known) {
        known.querySelector("code").textContent = call.name;
        known.querySelector("pre").textContent = text;
      } else {
        this.calls.append(el("details", { class: "call", open: true },
          el("summary", {}, "Calls ", el("code", {}, call.name)), el("pre", {}, text)));
      }
    });
    if (!live && this.place.isLast && !this.place.busy) this.askForResults();
  }

  // The page runs no tools: the reader says what a call gave.
  askForResults() {
    if (this.element.querySelector("form")) return;
    const areas = this.node.calls.map((call) => el("textarea", { rows: 2, "aria-label": `Result of ${call.name}` }));
    const form = el("form", { class: "result", onsubmit: (event) => {
      event.preventDefault();
      this.actions.answerCalls(this.node, areas.map((area) => area.value));
    } });
    areas.forEach((area, i) => form.append(el("label", {}, `Result of ${this.node.calls[i].name}`, area)));
    form.append(el("div", { class: "buttons" }, el("button", { type: "submit" }, "Send to the model")));
    this.element.append(form);
  }

  updateStats() {
    this.stats ??= this.foot.appendChild(el("span", { class: "stats" }));
    this.stats.textContent = statsLine(this.node);
  }

  updateFoot() {
    const { node, place, actions } = this;
    this.stats = null;
    this.foot.replaceChildren();
    if (node.problem) {
      this.foot.before(this.problem ??= el("div", { class: "failure", role: "alert" }, el("strong", {}, "No answer. "), node.problem));
    }
    if (node.role === "assistant") {
      if (node.stats) this.updateStats();
      if (node.finish === "length") this.foot.append(el("span", { class: "note" }, "Cut off at the token limit. "));
    }
    if (place.siblings.length > 1 && !place.busy) this.foot.append(this.versions());
    if (node.content) {
      const copy = iconButton("copy", "Copy", () => copyText(node.content, copy));
      this.foot.append(copy);
    }
    if (place.busy) return;  // one answer at a time
    if (node.role === "assistant") {
      this.foot.append(iconButton("again", "Answer again", () => actions.regenerate(node)));
    } else if (node.role === "user") {
      this.foot.append(iconButton("edit", "Edit", () => this.edit()));
    }
  }

  versions() {
    const { siblings } = this.place;
    const at = siblings.indexOf(this.node);
    const step = (name, label, to) => {
      const button = iconButton(name, label, () => this.actions.show(siblings[to]));
      button.disabled = to < 0 || to >= siblings.length;
      return button;
    };
    return el("span", { class: "versions", role: "group", "aria-label": "Versions" },
      step("left", "Version before", at - 1), `${at + 1}/${siblings.length}`, step("right", "Version after", at + 1));
  }

  // Turns the message into a field; saving asks the model again from here.
  edit() {
    if (this.element.querySelector("form.edit")) return;
    const area = el("textarea", { "aria-label": "Edit the message", rows: Math.min(12, this.node.content.split("\n").length + 1) });
    area.value = this.node.content;
    const close = () => {
      form.replaceWith(this.body);
      this.foot.hidden = false;
      this.foot.querySelector("button:last-child").focus();
    };
    const save = () => (area.value.trim() && area.value !== this.node.content ? this.actions.edit(this.node, area.value) : close());
    const form = el("form", { class: "edit", onsubmit: (event) => { event.preventDefault(); save(); } }, area,
      el("div", { class: "buttons" },
        el("button", { type: "button", onclick: close }, "Cancel"),
        el("button", { type: "submit", class: "primary" }, "Save and send")));
    area.addEventListener("keydown", (event) => {
      if (event.key === "Escape") { event.stopPropagation(); close(); }
      if (event.key === "Enter" && !event.shiftKey && !event.isComposing) { event.preventDefault(); save(); }
    });
    this.body.replaceWith(form);
    this.foot.hidden = true;
    area.focus();
  }
}

// "octavo-tiny · 128 tokens · 412 tok/s · first token after 23 ms"
export function statsLine({ stats, finish }) {
  if (!stats) return "";
  const parts = [shortName(stats.model ?? ""), plural(stats.tokens ?? 0, "token")];
  if (stats.rate) parts.push(`${figures(stats.rate)}\u00a0tok/s`);
  if (stats.firstToken) parts.push(`first token ${duration(stats.firstToken)}`);
  if (finish === "stopped") parts.push("stopped");
  return parts.filter(Boolean).join(" · ");
}

function prettyJson(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;  // not whole yet
  }
}
