// Conversations in this browser's IndexedDB; where that is forbidden, in memory, and the user is told. Other tabs of this
// page hear of every change.
import { toast } from "./dom.js";

const STORE = "conversations";
const channel = "BroadcastChannel" in self ? new BroadcastChannel("octavo") : null;
const memory = new Map();

const database = new Promise((resolve) => {
  try {
    const opening = indexedDB.open("octavo", 1);
    opening.onupgradeneeded = () => opening.result.createObjectStore(STORE, { keyPath: "id" });
    opening.onsuccess = () => resolve(opening.result);
    opening.onerror = () => resolve(null);
  } catch {
    resolve(null);
  }
}).then((db) => {
  if (!db) toast("This browser keeps nothing here: conversations go with the tab.");
  return db;
});

async function transact(mode, work) {
  const db = await database;
  return new Promise((resolve, reject) => {
    const transaction = db.transaction(STORE, mode);
    const request = work(transaction.objectStore(STORE));
    transaction.oncomplete = () => resolve(request.result);
    transaction.onerror = transaction.onabort = () => reject(transaction.error);
  });
}

export async function loadAll() {
  const found = (await database) ? await transact("readonly", (store) => store.getAll()) : [...memory.values()];
  return found.sort((a, b) => b.updated - a.updated);
}

export async function load(id) {
  return (await database) ? transact("readonly", (store) => store.get(id)) : memory.get(id);
}

let complained = false;
export async function save(conversation) {
  const copy = structuredClone(conversation);
  try {
    if (await database) await transact("readwrite", (store) => store.put(copy));
    else memory.set(copy.id, copy);
    channel?.postMessage(copy.id);
  } catch (error) {
    if (!complained) toast(`This conversation could not be saved: ${error?.message ?? "the browser is out of space"}`);
    complained = true;
  }
}

export async function remove(id) {
  if (await database) await transact("readwrite", (store) => store.delete(id));
  else memory.delete(id);
  channel?.postMessage(id);
}

export async function clear() {
  if (await database) await transact("readwrite", (store) => store.clear());
  memory.clear();
  channel?.postMessage("");
}

// `listener(id)` after a change in another tab.
export function onChange(listener) {
  channel?.addEventListener("message", (event) => listener(event.data));
}
