// One answer being generated: asks the server, and writes what comes into a node.
import { streamChat } from "./api.js";
import { toMessages } from "./conversation.js";

const SHORT_SECONDS = 0.1;

// Fills `node` until the answer ends, fails, or `signal` stops it; calls `changed(text)` after each piece, with what it
// added to the answer. Never throws: what went wrong is in node.problem. Returns the HTTP status of a failure, or 0.
export async function generate(conversation, node, parent, model, signal, changed) {
  const clock = () => performance.now() / 1000;
  const began = clock();
  let first = 0;
  node.stats = { model, tokens: 0 };
  try {
    for await (const chunk of streamChat(requestBody(conversation, parent, model), signal)) {
      const choice = chunk.choices?.[0];
      const delta = choice?.delta ?? {};
      const reasoning = delta.reasoning_content ?? delta.reasoning ?? "";
      if (delta.content || reasoning || delta.tool_calls) {
        const now = clock();
        if (!first) node.stats.firstToken = (first = now) - began;
        if (reasoning) {
          node.reasoning = (node.reasoning ?? "") + reasoning;
          node.stats.reasoningSeconds = now - first;
        }
        node.content += delta.content ?? "";
        for (const piece of delta.tool_calls ?? []) addCall(node, piece);
        ++node.stats.tokens;  // until the server says how many it were
      }
      if (chunk.usage) {
        node.stats.tokens = chunk.usage.completion_tokens;
        node.stats.context = chunk.usage.total_tokens;
        node.stats.rate = tokensPerSecond(node.stats.tokens, began, first, clock());
      }
      if (choice?.finish_reason) node.finish = choice.finish_reason;
      changed(delta.content ?? "");
    }
  } catch (error) {
    if (signal.aborted) {
      node.finish = "stopped";
    } else {
      node.problem = error.message;
      return error.status ?? -1;
    }
  }
  return 0;
}

// Between the first token and now; of an answer too short for that, between question and now.
function tokensPerSecond(tokens, began, first, now) {
  return first && now - first > SHORT_SECONDS ? (tokens - 1) / (now - first) : tokens / (now - began);
}

function requestBody(conversation, parent, model) {
  const body = { model, messages: toMessages(conversation, parent), ...conversation.sampling };
  if (conversation.tools.trim()) body.tools = JSON.parse(conversation.tools);
  return body;
}

// Tool calls come in pieces: the name once, the arguments bit by bit.
function addCall(node, piece) {
  node.calls ??= [];
  const at = Math.min(piece.index ?? 0, node.calls.length);
  const call = (node.calls[at] ??= { id: "", name: "", arguments: "" });
  if (piece.id) call.id = piece.id;
  call.name += piece.function?.name ?? "";
  call.arguments += piece.function?.arguments ?? "";
}
