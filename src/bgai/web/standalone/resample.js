// Bicubic resampling of RGBA bytes: antialiased where it reduces, as `bgai upscale` does for a size of one's own
// (bgai/datasets/matlab_resize.py and bgai/upscaling/reduction.py). Source: R. Keys, "Cubic convolution interpolation".

// For `count` of the `wanted` output samples, from `start` on, the weights of input samples and their indices, `taps` of
// each.
export function contributions(length, wanted, start = 0, count = wanted) {
  const factor = wanted / length;
  const stretch = Math.max(1, 1 / factor);
  const support = 4 * stretch;
  const taps = Math.ceil(support) + 2;
  const weights = new Float64Array(count * taps);
  const indices = new Int32Array(count * taps);
  for (let out = 0; out < count; out++) {
    const centre = (start + out + 1) / factor + 0.5 * (1 - 1 / factor);
    const first = Math.floor(centre - support / 2);
    let sum = 0;
    for (let tap = 0; tap < taps; tap++) {
      const position = first + tap;
      const weight = cubic((centre - position) / stretch);
      sum += weight;
      weights[out * taps + tap] = weight;
      const mirrored = (((position - 1) % (2 * length)) + 2 * length) % (2 * length);
      indices[out * taps + tap] = mirrored < length ? mirrored : 2 * length - 1 - mirrored;
    }
    for (let tap = 0; tap < taps; tap++) weights[out * taps + tap] /= sum;
  }
  return { weights, indices, taps, count };
}

function cubic(x) {
  const distance = Math.abs(x);
  if (distance <= 1) return 1.5 * distance ** 3 - 2.5 * distance ** 2 + 1;
  if (distance <= 2) return -0.5 * distance ** 3 + 2.5 * distance ** 2 - 4 * distance + 2;
  return 0;
}

// Resamples a picture that comes in strips from the top, or the part of the result that is asked for; holds the rows
// that one kernel covers, and a strip.
export class Resampler {
  constructor(source, target, part = { left: 0, top: 0, ...target }) {
    this.width = source.width;
    this.part = part;
    this.across = contributions(source.width, target.width, part.left, part.width);
    this.down = contributions(source.height, target.height, part.top, part.height);
    const { taps, indices, count } = this.down;
    const read = Array.from({ length: count }, (_, out) => indices.subarray(out * taps, (out + 1) * taps));
    this.first = read.map((rows) => Math.min(...rows));
    this.last = read.map((rows) => Math.max(...rows));
    this.pending = []; // rows of the result's width, premultiplied; null for those that nothing needs
    this.top = 0; // the source's row that is the first of them
    this.done = 0;
  }

  // Takes rows of RGBA bytes; gives those of the result that are complete by then, as RGBA bytes.
  push(strip) {
    for (let at = 0; at < strip.length; at += 4 * this.width) {
      const needed = this.top + this.pending.length >= this.first[this.done];
      this.pending.push(needed ? this.row(strip.subarray(at, at + 4 * this.width)) : null);
    }
    const start = this.done;
    while (this.done < this.down.count && this.last[this.done] < this.top + this.pending.length) this.done++;
    const bytes = new Uint8ClampedArray(4 * this.part.width * (this.done - start));
    for (let out = start; out < this.done; out++) this.column(out, bytes, 4 * this.part.width * (out - start));
    const end = this.top + this.pending.length;
    const keep = this.done < this.down.count ? Math.min(this.first[this.done], end) : end;
    this.pending.splice(0, keep - this.top);
    this.top = keep;
    return bytes;
  }

  row(bytes) {
    const { weights, indices, taps, count } = this.across;
    const row = new Float32Array(4 * count);
    for (let out = 0; out < count; out++) {
      for (let tap = out * taps; tap < (out + 1) * taps; tap++) {
        const weight = weights[tap];
        if (!weight) continue;
        const from = 4 * indices[tap];
        const share = (weight * bytes[from + 3]) / 255;
        for (let channel = 0; channel < 3; channel++) row[4 * out + channel] += share * bytes[from + channel];
        row[4 * out + 3] += weight * bytes[from + 3];
      }
    }
    return row;
  }

  column(out, bytes, at) {
    const { weights, indices, taps } = this.down;
    const sums = new Float32Array(4 * this.part.width);
    for (let tap = out * taps; tap < (out + 1) * taps; tap++) {
      if (!weights[tap]) continue;
      const row = this.pending[indices[tap] - this.top];
      for (let i = 0; i < sums.length; i++) sums[i] += weights[tap] * row[i];
    }
    for (let i = 0; i < sums.length; i += 4) {
      const alpha = sums[i + 3];
      for (let channel = 0; channel < 3; channel++) {
        bytes[at + i + channel] = alpha > 0 ? (sums[i + channel] * 255) / alpha : 0;
      }
      bytes[at + i + 3] = alpha;
    }
  }
}
