// Which tiles a picture is cut into: the same as `bgai upscale` takes (bgai/upscaling/tiling.py and memory_plan.py).

const GRID = 16; // the network's windows
const MOST_PIXELS = 512 * 512; // of a tile
const MEMORY = 2 ** 30; // what `bgai upscale` stays below
const PROCESS = 280 * 2 ** 20; // of it, what a process takes by itself
const BYTES_PER_PIXEL = 6600; // of a tile
const TRANSPARENCY_BYTES = 80; // more, for each pixel of an enlarged tile
const MOST_IN_MEMORY = 2 ** 26; // bytes of a picture; larger ones are read from a file, and take none

// Spans of one axis: read start to stop, keep keepStart to keepStop.
export function planSpans(length, tile, halo) {
  const rest = length % GRID;
  const whole = length - rest;
  const count = Math.max(1, Math.ceil((whole - 2 * halo) / (tile - 2 * halo)));
  const side = Math.ceil((whole + 2 * halo * (count - 1)) / (count * GRID)) * GRID;
  const starts = Array.from(
    { length: count },
    (_, index) => Math.floor(((whole - side) * index) / (Math.max(count - 1, 1) * GRID)) * GRID,
  );
  const edges = [0, ...starts.slice(1).map((start) => start + halo), length];
  return starts.map((start, index) => (
    { start, stop: start + side + rest, keepStart: edges[index], keepStop: edges[index + 1] }
  ));
}

const padded = (length) => Math.ceil(length / GRID) * GRID;
// Rows of less than 64 pixels take as much memory as one of 64, because engines leave room between rows.
const widthInMemory = (width) => Math.max(padded(width), 4 * GRID);

// Rows and columns of the tiles that read the fewest pixels in all.
export function planTiles(height, width, pixels, halo, pixelsPerRow = 0, limit = Infinity) {
  const least = 2 * halo + GRID;
  const most = Math.min(pixels, limit);
  let best = null;
  let cost = 0;
  const highest = Math.max(Math.min(height, Math.floor(most / Math.min(least, widthInMemory(width)))), least);
  for (let tileHeight = least; tileHeight < highest + GRID; tileHeight += GRID) {
    const rows = planSpans(height, tileHeight, halo);
    const strip = pixelsPerRow * Math.max(...rows.map((span) => span.keepStop - span.keepStart));
    const room = Math.min(Math.trunc(pixels - strip), most);
    const tileRows = padded(rows[0].stop - rows[0].start);
    const fitting = Math.floor(room / tileRows / GRID) * GRID - padded(width % GRID);
    const columns = planSpans(width, Math.max(fitting, least), halo);
    const area = tileRows * widthInMemory(columns[0].stop - columns[0].start);
    const total = rows.length * columns.length * area;
    if (!best || (area <= room && (total < cost || cost === 0))) {
      best = { rows, columns };
      cost = area <= room ? total : 0;
    }
  }
  return best;
}

// The tiles of `bgai upscale` for a picture of 8 bits; with a `share` below 1 smaller ones, for less memory.
export function planPicture({ height, width, transparent }, scale, halo, share = 1) {
  const rowBytes = width * (transparent ? 4 : 3);
  const inFile = rowBytes * height > MOST_IN_MEMORY;
  const room = (MEMORY - PROCESS - (inFile ? 0 : rowBytes * height)) * share;
  const pixelBytes = BYTES_PER_PIXEL + (transparent ? TRANSPARENCY_BYTES * scale ** 2 : 0);
  const outputBytes = rowBytes * (scale ** 2 + (inFile ? 1 : 0));
  return planTiles(height, width, Math.trunc(room / pixelBytes), halo, outputBytes / pixelBytes, MOST_PIXELS);
}
