// A PNG file of 8 bits in sRGB that is written strip by strip, so that no canvas limits its size.

const TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let value = byte;
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? 0xedb88320 ^ (value >>> 1) : value >>> 1;
  return value;
});

// CRC-32 of parts of bytes, one after the other.
export function crc32(...parts) {
  let crc = 0xffffffff;
  for (const part of parts) for (const byte of part) crc = TABLE[(crc ^ byte) & 255] ^ (crc >>> 8);
  return (crc ^ 0xffffffff) >>> 0;
}

function chunk(name, data) {
  const letters = new TextEncoder().encode(name);
  const frame = new DataView(new ArrayBuffer(8));
  frame.setUint32(0, data.length);
  frame.setUint32(4, crc32(letters, data));
  return [frame.buffer.slice(0, 4), letters, data, frame.buffer.slice(4)];
}

export class PngWriter {
  constructor(width, height, transparent) {
    this.width = width;
    this.channels = transparent ? 4 : 3;
    this.before = new Uint8Array(width * this.channels); // the row above
    const header = new DataView(new ArrayBuffer(13));
    header.setUint32(0, width);
    header.setUint32(4, height);
    header.setUint8(8, 8);
    header.setUint8(9, transparent ? 6 : 2);
    const signature = Uint8Array.of(0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a);
    this.parts = [signature, ...chunk("IHDR", new Uint8Array(header.buffer)), ...chunk("sRGB", Uint8Array.of(0))];
    const { readable, writable } = new CompressionStream("deflate");
    this.writer = writable.getWriter();
    this.compressed = this.collect(readable.getReader());
  }

  async collect(reader) {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      this.parts.push(new Blob(chunk("IDAT", value))); // which browsers may keep on disk
    }
  }

  // Rows of RGBA bytes.
  async write(strip) {
    const length = this.width * this.channels;
    const rows = strip.length / (4 * this.width);
    const filtered = new Uint8Array(rows * (length + 1));
    let row = new Uint8Array(length);
    for (let y = 0; y < rows; y++) {
      const from = 4 * this.width * y;
      if (this.channels === 4) row.set(strip.subarray(from, from + length));
      else for (let x = 0; x < this.width; x++) for (let c = 0; c < 3; c++) row[3 * x + c] = strip[from + 4 * x + c];
      paeth(row, this.before, this.channels, filtered.subarray(y * (length + 1), (y + 1) * (length + 1)));
      [row, this.before] = [this.before, row];
    }
    await this.writer.write(filtered);
  }

  async finish() {
    await this.writer.close();
    await this.compressed;
    return new Blob([...this.parts, ...chunk("IEND", new Uint8Array())], { type: "image/png" });
  }
}

// Filter type 4 of PNG: each byte less the one of left, above and upper left that is nearest to left + above - upper left.
function paeth(row, before, channels, filtered) {
  filtered[0] = 4;
  for (let i = 0; i < row.length; i++) {
    const left = i < channels ? 0 : row[i - channels];
    const upperLeft = i < channels ? 0 : before[i - channels];
    const above = before[i];
    const estimate = left + above - upperLeft;
    const [a, b, c] = [Math.abs(estimate - left), Math.abs(estimate - above), Math.abs(estimate - upperLeft)];
    filtered[i + 1] = row[i] - (a <= b && a <= c ? left : b <= c ? above : upperLeft);
  }
}
