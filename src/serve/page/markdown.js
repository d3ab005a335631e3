// Markdown to elements. Two passes: lines into blocks, a block's text into inline nodes. It makes elements of a fixed list
// of kinds with text inside; HTML in the source stays text, images become links, and links go to http, https and mailto
// alone. Depth and look-ahead are bounded, so that no text takes long.
//
// An answer grows at its end: render() keeps the elements of all blocks that did not change.
import { copyText, el } from "./dom.js";
import { highlight } from "./highlight.js";

const MAX_DEPTH = 8;         // of lists and quotes
const MAX_INLINE = 20000;    // characters of one paragraph that are looked into
const LOOK_AHEAD = 2000;     // characters to the end of an emphasis, a link or a code span
const MAX_CLOSERS = 40;      // candidates for that end

const sources = new WeakMap();  // container -> sources of its children

// Makes `container` show `text`.
export function render(container, text) {
  const blocks = parseBlocks(text.replace(/\r\n?/g, "\n").split("\n"), 0);
  const before = sources.get(container) ?? [];
  let same = 0;
  while (same < blocks.length && same < before.length && blocks[same].source === before[same]) ++same;
  while (container.childNodes.length > same) container.lastChild.remove();
  for (const block of blocks.slice(same)) container.append(block.make());
  sources.set(container, blocks.map((block) => block.source));
}

const FENCE = /^ {0,3}(`{3,}|~{3,})([^`]*)$/;
const HEADING = /^ {0,3}(#{1,6})(?:\s+(.*))?$/;
const RULE = /^ {0,3}([-*_])(?:\s*\1){2,}\s*$/;
const ITEM = /^( {0,3})([-*+]|\d{1,9}[.)])(?:(\s+)(.*)|)$/;
const QUOTE = /^ {0,3}> ?(.*)$/;
const DIVIDER = /^ {0,3}\|?\s*:?-+:?\s*(?:\|\s*:?-+:?\s*)*\|?\s*$/;

// [{source, make}]: make() gives the element of a block whose text is `source`.
function parseBlocks(lines, depth) {
  const blocks = [];
  for (let at = 0; at < lines.length;) {
    if (!lines[at].trim()) {
      ++at;
      continue;
    }
    const [end, make] = parseBlock(lines, at, depth);
    blocks.push({ source: lines.slice(at, end).join("\n"), make });
    at = end;
  }
  return blocks;
}

function parseBlock(lines, at, depth) {
  const line = lines[at];
  let match;
  if ((match = FENCE.exec(line))) return parseFence(lines, at, match);
  if ((match = HEADING.exec(line))) {
    const [, marks, text = ""] = match;
    return [at + 1, () => el(`h${marks.length}`, {}, ...inline(withoutClosingMarks(text.trim())))];
  }
  if (RULE.test(line)) return [at + 1, () => el("hr")];
  if (depth < MAX_DEPTH && QUOTE.test(line)) return parseQuote(lines, at, depth);
  if (depth < MAX_DEPTH && ITEM.test(line)) return parseList(lines, at, depth);
  if (isTable(lines, at)) return parseTable(lines, at);
  return parseParagraph(lines, at, depth);
}

// "Title ##" is "Title".
function withoutClosingMarks(text) {
  let end = text.length;
  while (text[end - 1] === "#") --end;
  return end === 0 || (end < text.length && text[end - 1] === " ") ? text.slice(0, end).trim() : text;
}

function parseFence(lines, at, [, fence, info]) {
  let end = at + 1;
  const closes = (line) => line.trim().startsWith(fence) && /^(`+|~+)$/.test(line.trim());
  while (end < lines.length && !closes(lines[end])) ++end;
  const indent = /^ */.exec(lines[at])[0].length;
  const code = lines.slice(at + 1, end).map((line) => line.slice(Math.min(indent, /^ */.exec(line)[0].length))).join("\n");
  return [Math.min(end + 1, lines.length), () => codeBlock(code, info.trim().split(/\s+/)[0])];
}

function codeBlock(code, language) {
  const copy = el("button", { type: "button", "aria-label": "Copy the code", onclick: () => copyText(code, copy) }, "Copy");
  return el("figure", { class: "code" },
    el("figcaption", {}, el("span", {}, language || "text"), copy),
    el("pre", { tabindex: "0" }, el("code", {}, ...highlight(code, language))));
}

function parseQuote(lines, at, depth) {
  let end = at;
  while (end < lines.length && QUOTE.test(lines[end])) ++end;
  const inner = lines.slice(at, end).map((line) => QUOTE.exec(line)[1]);
  return [end, () => el("blockquote", {}, ...parseBlocks(inner, depth + 1).map((block) => block.make()))];
}

// Items of one kind of marker; an item's further lines are indented to its text, or continue its paragraph.
function parseList(lines, at, depth) {
  const isOrdered = (marker) => /\d/.test(marker);
  const ordered = isOrdered(ITEM.exec(lines[at])[2]);
  const items = [];
  let end = at;
  let indent = 0;
  let loose = false;
  for (; end < lines.length; ++end) {
    const line = lines[end];
    const leading = /^ */.exec(line)[0].length;
    if (!line.trim()) {
      items.at(-1)?.push("");
      continue;
    }
    const match = ITEM.exec(line);
    if (items.length && leading >= indent) {
      items.at(-1).push(line.slice(indent));
    } else if (match && !RULE.test(line) && isOrdered(match[2]) === ordered) {
      loose ||= items.at(-1)?.at(-1) === "";
      indent = match[1].length + match[2].length + Math.min(4, match[3]?.length || 1);
      items.push([match[4] ?? ""]);
    } else if (items.at(-1)?.at(-1) === "" || match || startsBlock(line)) {
      break;
    } else {
      items.at(-1).push(line.trim());
    }
  }
  while (end > at && !lines[end - 1].trim()) --end;
  const start = ordered ? parseInt(/\d+/.exec(lines[at])[0], 10) : 1;
  return [end, () => {
    const list = el(ordered ? "ol" : "ul", { start: start === 1 ? null : start });
    for (const item of items) list.append(listItem(item, depth, loose));
    return list;
  }];
}

function listItem(lines, depth, loose) {
  const task = /^\[([ xX])\]\s+(.*)$/.exec(lines[0]);
  if (task) lines = [task[2], ...lines.slice(1)];
  const children = parseBlocks(lines, depth + 1).map((block) => block.make());
  // A tight item's text stands in no paragraph.
  if (!loose && children[0]?.tagName === "P") children.splice(0, 1, ...children[0].childNodes);
  if (!task) return el("li", {}, ...children);
  const box = el("input", { type: "checkbox", disabled: true, checked: task[1] !== " ", "aria-label": task[1] === " " ? "open" : "done" });
  return el("li", { class: "task" }, box, " ", ...children);
}

const startsBlock = (line) => FENCE.test(line) || HEADING.test(line) || RULE.test(line) || QUOTE.test(line);

const isTable = (lines, at) => lines[at].includes("|") && at + 1 < lines.length && lines[at + 1].includes("-") &&
  DIVIDER.test(lines[at + 1]) && cells(lines[at]).length === cells(lines[at + 1]).length;

function cells(line) {
  const row = line.trim().replace(/^\|/, "").replace(/(?<!\\)\|$/, "");
  return row.split(/(?<!\\)\|/).map((cell) => cell.trim().replaceAll("\\|", "|"));
}

function parseTable(lines, at) {
  let end = at + 2;
  while (end < lines.length && lines[end].includes("|") && lines[end].trim()) ++end;
  return [end, () => {
    const align = cells(lines[at + 1]).map((cell) => (/^:-+:$/.test(cell) ? "center" : /-:$/.test(cell) ? "right" : null));
    const row = (line, tag) => {
      const found = cells(line);
      return el("tr", {}, ...align.map((side, i) => el(tag, { class: side }, ...inline(found[i] ?? ""))));
    };
    return el("div", { class: "table", tabindex: "0" }, el("table", {},
      el("thead", {}, row(lines[at], "th")),
      el("tbody", {}, ...lines.slice(at + 2, end).map((line) => row(line, "td")))));
  }];
}

function parseParagraph(lines, at, depth) {
  let end = at + 1;
  while (end < lines.length && lines[end].trim() && !startsBlock(lines[end]) && !isTable(lines, end) &&
         !(depth < MAX_DEPTH && /^ {0,3}(?:[-*+]|1[.)])\s/.test(lines[end]))) ++end;
  const text = lines.slice(at, end).map((line) => line.trim()).join("\n");
  return [end, () => el("p", {}, ...inline(text))];
}

// Inline: the first construct that begins here, else a character of text.
const SPECIAL = /[\\`*_~[!<\n]|https?:\/\//g;
const MARKS = [["***", "strong", "em"], ["**", "strong"], ["__", "strong"], ["~~", "del"], ["*", "em"], ["_", "em"]];

function inline(text, depth = 0) {
  if (text.length > MAX_INLINE || depth > MAX_DEPTH) return [text];
  const nodes = [];
  let plain = 0;  // where text not yet taken begins
  SPECIAL.lastIndex = 0;
  for (let at = nextSpecial(text, 0); at >= 0;) {
    const found = construct(text, at, depth);
    if (!found) {
      at = nextSpecial(text, at + 1);
      continue;
    }
    if (at > plain) nodes.push(text.slice(plain, at));
    nodes.push(found.node);
    plain = found.end;
    at = nextSpecial(text, plain);
  }
  if (plain < text.length) nodes.push(text.slice(plain));
  return nodes;
}

function nextSpecial(text, from) {
  SPECIAL.lastIndex = from;
  return SPECIAL.exec(text)?.index ?? -1;
}

function construct(text, at, depth) {
  switch (text[at]) {
    case "\n": return { node: el("br"), end: at + 1 };
    case "\\": return /[!-/:-@[-`{-~]/.test(text[at + 1] ?? "") ? { node: text[at + 1], end: at + 2 } : null;
    case "`": return codeSpan(text, at);
    case "[": return link(text, at, depth);
    case "!": return text[at + 1] === "[" ? link(text, at + 1, depth) : null;
    case "<": return angleLink(text, at);
    case "h": return bareLink(text, at);
    default: return emphasis(text, at, depth);
  }
}

// Where `mark` stands from `from` on, as far as is looked.
function* closers(text, mark, from) {
  let end = text.indexOf(mark, from);
  for (let i = 0; i < MAX_CLOSERS && end >= 0 && end - from < LOOK_AHEAD; ++i) {
    yield end;
    end = text.indexOf(mark, end + 1);
  }
}

function codeSpan(text, at) {
  const ticks = /^`+/.exec(text.slice(at, at + 20))[0];
  for (const end of closers(text, ticks, at + ticks.length)) {
    if (text[end + ticks.length] === "`" || text[end - 1] === "`") continue;
    const code = text.slice(at + ticks.length, end).replaceAll("\n", " ");
    return { node: el("code", {}, /^ .* $/.test(code) && code.trim() ? code.slice(1, -1) : code), end: end + ticks.length };
  }
  return null;
}

function emphasis(text, at, depth) {
  for (const [mark, ...tags] of MARKS) {
    if (!text.startsWith(mark, at)) continue;
    const begin = at + mark.length;
    if (/\s/.test(text[begin] ?? " ")) continue;
    const word = /[\p{L}\p{N}]/u;
    if (mark[0] === "_" && word.test(text[at - 1] ?? "")) continue;
    for (const end of closers(text, mark, begin + 1)) {
      const after = text[end + mark.length] ?? "";
      if (/\s/.test(text[end - 1]) || text[end - 1] === "\\" || (mark[0] === "_" && word.test(after))) continue;
      if (mark.length === 1 && (after === mark || text[end - 1] === mark)) continue;
      const inner = inline(text.slice(begin, end), depth + 1);
      return { node: tags.reduceRight((children, tag) => [el(tag, {}, ...children)], inner)[0], end: end + mark.length };
    }
  }
  return null;
}

// `[text](url "title")`.
function link(text, at, depth) {
  let level = 0;
  let close = at;
  for (; close < text.length && close - at < LOOK_AHEAD; ++close) {
    if (text[close] === "\\") ++close;
    else if (text[close] === "[") ++level;
    else if (text[close] === "]" && --level === 0) break;
  }
  if (text[close] !== "]" || text[close + 1] !== "(") return null;
  const target = /^\(\s*<?((?:[^()\s<>]|\([^()\s]*\))*)>?(?:\s+["'(][^\n]{0,300}?["')])?\s*\)/.exec(text.slice(close + 1, close + 1 + LOOK_AHEAD));
  if (!target) return null;
  const node = anchor(target[1], inline(text.slice(at + 1, close), depth + 1));
  return node && { node, end: close + 1 + target[0].length };
}

function angleLink(text, at) {
  const match = /^<((?:https?:\/\/|mailto:)[^\s<>]{1,2000})>/i.exec(text.slice(at, at + 2010));
  const node = match && anchor(match[1], [match[1]]);
  return node && { node, end: at + match[0].length };
}

function bareLink(text, at) {
  if (/[\p{L}\p{N}]/u.test(text[at - 1] ?? "")) return null;
  let url = /^https?:\/\/[^\s<>"'`]{1,2000}/.exec(text.slice(at, at + 2010))?.[0].replace(/[.,;:!?*_~]+$/, "");
  if (!url) return null;
  while (url.endsWith(")") && url.split(")").length > url.split("(").length) url = url.slice(0, -1);
  const node = anchor(url, [url]);
  return node && { node, end: at + url.length };
}

// Null for an address that is none, or of another kind.
function anchor(address, children) {
  let url;
  try {
    url = new URL(address);
  } catch {
    return null;
  }
  if (!["http:", "https:", "mailto:"].includes(url.protocol)) return null;
  return el("a", { href: url.href, target: "_blank", rel: "noopener noreferrer nofollow" }, ...children);
}
