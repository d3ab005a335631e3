// Prometheus text as numbers, and what two readings of it say about the time between them.

// {counter or gauge: value, summed over its labels}, and {histogram: {bounds: [], counts: [] (cumulative), sum, count}}.
export function parseMetrics(text) {
  const values = {};
  const histograms = {};
  for (const line of text.split("\n")) {
    const match = /^([\w:]+)(?:\{(.*)\})? (\S+)/.exec(line);
    if (!match) continue;
    const [, name, labels = "", number] = match;
    const value = Number(number);
    const part = /^(.*)_(bucket|sum|count)$/.exec(name);
    if (!part) {
      values[name] = (values[name] ?? 0) + value;
      continue;
    }
    const histogram = (histograms[part[1]] ??= { bounds: [], counts: [], sum: 0, count: 0 });
    if (part[2] !== "bucket") {
      histogram[part[2]] += value;
    } else {
      const bound = /(?:^|,)le="([^"]+)"/.exec(labels)?.[1];
      const at = bound === "+Inf" ? Infinity : Number(bound);
      const known = histogram.bounds.indexOf(at);
      if (known >= 0) histogram.counts[known] += value;
      else { histogram.bounds.push(at); histogram.counts.push(value); }
    }
  }
  return { values, histograms };
}

// Mean and 95th percentile of what was observed between two readings; null if nothing was. The mean is exact. The
// percentile is as fine as the buckets; where it lies below the first bound it is null, and `below` is that bound.
export function between(before, after) {
  const observed = after.count - before.count;
  if (observed <= 0) return null;
  const rank = 0.95 * observed;
  let low = 0;
  let below = 0;
  let p95 = null;
  for (let i = 0; i < after.bounds.length; ++i) {
    const count = after.counts[i] - (before.counts[i] ?? 0);
    if (count >= rank) {
      const high = after.bounds[i];
      if (i > 0) p95 = high === Infinity ? low : low + ((high - low) * (rank - below)) / (count - below);
      break;
    }
    low = after.bounds[i];
    below = count;
  }
  return { mean: (after.sum - before.sum) / observed, p95, below: after.bounds[0] };
}
