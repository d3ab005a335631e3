// The chat: the transcript of the current conversation, the composer, and the one answer that may be under way.
import { finish, hear, say } from "./announcer.js";
import { addNode, choose, newConversation, parentOf, path, siblings } from "./conversation.js";
import { byId, count, el, plural, shortName } from "./dom.js";
import { generate } from "./generation.js";
import { Message } from "./message.js";
import * as store from "./store.js";

const SAVE_EVERY_MS = 1000;  // while an answer grows

export class Chat {
  // `hooks`: {defaults() for a new conversation, changed(conversation) after a save, unauthorized()}.
  constructor(hooks) {
    this.hooks = hooks;
    this.models = [];
    this.about = null;
    this.running = null;  // {conversation, node, abort, forgotten}
    this.messages = [];
    this.conversation = newConversation(hooks.defaults());
    this.actions = {
      edit: (node, text) => this.send(text, parentOf(this.conversation, node)),
      regenerate: (node) => this.answer(parentOf(this.conversation, node)),
      show: (node) => { choose(this.conversation, node); this.save(); this.render(); },
      answerCalls: (node, results) => this.answerCalls(node, results),
    };
    this.listen();
  }

  listen() {
    const input = byId("input");
    byId("composer").addEventListener("submit", (event) => { event.preventDefault(); this.submit(); });
    byId("stop").addEventListener("click", () => this.stop());
    input.addEventListener("input", () => this.fitInput());
    input.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && !event.shiftKey && !event.isComposing) { event.preventDefault(); this.submit(); }
    });
    const scroller = byId("scroller");
    this.pinned = true;  // to the end
    scroller.addEventListener("scroll", () => {
      this.pinned = scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < 40;
      byId("to-end").hidden = this.pinned;
    }, { passive: true });
    byId("to-end").addEventListener("click", () => { this.pinned = true; this.follow(); });
    byId("title").addEventListener("change", (event) => {
      this.conversation.title = event.target.value.trim();
      this.conversation.named = this.conversation.title !== "";
      this.save();
    });
    byId("title").addEventListener("keydown", (event) => { if (event.key === "Enter") input.focus(); });
    byId("model").addEventListener("change", (event) => { this.conversation.model = event.target.value; });
  }

  // What /v1/models says; `about` is /engine/state's word on the model, or null.
  setModels(models, about) {
    this.models = models;
    this.about = about;
    byId("model").replaceChildren(...models.map(({ id }) => el("option", { value: id }, shortName(id))));
    byId("model").disabled = models.length < 2;
    byId("model").value = this.model();
    // A transcript stays as it is: its reader may have unfolded or begun to edit something.
    if (this.messages.length) this.showState();
    else this.render();
  }

  model() {
    const named = this.models.some(({ id }) => id === this.conversation.model);
    return named ? this.conversation.model : this.models[0]?.id ?? "";
  }

  open(conversation) {
    this.conversation = conversation;
    this.pinned = true;
    this.render();
  }

  startNew() {
    this.open(newConversation(this.hooks.defaults()));
    byId("input").focus();
  }

  busy() {
    return this.running?.conversation.id === this.conversation.id;
  }

  render() {
    const nodes = path(this.conversation);
    this.messages = nodes.map((node, i) => new Message(node, {
      siblings: siblings(this.conversation, node), isLast: i === nodes.length - 1, busy: this.busy(), live: this.busy() && node === this.running.node,
    }, this.actions));
    byId("log").replaceChildren(...(nodes.length ? this.messages.map((message) => message.element) : [this.welcome()]));
    byId("title").value = this.conversation.title;
    byId("title").placeholder = "New conversation";
    byId("model").value = this.model();
    this.showState();
    this.follow();
  }

  welcome() {
    const about = this.about?.model;
    const parts = about ? [about.parameters >= 1e9 ? `${(about.parameters / 1e9).toFixed(1)} B parameters` : `${(about.parameters / 1e6).toFixed(1)} M parameters`,
      about.dtype, about.device].filter(Boolean) : [];
    const length = this.contextLength();
    return el("div", { class: "welcome" }, el("h2", {}, shortName(this.model()) || "Octavo"),
      el("p", {}, parts.join(" · ")), el("p", {}, length ? `${count(length)} tokens of context` : ""),
      el("p", { class: "keys" }, el("kbd", {}, "Enter"), " sends · ", el("kbd", {}, "Shift"), " ", el("kbd", {}, "Enter"), " breaks the line · ",
        el("kbd", {}, "Alt"), " ", el("kbd", {}, "/"), " lists the shortcuts"));
  }

  contextLength() {
    return this.models.find(({ id }) => id === this.model())?.max_model_len ?? 0;
  }

  // Buttons and the context's fill.
  showState() {
    byId("send").hidden = this.busy();
    byId("stop").hidden = !this.busy();
    byId("send").disabled = this.running !== null && !this.busy();
    const used = path(this.conversation).findLast((node) => node.stats?.context)?.stats.context ?? 0;
    const length = this.contextLength();
    byId("context").textContent = used && length ? `${count(used)} of ${plural(length, "token")}` : "";
    byId("context").classList.toggle("tight", length > 0 && used > 0.9 * length);
  }

  fitInput() {
    const input = byId("input");
    input.style.height = "auto";
    input.style.height = `${input.scrollHeight}px`;
  }

  follow() {
    if (!this.pinned) return;
    const scroller = byId("scroller");
    scroller.scrollTop = scroller.scrollHeight;
  }

  submit() {
    const input = byId("input");
    const text = input.value.trim();
    if (!text || this.running) return;
    input.value = "";
    this.fitInput();
    this.send(text, path(this.conversation).at(-1));
  }

  send(text, parent) {
    if (this.running) return;
    this.answer(addNode(this.conversation, parent, { role: "user", content: text }));
  }

  answerCalls(node, results) {
    if (this.running) return;
    let parent = node;
    node.calls.forEach((call, i) => {
      parent = addNode(this.conversation, parent, { role: "tool", callId: call.id, content: results[i] });
    });
    this.answer(parent);
  }

  async answer(parent) {
    if (this.running) return;
    const conversation = this.conversation;
    const model = this.model();
    const node = addNode(conversation, parent, { role: "assistant" });
    const abort = new AbortController();
    const running = (this.running = { conversation, node, abort, forgotten: false });
    this.pinned = true;
    this.render();
    byId("input").focus();
    say(`${shortName(model)} answers`);
    this.save();
    const saving = setInterval(() => { if (!running.forgotten) store.save(conversation); }, SAVE_EVERY_MS);
    const status = await generate(conversation, node, parent, model, abort.signal, (text) => {
      hear(text);
      this.scheduleUpdate(node);
    });
    clearInterval(saving);
    this.running = null;
    finish(node.problem ? `No answer. ${node.problem}` : `End of the answer, ${plural(node.stats.tokens, "token")}.`);
    if (this.conversation === conversation) this.render();
    else this.showState();
    if (!running.forgotten) await this.save(conversation);
    if (status === 401) this.hooks.unauthorized();
  }

  // Once a frame at most, however many tokens came.
  scheduleUpdate(node) {
    this.frame ??= requestAnimationFrame(() => {
      this.frame = null;
      const message = this.messages.at(-1);
      if (this.running?.node !== node || message?.node !== node) return;
      message.update(true);
      this.showState();
      this.follow();
    });
  }

  stop() {
    this.running?.abort.abort();
  }

  // The conversation is being deleted: an answer under way ends, and brings nothing back. All of them without an `id`.
  forget(id) {
    if (!this.running || (id && this.running.conversation.id !== id)) return;
    this.running.forgotten = true;
    this.stop();
  }

  regenerateLast() {
    const last = path(this.conversation).findLast((node) => node.role === "assistant");
    if (last && !this.running) this.actions.regenerate(last);
  }

  editLast() {
    this.messages.findLast(({ node }) => node.role === "user")?.edit();
  }

  async save(conversation = this.conversation) {
    if (!Object.keys(conversation.nodes).length) return;
    await store.save(conversation);
    if (conversation === this.conversation) byId("title").value = conversation.title;
    this.hooks.changed(conversation);
  }
}
