// Mixes the networks of two ONNX files that differ in nothing but their weights, as `bgai upscale --clean` does.

// Turns the bytes of `plain` into those of the mix: `clean` of the values come from `photo`, the rest from `plain`.
// `ranges` are offsets and counts of float32 values, which need not lie on multiples of four bytes.
export function mix(plain, photo, ranges, clean) {
  const [to, from] = [plain, photo].map(({ buffer, byteOffset, byteLength }) => new DataView(buffer, byteOffset, byteLength));
  for (const [offset, count] of ranges) {
    for (let at = offset; at < offset + 4 * count; at += 4) {
      to.setFloat32(at, (1 - clean) * to.getFloat32(at, true) + clean * from.getFloat32(at, true), true);
    }
  }
}
