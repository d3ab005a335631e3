// The page's beginning: puts chat, sidebar, settings and the engine's view together, and owns keys and shortcuts.
import { ApiError, engineState, key, models } from "./api.js";
import { Chat } from "./chat.js";
import { fromFile } from "./conversation.js";
import { byId, el, plural, shortName, toast } from "./dom.js";
import { EngineView } from "./engine.js";
import { defaults, Settings } from "./settings.js";
import { Sidebar } from "./sidebar.js";
import * as store from "./store.js";

const ENGINE = "#/engine";  // no element's id, lest the browser scroll and focus

const chat = new Chat({ defaults, changed, unauthorized: () => askForKey(true) });
const sidebar = new Sidebar({ current: () => chat.conversation.id, open, startNew, forget: (id) => chat.forget(id) });
const settings = new Settings(() => { chat.save(); connect(); });
const engine = new EngineView(byId("engine"), () => askForKey(true));

function open(conversation) {
  if (!conversation) return;
  show("chat");
  // The one under way is the live object, not the copy from the store.
  chat.open(chat.running?.conversation.id === conversation.id ? chat.running.conversation : conversation);
  changed(chat.conversation);
}

// A conversation was saved or opened: a reload shows the current one again.
function changed(conversation) {
  if (conversation === chat.conversation && byId("engine").hidden) history.replaceState(null, "", `#${conversation.id}`);
  sidebar.refresh();
}

function startNew() {
  show("chat");
  sidebar.toggle(false);
  chat.startNew();
  history.replaceState(null, "", location.pathname);
  sidebar.refresh();
}

function show(view) {
  const isEngine = view === "engine";
  byId("chat").hidden = isEngine;
  byId("title").hidden = isEngine;
  byId("engine").hidden = !isEngine;
  byId("engine-title").hidden = !isEngine;
  byId("view-chat").setAttribute("aria-pressed", String(!isEngine));
  byId("view-engine").setAttribute("aria-pressed", String(isEngine));
  engine.show(isEngine);
  if (isEngine) history.replaceState(null, "", ENGINE);
  else if (location.hash === ENGINE) history.replaceState(null, "", location.pathname);
}

// Asks who serves here. Without a right key there is nothing to do but to ask for one.
async function connect() {
  try {
    const [list, state] = [await models(), await engineState().catch(() => null)];
    chat.setModels(list, state);
    document.title = `${shortName(chat.model())} · Octavo`;
  } catch (error) {
    if (error instanceof ApiError && error.status === 401) askForKey(key.get() !== "");
    else toast(error.message, "Try again", connect);
  }
}

function askForKey(wrong) {
  if (byId("key").open) return;
  byId("key-problem").hidden = !wrong || key.get() === "";
  byId("key-input").value = "";
  byId("key").returnValue = "";
  byId("key").showModal();
  byId("key").onclose = () => {
    if (byId("key").returnValue !== "use") return;
    key.set(byId("key-input").value.trim());
    connect();
    if (!byId("engine").hidden) engine.show(true);
  };
}

function download(conversations, name) {
  const file = new Blob([JSON.stringify({ octavo: 1, conversations }, null, 1)], { type: "application/json" });
  const link = el("a", { href: URL.createObjectURL(file), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

async function importFile(file) {
  let found;
  try {
    const content = JSON.parse(await file.text());
    found = (content.conversations ?? [content]).map(fromFile).filter(Boolean);
  } catch {
    found = [];
  }
  if (!found.length) return toast("That file holds no conversations.");
  for (const conversation of found) await store.save(conversation);
  await sidebar.refresh();
  toast(`Imported ${plural(found.length, "conversation")}.`);
}

const day = () => new Date().toISOString().slice(0, 10);

function listen() {
  byId("key-cancel").addEventListener("click", () => byId("key").close());
  byId("new").addEventListener("click", startNew);
  byId("view-chat").addEventListener("click", () => show("chat"));
  byId("view-engine").addEventListener("click", () => show("engine"));
  byId("open-settings").addEventListener("click", openSettings);
  byId("open-data").addEventListener("click", () => byId("data").showModal());
  byId("open-help").addEventListener("click", () => byId("help").showModal());
  byId("export-one").addEventListener("click", () => download([chat.conversation], `octavo-conversation-${day()}.json`));
  byId("export-all").addEventListener("click", async () => download(await store.loadAll(), `octavo-conversations-${day()}.json`));
  byId("import").addEventListener("click", () => byId("import-file").click());
  byId("import-file").addEventListener("change", async ({ target }) => {
    if (target.files[0]) await importFile(target.files[0]);
    target.value = "";
  });
  byId("delete-all").addEventListener("click", deleteAll);
  byId("theme").value = document.documentElement.dataset.theme ?? "";
  byId("theme").addEventListener("change", ({ target }) => setTheme(target.value));
  addEventListener("keydown", shortcut);
  store.onChange(async (id) => {
    sidebar.refresh();
    if (id === chat.conversation.id && !chat.running && !document.querySelector(".edit, .result")) {
      const other = await store.load(id);
      if (other) chat.open(other);
    }
  });
}

async function deleteAll() {
  chat.forget();
  const kept = await store.loadAll();
  await store.clear();
  byId("data").close();
  startNew();
  toast(`Deleted ${plural(kept.length, "conversation")}.`, "Undo", async () => {
    for (const conversation of kept) await store.save(conversation);
    sidebar.refresh();
  });
}

function openSettings() {
  settings.open(chat.conversation, chat.about?.default_sampling);
}

function setTheme(theme) {
  if (theme) document.documentElement.dataset.theme = theme;
  else delete document.documentElement.dataset.theme;
  try {
    if (theme) localStorage.setItem("octavo.theme", theme);
    else localStorage.removeItem("octavo.theme");
  } catch {
    // Then until the tab closes.
  }
  engine.draw();
}

const ALT = /Mac|iP(hone|ad)/.test(navigator.platform) ? "Option" : "Alt";

// Alt and a key, by its place on the keyboard: with Alt, many layouts give another letter.
const SHORTCUTS = [
  ["KeyN", "N", "New conversation", startNew],
  ["KeyE", "E", "Chat or engine", () => show(byId("engine").hidden ? "engine" : "chat")],
  ["KeyR", "R", "Answer again", () => chat.regenerateLast()],
  ["ArrowUp", "↑", "Edit the last message", () => chat.editLast()],
  ["KeyS", "S", "Settings", openSettings],
  ["Slash", "/", "These shortcuts", () => byId("help").showModal()],
];
const FIXED = [["Enter", "Send"], ["Shift Enter", "New line"], ["Esc", "Stop the answer"]];

function shortcut(event) {
  if (document.querySelector("dialog[open]")) return;
  if (event.key === "Escape") return chat.stop();
  const found = event.altKey && !event.ctrlKey && !event.metaKey && SHORTCUTS.find(([code]) => code === event.code);
  if (!found) return;
  event.preventDefault();
  found[3]();
}

function listShortcuts() {
  const rows = [...FIXED, ...SHORTCUTS.map(([, name, label]) => [`${ALT} ${name}`, label])];
  for (const [keys, label] of rows) {
    const caps = keys.split(" ").flatMap((name, i) => (i ? [" ", el("kbd", {}, name)] : [el("kbd", {}, name)]));
    byId("shortcuts").append(el("dt", {}, ...caps), el("dd", {}, label));
  }
}

listen();
listShortcuts();
connect();
if (location.hash === ENGINE) show("engine");
else if (location.hash) store.load(location.hash.slice(1)).then((found) => (found ? open(found) : sidebar.refresh()));
sidebar.refresh();
if (matchMedia("(hover: hover)").matches) byId("input").focus();
