// A small line plot over the last minutes. Values may be null: nothing was measured there.
import { colour, prepare } from "./canvas.js";
import { el } from "./dom.js";

const HEIGHT = 150;
const LEFT = 52;
const BOTTOM = 18;
const TOP = 8;

export class Plot {
  // `lines`: [{name, colour, value(sample), absent?(sample)}]; `format(value)` is the text of a value, absent() that of none.
  constructor(title, lines, format) {
    Object.assign(this, { title, lines, format, span: 60, samples: [], pointer: null });
    this.canvas = el("canvas", { role: "img", "aria-label": title });
    this.legend = el("div", { class: "legend" });
    this.readouts = lines.map((line) => el("b"));
    lines.forEach((line, i) => this.legend.append(el("span", { class: `key ${line.colour}` }, line.name, " ", this.readouts[i])));
    this.element = el("section", { class: "panel", "aria-label": title }, el("h2", {}, title), this.legend, this.canvas);
    this.canvas.addEventListener("pointermove", (event) => { this.pointer = event.offsetX; this.draw(this.samples); });
    this.canvas.addEventListener("pointerleave", () => { this.pointer = null; this.draw(this.samples); });
  }

  // Samples in order of their `time`, seconds; `span` seconds are shown.
  draw(samples, span = this.span) {
    Object.assign(this, { samples, span });
    const width = this.canvas.clientWidth;
    if (!width || !samples.length) return;
    const context = prepare(this.canvas, width, HEIGHT);
    const now = samples.at(-1).time;
    const x = (time) => LEFT + ((width - LEFT - 2) * (time - (now - span))) / span;
    const top = nice(Math.max(0, ...this.lines.flatMap((line) => samples.map((s) => line.value(s) ?? 0))));
    const y = (value) => TOP + (HEIGHT - TOP - BOTTOM) * (1 - value / top);
    this.drawAxes(context, width, top, y);
    for (const line of this.lines) this.drawLine(context, samples, line, x, y);
    const shown = this.pointer === null ? samples.at(-1) : this.at(samples, now - span * (1 - (this.pointer - LEFT) / (width - LEFT - 2)));
    if (this.pointer !== null) {
      context.fillStyle = colour("control");
      context.fillRect(Math.round(x(shown.time)), TOP, 1, HEIGHT - TOP - BOTTOM);
    }
    this.lines.forEach((line, i) => {
      const value = line.value(shown);
      this.readouts[i].textContent = value === null ? (line.absent?.(shown) ?? "–") : this.format(value);
    });
  }

  at(samples, time) {
    return samples.reduce((best, sample) => (Math.abs(sample.time - time) < Math.abs(best.time - time) ? sample : best));
  }

  drawAxes(context, width, top, y) {
    context.font = `11px ${colour("sans")}`;
    context.textBaseline = "middle";
    context.textAlign = "right";
    for (const part of [0, 0.5, 1]) {
      const at = Math.round(y(top * part)) + 0.5;
      context.fillStyle = colour("line");
      context.fillRect(LEFT, at - 0.5, width - LEFT, 1);
      context.fillStyle = colour("muted");
      context.fillText(this.format(top * part), LEFT - 8, at);
    }
    context.textBaseline = "alphabetic";
    context.fillText("now", width - 2, HEIGHT - 3);
    context.textAlign = "left";
    context.fillText(`${this.span / 60} min ago`, LEFT, HEIGHT - 3);
  }

  drawLine(context, samples, line, x, y) {
    context.strokeStyle = colour(line.colour);
    context.lineWidth = 1.75;
    context.lineJoin = "round";
    context.beginPath();
    let drawing = false;
    for (const sample of samples) {
      const value = line.value(sample);
      if (value !== null) context[drawing ? "lineTo" : "moveTo"](x(sample.time), y(value));
      drawing = value !== null;
    }
    context.stroke();
  }

  // Said only when asked for: a label that changes is read out on focus, not by itself.
  describe() {
    const values = this.lines.map((line, i) => `${line.name} ${this.readouts[i].textContent}`);
    this.canvas.setAttribute("aria-label", `${this.title}: now ${values.join(", ")}`);
  }
}

// The next round number that is not less.
function nice(value) {
  if (!(value > 0)) return 1;
  const decade = 10 ** Math.floor(Math.log10(value));
  return [1, 1.5, 2, 3, 4, 5, 6, 8, 10].map((digit) => digit * decade).find((bound) => bound >= value * 0.999);
}
