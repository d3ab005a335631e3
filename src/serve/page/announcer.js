// What a screen reader says while an answer grows: whole sentences, a few seconds apart, instead of every token.
import { byId } from "./dom.js";

const PAUSE_MS = 2500;
const MOST = 600;  // characters at once

let waiting = "";
let timer = 0;

export function say(text) {
  byId("announcer").textContent = text;
}

// More of the answer.
export function hear(text) {
  waiting += text;
  timer ||= setTimeout(speak, PAUSE_MS);
}

// The answer has ended: the rest of it, and `closing`.
export function finish(closing) {
  clearTimeout(timer);
  timer = 0;
  say(`${waiting.slice(-MOST)} ${closing}`.trim());
  waiting = "";
}

function speak() {
  timer = 0;
  const end = Math.max(...[". ", "! ", "? ", "\n"].map((mark) => waiting.lastIndexOf(mark)));
  if (end > 0) {
    say(waiting.slice(Math.max(0, end + 1 - MOST), end + 1));
    waiting = waiting.slice(end + 1);
  }
  if (waiting) timer = setTimeout(speak, PAUSE_MS);
}
