// Enlarges tiles of RGBA with a network for RGB, by the rules of `bgai upscale` (bgai/upscaling/pixels.py, bounds.py).
// Planes are Float32Arrays, one after the other; h x w source pixels, s the scale.

const LUMA = [0.299, 0.587, 0.114];
const OVERSHOOT = 2; // lengths of the range around a sample by which it may leave that range
const SMALL = 8; // pictures below 8 x 8 keep their mean

// The least or greatest of the 3 x 3 samples around each, fewer at the borders.
export function neighbourhood(plane, height, width, choose) {
  const across = new Float32Array(plane.length);
  for (let y = 0, at = 0; y < height; y++) {
    for (let x = 0; x < width; x++, at++) {
      let value = plane[at];
      if (x > 0) value = choose(value, plane[at - 1]);
      if (x + 1 < width) value = choose(value, plane[at + 1]);
      across[at] = value;
    }
  }
  const result = new Float32Array(plane.length);
  for (let y = 0, at = 0; y < height; y++) {
    for (let x = 0; x < width; x++, at++) {
      let value = across[at];
      if (y > 0) value = choose(value, across[at - width]);
      if (y + 1 < height) value = choose(value, across[at + width]);
      result[at] = value;
    }
  }
  return result;
}

// Keeps flat areas flat, grey areas grey, and the mean of pictures below 8 x 8, in place.
export function bound(enlarged, source, height, width, scale) {
  const area = height * width;
  const wide = width * scale;
  const bigArea = area * scale * scale;
  const allGrey = new Float32Array(area);
  for (let i = 0; i < area; i++) {
    allGrey[i] = +(source[i] === source[area + i] && source[i] === source[2 * area + i]);
  }
  const grey = neighbourhood(allGrey, height, width, Math.min);
  for (let channel = 0; channel < 3; channel++) {
    const plane = source.subarray(channel * area, (channel + 1) * area);
    const target = enlarged.subarray(channel * bigArea, (channel + 1) * bigArea);
    if (Math.max(height, width) < SMALL) keepMean(target, plane);
    const lowest = neighbourhood(plane, height, width, Math.min);
    const highest = neighbourhood(plane, height, width, Math.max);
    for (let y = 0, at = 0; y < height * scale; y++) {
      const row = Math.floor(y / scale) * width;
      for (let x = 0; x < wide; x++, at++) {
        const from = row + Math.floor(x / scale);
        const margin = OVERSHOOT * (highest[from] - lowest[from]);
        target[at] = Math.min(Math.max(target[at], lowest[from] - margin), highest[from] + margin);
      }
    }
  }
  for (let y = 0, at = 0; y < height * scale; y++) {
    const row = Math.floor(y / scale) * width;
    for (let x = 0; x < wide; x++, at++) {
      if (!grey[row + Math.floor(x / scale)]) continue;
      const luma = LUMA.reduce((sum, weight, channel) => sum + weight * enlarged[channel * bigArea + at], 0);
      for (let channel = 0; channel < 3; channel++) enlarged[channel * bigArea + at] = luma;
    }
  }
}

function keepMean(enlarged, source) {
  const mean = (plane) => plane.reduce((sum, value) => sum + Math.min(Math.max(value, 0), 1), 0) / plane.length;
  const difference = mean(source) - mean(enlarged);
  for (let i = 0; i < enlarged.length; i++) enlarged[i] += difference;
}

// A tile of a picture in RGBA bytes as planes from 0 to 1: three of colour, one of alpha.
function asPlanes({ data, width: whole }, top, left, height, width) {
  const area = height * width;
  const colour = new Float32Array(3 * area);
  const alpha = new Float32Array(area);
  for (let y = 0, to = 0; y < height; y++) {
    for (let x = 0, from = 4 * ((top + y) * whole + left); x < width; x++, to++, from += 4) {
      for (let channel = 0; channel < 3; channel++) colour[channel * area + to] = data[from + channel] / 255;
      alpha[to] = data[from + 3] / 255;
    }
  }
  return { colour, alpha };
}

// The rectangle of a picture in RGBA bytes, enlarged: sh x sw in RGBA bytes. `network` takes planes of h x w x 3.
export async function enlargeTile(picture, { top, left, height, width }, network, scale) {
  const { colour, alpha } = asPlanes(picture, top, left, height, width);
  const bigArea = height * width * scale * scale;
  const enlarge = async (planes) => {
    const enlarged = await network(planes, height, width);
    bound(enlarged, planes, height, width, scale);
    return enlarged;
  };
  if (alpha.every((value) => value === 1)) {
    return asBytes(await enlarge(colour), new Float32Array(bigArea).fill(1), bigArea);
  }
  if (alpha.every((value) => value === 0)) return new Uint8ClampedArray(4 * bigArea);
  return asBytes(...(await enlargeTransparent(colour, alpha, enlarge, { height, width, scale })), bigArea);
}

// Colours are weighted with alpha on the way, so that hidden ones do not bleed into visible ones.
async function enlargeTransparent(colour, alpha, enlarge, { height, width, scale }) {
  const area = height * width;
  const bigArea = area * scale * scale;
  const lowest = neighbourhood(alpha, height, width, Math.min);
  const highest = neighbourhood(alpha, height, width, Math.max);
  const three = new Float32Array(3 * area);
  for (let channel = 0; channel < 3; channel++) three.set(alpha, channel * area);
  const newAlpha = (await enlarge(three)).slice(0, bigArea);
  for (let i = 0; i < 3 * area; i++) three[i] = colour[i] * alpha[i % area];
  const newColour = await enlarge(three);
  const sources = sourceOf(height, width, scale);
  for (let i = 0; i < bigArea; i++) {
    newAlpha[i] = Math.min(Math.max(newAlpha[i], lowest[sources[i]]), highest[sources[i]]);
  }
  for (let channel = 0; channel < 3; channel++) {
    const plane = colour.subarray(channel * area, (channel + 1) * area);
    const least = neighbourhood(plane.map((value, i) => (alpha[i] > 0 ? value : Infinity)), height, width, Math.min);
    const most = neighbourhood(plane.map((value, i) => (alpha[i] > 0 ? value : -Infinity)), height, width, Math.max);
    for (let i = 0; i < bigArea; i++) {
      const [from, at] = [sources[i], channel * bigArea + i];
      let value = newColour[at] / Math.max(newAlpha[i], 1e-6);
      if (lowest[from] < 1) value = Math.min(Math.max(value, least[from]), most[from]);
      newColour[at] = newAlpha[i] > 0 ? value : 0;
    }
  }
  return [newColour, newAlpha];
}

// For each output pixel the index of the source pixel that it lies in.
function sourceOf(height, width, scale) {
  const sources = new Uint32Array(height * width * scale * scale);
  for (let y = 0, at = 0; y < height * scale; y++) {
    for (let x = 0; x < width * scale; x++, at++) sources[at] = Math.floor(y / scale) * width + Math.floor(x / scale);
  }
  return sources;
}

function asBytes(colour, alpha, area) {
  const bytes = new Uint8ClampedArray(4 * area); // rounds, and clips to 0 to 255
  for (let i = 0; i < area; i++) {
    for (let channel = 0; channel < 3; channel++) bytes[4 * i + channel] = colour[channel * area + i] * 255;
    bytes[4 * i + 3] = alpha[i] * 255;
  }
  return bytes;
}
