// The size of a result, and the scale of the network for it (bgai/upscaling/sizes.py).

const SCALES = [2, 3, 4];

// `options` have a `scale`, or a `factor`, or a `width` or `height` or both, a box that the result fits in.
export function planSize(width, height, options) {
  const wanted = options.factor || options.width || options.height;
  if (!wanted) return { scale: options.scale, width: width * options.scale, height: height * options.scale };
  const ratios = options.factor ? [options.factor] : [options.width / width, options.height / height];
  const ratio = Math.min(...ratios.filter(Boolean));
  const label = sizeLabel(options);
  if (ratio < 1) {
    throw new RangeError(`${width} x ${height} is more than the size asked for, ${label}: there is nothing to enlarge`);
  }
  if (ratio > 4) {
    throw new RangeError(`${width} x ${height} to ${label} is ${ratio.toFixed(1)} times as wide and high: at most 4 times is possible here`);
  }
  const [wide, high] = [width, height].map((side) => Math.floor(side * ratio + 0.5));
  const scale = SCALES.find((each) => width * each >= wide && height * each >= high) ?? 4;
  return { scale, width: wide, height: high };
}

// As a part of names: x4, x1.5, w1920, h1080 or 1920x1080.
export function sizeLabel({ scale, factor, width, height }) {
  if (factor) return `x${factor}`;
  if (width && height) return `${width}x${height}`;
  if (width || height) return width ? `w${width}` : `h${height}`;
  return `x${scale}`;
}
