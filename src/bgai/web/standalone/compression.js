// How strongly a picture file was compressed, from its headers, as bgai/pictures/compression.py tells it.

export const PLAIN_FROM = 95; // quality from which the weights `bgai` do better than `photo`

// The luma table of ITU-T T.81, K.1, which encoders scale by their quality.
const LUMA_TABLE = [
  16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55, 14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29, 51,
  87, 80, 62, 18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92, 49, 64, 78, 87, 103, 121, 120, 101,
  72, 92, 95, 98, 112, 100, 103, 99,
];

const coarseness = (table) => table.reduce((sum, step) => sum + Math.log(Math.min(step, 255)), 0);

// The name of the weights for a file, and the reason in words.
export function pickWeights(bytes) {
  const starts = (text, at = 0) => [...text].every((letter, index) => bytes[at + index] === letter.charCodeAt(0));
  if (starts("\xff\xd8\xff")) {
    const quality = jpegQuality(bytes);
    return picked(quality < PLAIN_FROM || !quality, `JPEG of ${quality ? `quality about ${quality}` : "unknown quality"}`);
  }
  if (starts("\x89PNG")) return picked(false, "lossless PNG");
  if (starts("RIFF") && starts("WEBP", 8)) {
    const lossless = starts("VP8L", 12) || losslessChunk(bytes);
    return picked(!lossless, lossless ? "lossless WebP" : "lossy WebP");
  }
  if (starts("GIF8")) return picked(false, "lossless GIF");
  if (starts("BM")) return picked(false, "lossless BMP");
  return picked(true, starts("ftyp", 4) ? "AVIF" : "picture of unknown quality");
}

function picked(strong, compression) {
  const weights = strong ? "photo" : "bgai";
  return { weights, reason: `${weights} weights: ${compression}` };
}

function losslessChunk(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let at = 12; at + 8 <= bytes.length; ) {
    const name = String.fromCharCode(...bytes.subarray(at, at + 4));
    if (name === "VP8L") return true;
    if (name === "VP8 ") return false;
    const size = view.getUint32(at + 4, true);
    at += 8 + size + (size % 2);
  }
  return false;
}

// Of the quantisation table of the first component; null where it cannot be made out.
export function jpegQuality(bytes) {
  const tables = new Map();
  let luma = 0;
  for (let at = 2; at + 4 <= bytes.length; ) {
    if (bytes[at] !== 0xff || bytes[at + 1] === 0xff) {
      at++;
      continue;
    }
    const marker = bytes[at + 1];
    if (marker === 0xda || marker === 0xd9) break;
    if (marker === 0 || marker === 1 || (marker >= 0xd0 && marker <= 0xd7)) {
      at += 2;
      continue;
    }
    const length = bytes[at + 2] * 256 + bytes[at + 3];
    const body = bytes.subarray(at + 4, at + 2 + length);
    if (marker === 0xdb) readTables(body, tables);
    else if (marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker)) luma = body[8];
    at += 2 + length;
  }
  const table = tables.get(luma);
  return table && Math.min(...table) > 0 ? nearestQuality(coarseness(table)) : null;
}

function readTables(body, tables) {
  for (let at = 0; at < body.length; ) {
    const size = body[at] >> 4 ? 2 : 1;
    const number = body[at] & 15;
    const steps = body.subarray(at + 1, at + 1 + 64 * size);
    if (steps.length < 64 * size) return;
    const values = Array.from({ length: 64 }, (_, i) => (size === 1 ? steps[i] : steps[2 * i] * 256 + steps[2 * i + 1]));
    tables.set(number, values);
    at += 1 + 64 * size;
  }
}

// The quality for which libjpeg's `jpeg_set_quality` makes a table that is as coarse.
function nearestQuality(wanted) {
  let best = [Infinity, 0];
  for (let quality = 1; quality <= 100; quality++) {
    const percent = quality < 50 ? Math.floor(5000 / quality) : 200 - 2 * quality;
    const table = LUMA_TABLE.map((step) => Math.max(1, Math.floor((step * percent + 50) / 100)));
    const difference = Math.abs(coarseness(table) - wanted);
    if (difference < best[0]) best = [difference, quality];
  }
  return best[1];
}
