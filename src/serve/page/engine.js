// The view of the engine. While it is shown, and only then, it asks for /engine/state and /metrics twice a second.
import { engineState, metricsText } from "./api.js";
import { drawBlocks, parseRuns } from "./blockmap.js";
import { bytes, count, duration, el, figures, plural, shortName } from "./dom.js";
import { between, parseMetrics } from "./metrics.js";
import { Plot } from "./plot.js";

const PERIOD_MS = 500;
const SPAN = 300;           // seconds that are kept
const RATE_WINDOW = 2;      // seconds that a rate is taken over
const LATENCY_WINDOW = 10;
const MOST_ROWS = 12;       // of sequences
const DESCRIBE_EVERY = 10;  // readings

const RATES = [["output", "vllm:generation_tokens_total"], ["prompt", "vllm:prompt_tokens_total"]];
const LATENCIES = [["ttft", "vllm:time_to_first_token_seconds"], ["itl", "vllm:inter_token_latency_seconds"]];

export class EngineView {
  constructor(root, unauthorized) {
    this.unauthorized = unauthorized;
    this.samples = [];
    this.readings = [];  // parsed /metrics of the last LATENCY_WINDOW seconds
    this.build(root);
    document.addEventListener("visibilitychange", () => this.schedule(0));
    new ResizeObserver(() => this.draw()).observe(this.maps);
  }

  build(root) {
    this.about = el("p", { class: "about" });
    this.problem = el("p", { class: "problem", role: "status", hidden: true });
    this.figures = new Map();
    const tiles = el("dl", { class: "figures" });
    for (const [id, label] of [["running", "Running"], ["waiting", "Waiting"], ["output", "Output, tok/s"], ["prompt", "Prompt, tok/s"],
      ["ttft", "First token"], ["itl", "Between tokens"], ["kv", "KV cache in use"], ["hits", "Prefix hits"]]) {
      const value = el("dd", { id: `figure-${id}` }, "–");
      this.figures.set(id, value);
      tiles.append(el("div", {}, el("dt", {}, label), value));
    }
    this.maps = el("div", { id: "maps" });
    this.sequences = el("div", { id: "sequences" });
    this.sequencesNote = el("p", { class: "note" });
    const tokens = (value) => figures(value).replace(/\.0+$/, "");
    const whole = (value) => (Number.isInteger(value) ? count(value) : "");
    const seconds = (value) => (value === 0 ? "0" : duration(value));
    const latency = (title, id) => new Plot(title, [
      { name: "mean", colour: "used", value: (s) => s[id]?.mean ?? null },
      { name: "95 %", colour: "shared", value: (s) => s[id]?.p95 ?? null,
        absent: (s) => (s[id] ? `< ${duration(s[id].below)}` : "–") }], seconds);
    this.plots = [
      new Plot("Tokens per second", [
        { name: "output", colour: "used", value: (s) => s.output },
        { name: "prompt", colour: "shared", value: (s) => s.prompt }], tokens),
      new Plot("Requests", [
        { name: "running", colour: "used", value: (s) => s.running },
        { name: "waiting", colour: "shared", value: (s) => s.waiting }], whole),
      latency("Time to first token", "ttft"),
      latency("Time between tokens", "itl"),
    ];
    root.append(el("div", { class: "engine" }, this.about, this.problem, tiles, this.maps,
      el("section", { class: "panel", "aria-label": "Sequences" }, el("h2", {}, "Sequences"),
        el("div", { class: "legend" }, ...[["cached", "prompt, from the cache"], ["used", "prompt"], ["accent", "answer"], ["free", "not yet computed"]]
          .map(([colour, name]) => el("span", { class: `key ${colour}` }, name))), this.sequences, this.sequencesNote),
      el("div", { class: "plots" }, ...this.plots.map((plot) => plot.element))));
  }

  show(shown) {
    this.shown = shown;
    this.schedule(0);
  }

  schedule(delay) {
    clearTimeout(this.timer);
    if (this.shown && !document.hidden) this.timer = setTimeout(() => this.read(), delay);
  }

  async read() {
    const began = performance.now();
    try {
      const signal = AbortSignal.timeout?.(10000);
      const [state, text] = await Promise.all([engineState(signal), metricsText(signal)]);
      this.take(state, parseMetrics(text), performance.now() / 1000);
      this.problem.hidden = true;
    } catch (error) {
      this.problem.textContent = error.message;
      this.problem.hidden = false;
      if (error.status === 401) {
        this.unauthorized();
        return;  // show() goes on when there is a key
      }
    }
    this.schedule(Math.max(100, PERIOD_MS - (performance.now() - began)));
  }

  take(state, metrics, time) {
    this.state = state;
    this.readings.push({ time, ...metrics });
    while (this.readings.length > 2 && this.readings[1].time < time - LATENCY_WINDOW) this.readings.shift();
    const sample = { time, running: state.running, waiting: state.waiting };
    const recent = this.readings.find((reading) => reading.time >= time - RATE_WINDOW - 0.25);
    for (const [id, name] of RATES) {
      sample[id] = recent.time < time ? Math.max(0, metrics.values[name] - recent.values[name]) / (time - recent.time) : null;
    }
    for (const [id, name] of LATENCIES) {
      const [after, before] = [metrics.histograms[name], this.readings[0].histograms[name]];
      sample[id] = after && before ? between(before, after) : null;
    }
    this.samples.push(sample);
    while (this.samples[0].time < time - SPAN) this.samples.shift();
    this.showFigures(sample, metrics);
    this.draw();
  }

  showFigures(sample, { values }) {
    const { state } = this;
    const { model, cache } = state;
    this.about.textContent = [shortName(model.name), model.architecture, model.dtype, model.device,
      `${count(model.max_model_len)} tokens of context`, `weights ${bytes(model.weight_bytes)}`].filter(Boolean).join(" · ");
    const queried = values["vllm:prefix_cache_queries_total"];
    const total = cache.groups.reduce((sum, group) => sum + group.blocks, 0);
    const held = cache.groups.reduce((sum, group) => sum + group.used + group.shared, 0);
    const shown = {
      running: count(state.running),
      waiting: count(state.waiting),
      output: sample.output === null ? "–" : figures(sample.output).replace(/^0\.00$/, "0"),
      prompt: sample.prompt === null ? "–" : figures(sample.prompt).replace(/^0\.00$/, "0"),
      ttft: sample.ttft ? duration(sample.ttft.mean) : "–",
      itl: sample.itl ? duration(sample.itl.mean) : "–",
      kv: total ? percent(held / total) : "–",
      hits: queried ? percent(values["vllm:prefix_cache_hits_total"] / queried) : "–",
    };
    for (const [id, text] of Object.entries(shown)) this.figures.get(id).textContent = text;
  }

  draw() {
    if (!this.shown || !this.state) return;
    this.drawMaps();
    this.drawSequences();
    const describe = this.samples.length % DESCRIBE_EVERY === 1;
    const kept = this.samples.length ? this.samples.at(-1).time - this.samples[0].time : 0;
    const span = [60, 120, SPAN].find((seconds) => seconds >= Math.min(kept, SPAN));
    for (const plot of this.plots) {
      plot.draw(this.samples, span);
      if (describe) plot.describe();
    }
  }

  drawMaps() {
    const { cache } = this.state;
    while (this.maps.children.length < cache.groups.length) this.maps.append(mapPanel());
    cache.groups.forEach((group, i) => {
      const panel = this.maps.children[i];
      const states = [["used", "used"], ["shared", "shared"], ["cached", "cached, free to take"], ["free", "free"]];
      panel.querySelector("h2").textContent = cache.groups.length === 1 ? "KV cache" : `KV cache, group ${i + 1}${group.window ? `, window of ${count(group.window)}` : ""}`;
      panel.querySelector(".legend").replaceChildren(...states.map(([state, name]) =>
        el("span", { class: `key ${state}`, "data-blocks": group[state] }, name, " ", el("b", {}, count(group[state])))));
      panel.querySelector(".note").textContent = [plural(group.blocks, "block"), `${count(cache.block_size)} tokens each`,
        `${bytes(cache.bytes)} at most`, group.blocks_per_cell > 1 ? `a cell stands for ${count(group.blocks_per_cell)}` : ""].filter(Boolean).join(" · ");
      const canvas = panel.querySelector("canvas");
      canvas.setAttribute("aria-label", `Map of the blocks: ${states.map(([state, name]) => `${count(group[state])} ${name}`).join(", ")}`);
      drawBlocks(canvas, parseRuns(group.runs));
    });
  }

  // A bar per sequence, all to one scale.
  drawSequences() {
    const { sequences, running, waiting } = this.state;
    const longest = Math.max(1, ...sequences.map((s) => s.prompt_tokens + s.output_tokens));
    const rows = sequences.slice(0, MOST_ROWS).map((s) => {
      const prompt = Math.min(s.computed_tokens, s.prompt_tokens);
      const cached = Math.min(s.cached_tokens, prompt);
      const parts = [["cached", cached], ["used", prompt - cached], ["free", s.prompt_tokens - prompt], ["accent", s.output_tokens]];
      const bar = el("span", { class: "bar" });
      for (const [kind, tokens] of parts) {
        if (!tokens) continue;
        const part = el("i", { class: kind });
        part.style.width = `${(100 * tokens) / longest}%`;
        bar.append(part);
      }
      return el("div", { class: s.running ? "sequence" : "sequence idle" }, bar,
        el("span", {}, `${count(s.prompt_tokens)} + ${count(s.output_tokens)}`, s.running ? "" : " waits"));
    });
    this.sequences.replaceChildren(...rows);
    const more = running + waiting - rows.length;
    this.sequencesNote.textContent = more > 0 ? `and ${count(more)} more` : rows.length ? "" : "None: the engine is idle.";
  }
}

function mapPanel() {
  return el("section", { class: "panel", "aria-label": "KV cache" }, el("h2"), el("div", { class: "legend" }),
    el("canvas", { role: "img" }), el("p", { class: "note" }));
}

const percent = (share) => `${share > 0 && share < 0.1 ? (100 * share).toFixed(1) : Math.round(100 * share)} %`;
