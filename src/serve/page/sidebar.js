// The list of saved conversations, and the drawer it is on a small screen.
import { byId, el, icon, toast } from "./dom.js";
import * as store from "./store.js";

const DAY_MS = 24 * 3600 * 1000;

// `actions`: {current() -> id, open(conversation), startNew(), forget(id)}.
export class Sidebar {
  constructor(actions) {
    this.actions = actions;
    byId("menu").addEventListener("click", () => this.toggle());
    byId("scrim").addEventListener("click", () => this.toggle(false));
    byId("sidebar").addEventListener("keydown", (event) => { if (event.key === "Escape") this.toggle(false); });
  }

  toggle(open = !byId("sidebar").classList.contains("open")) {
    const was = byId("sidebar").classList.toggle("open", open);
    byId("scrim").hidden = !open;
    byId("menu").setAttribute("aria-expanded", String(open));
    if (was) byId("new").focus();
    else if (byId("sidebar").contains(document.activeElement)) byId("menu").focus();
  }

  async refresh() {
    const conversations = await store.loadAll();
    const items = [];
    let group = "";
    for (const conversation of conversations) {
      const next = age(conversation.updated);
      if (next !== group) items.push(el("li", { class: "group", role: "presentation" }, (group = next)));
      items.push(this.item(conversation));
    }
    const focused = document.activeElement?.closest?.("#conversations li")?.dataset.id;
    byId("conversations").replaceChildren(...items);
    if (focused) byId("conversations").querySelector(`[data-id="${CSS.escape(focused)}"] .pick`)?.focus();
  }

  item(conversation) {
    const title = conversation.title || "Untitled";
    const current = conversation.id === this.actions.current();
    const pick = el("button", { type: "button", class: "pick", "aria-current": current && "true", title,
      onclick: async () => { this.toggle(false); this.actions.open(await store.load(conversation.id)); } }, title);
    const remove = el("button", { type: "button", class: "icon", "aria-label": `Delete ${title}`, title: "Delete",
      onclick: () => this.remove(conversation.id) }, icon("trash"));
    return el("li", { class: current && "current", "data-id": conversation.id }, pick, remove);
  }

  // Deleting asks nothing and can be undone.
  async remove(id) {
    this.actions.forget(id);
    const conversation = await store.load(id);
    await store.remove(id);
    if (id === this.actions.current()) this.actions.startNew();
    await this.refresh();
    toast("Conversation deleted.", "Undo", async () => {
      await store.save(conversation);
      await this.refresh();
    });
  }
}

function age(time) {
  const today = new Date().setHours(0, 0, 0, 0);
  if (time >= today) return "Today";
  if (time >= today - DAY_MS) return "Yesterday";
  return time >= today - 7 * DAY_MS ? "Last seven days" : "Older";
}
