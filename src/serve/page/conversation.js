// A conversation is a tree: editing a message or asking for another answer adds a sibling, and nothing is lost. `choice`
// says for each parent which of its children is shown.
//
//   {id, title, named, created, updated, model, system, sampling, tools, nodes: {id: node}, choice: {parent id: child id}}
//   node: {id, parent, role, content, reasoning?, calls?, callId?, stats?, problem?, finish?}

const ROOT = "root";
const newId = () => [...crypto.getRandomValues(new Uint8Array(12))].map((b) => b.toString(16).padStart(2, "0")).join("");

export function newConversation(defaults) {
  const now = Date.now();
  return {
    id: newId(), title: "", named: false, created: now, updated: now, model: "",
    system: "", sampling: {}, tools: "", ...structuredClone(defaults), nodes: {}, choice: {},
  };
}

export function addNode(conversation, parent, fields) {
  const node = { id: newId(), parent: parent?.id ?? ROOT, content: "", ...fields };
  conversation.nodes[node.id] = node;
  conversation.choice[node.parent] = node.id;
  conversation.updated = Date.now();
  if (!conversation.named && !conversation.title && node.role === "user") {
    const line = node.content.trim().split("\n")[0];
    conversation.title = line.length > 60 ? `${line.slice(0, 59)}…` : line;
  }
  return node;
}

// The nodes shown, first to last.
export function path(conversation) {
  const nodes = [];
  const seen = new Set();
  let id = conversation.choice[ROOT];
  while (id && conversation.nodes[id] && !seen.has(id)) {
    seen.add(id);
    nodes.push(conversation.nodes[id]);
    id = conversation.choice[id];
  }
  return nodes;
}

export function siblings(conversation, node) {
  return Object.values(conversation.nodes).filter((other) => other.parent === node.parent);
}

export function choose(conversation, node) {
  conversation.choice[node.parent] = node.id;
}

export const parentOf = (conversation, node) => conversation.nodes[node.parent];

// What goes to the model: the path up to and with `last`. Answers that failed before their first word are left out, and
// reasoning is the model's own business.
export function toMessages(conversation, last) {
  const messages = conversation.system.trim() ? [{ role: "system", content: conversation.system }] : [];
  for (const node of path(conversation)) {
    if (node.role === "tool") {
      messages.push({ role: "tool", tool_call_id: node.callId, content: node.content });
    } else if (node.role === "user" || node.content || node.calls?.length) {
      const message = { role: node.role, content: node.content };
      if (node.calls?.length) {
        message.tool_calls = node.calls.map(({ id, name, arguments: args }) => ({
          id, type: "function", function: { name, arguments: args },
        }));
      }
      messages.push(message);
    }
    if (node === last) break;
  }
  return messages;
}

// A conversation out of a file, or null: whoever wrote the file, only fields of the right kind come in.
export function fromFile(value) {
  const isObject = (v) => v !== null && typeof v === "object" && !Array.isArray(v);
  const text = (v) => (typeof v === "string" ? v : "");
  if (!isObject(value) || !isObject(value.nodes) || !isObject(value.choice)) return null;
  const made = newConversation({ system: text(value.system), tools: text(value.tools) });
  made.title = text(value.title).slice(0, 200);
  made.named = value.named === true;
  made.model = text(value.model);
  if (Number.isFinite(value.created)) made.created = value.created;
  if (Number.isFinite(value.updated)) made.updated = value.updated;
  if (isObject(value.sampling)) {
    for (const [name, v] of Object.entries(value.sampling)) {
      if (typeof v === "number" || Array.isArray(v)) made.sampling[name] = v;
    }
  }
  for (const [id, node] of Object.entries(value.nodes)) {
    if (id === "__proto__" || !isObject(node) || !["user", "assistant", "tool"].includes(node.role)) continue;
    const kept = { id, parent: text(node.parent), role: node.role, content: text(node.content) };
    for (const field of ["reasoning", "callId", "problem", "finish"]) if (text(node[field])) kept[field] = node[field];
    if (Array.isArray(node.calls)) {
      kept.calls = node.calls.filter(isObject).map((c) => ({ id: text(c.id), name: text(c.name), arguments: text(c.arguments) }));
    }
    if (isObject(node.stats)) {
      kept.stats = Object.fromEntries(Object.entries(node.stats).filter(([, v]) => Number.isFinite(v)));
      if (text(node.stats.model)) kept.stats.model = node.stats.model;
    }
    made.nodes[id] = kept;
  }
  for (const [parent, child] of Object.entries(value.choice)) {
    if (made.nodes[child]?.parent === parent) made.choice[parent] = child;
  }
  return made;
}
