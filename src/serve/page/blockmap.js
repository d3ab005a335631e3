// The picture of a cache group: a cell per block, or per few blocks where there are very many, in the order of their ids.
import { colour, prepare } from "./canvas.js";

const STATES = { f: "free", c: "cached", u: "used", s: "shared" };
const TALLEST = 300;  // CSS pixels
const LARGEST_CELL = 16;

// [[state, length]] of "12u3s40c9f".
export function parseRuns(text) {
  return [...text.matchAll(/(\d+)([fcus])/g)].map(([, length, letter]) => [STATES[letter], Number(length)]);
}

export function drawBlocks(canvas, runs) {
  const width = canvas.clientWidth;
  const cells = runs.reduce((sum, [, length]) => sum + length, 0);
  if (!width || !cells) return;
  const [size, columns] = fit(cells, width);
  const context = prepare(canvas, width, Math.ceil(cells / columns) * size);
  const gap = size >= 10 ? 2 : size >= 4 ? 1 : 0;
  let at = 0;
  for (const [state, length] of runs) {
    context.fillStyle = colour(state);
    for (const end = at + length; at < end;) {
      // With no gap between them the cells of a run in one row are one rectangle.
      const row = Math.floor(at / columns);
      const inRow = gap ? 1 : Math.min(end, (row + 1) * columns) - at;
      context.fillRect((at % columns) * size, row * size, inRow * size - gap, size - gap);
      at += inRow;
    }
  }
}

// The largest cell with which all of them keep within the height.
function fit(cells, width) {
  for (let size = LARGEST_CELL; size > 1; --size) {
    const columns = Math.floor(width / size);
    if (Math.ceil(cells / columns) * size <= TALLEST) return [size, columns];
  }
  return [1, Math.floor(width)];
}
