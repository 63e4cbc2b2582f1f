// A zip archive of files as they are, since pictures are compressed already. Source: APPNOTE.TXT of PKWARE, 4.3.
import { crc32 } from "./png.js";

const VERSION = 20;
const UTF8 = 0x0800; // names are in UTF-8

// Of pairs of a name and a Blob; of names that come twice, the second gets a number.
export async function zipFile(files) {
  const parts = [];
  const directory = [];
  const taken = new Set();
  let offset = 0;
  for (const [wanted, file] of files) {
    const name = new TextEncoder().encode(distinct(wanted, taken));
    const crc = crc32(new Uint8Array(await file.arrayBuffer()));
    const common = [VERSION, UTF8, 0, 0, 33]; // no compression; midnight of the first of January 1980
    const sizes = [[crc, 4], [file.size, 4], [file.size, 4], [name.length, 2], [0, 2]];
    const head = fields([0x04034b50, 4], ...common.map((value) => [value, 2]), ...sizes);
    parts.push(head, name, file);
    directory.push(
      fields([0x02014b50, 4], [VERSION, 2], ...common.map((value) => [value, 2]), ...sizes, [0, 2], [0, 2], [0, 2], [0, 4], [offset, 4]),
      name,
    );
    offset += head.length + name.length + file.size;
  }
  const size = directory.reduce((sum, part) => sum + part.length, 0);
  const end = fields([0x06054b50, 4], [0, 2], [0, 2], [files.length, 2], [files.length, 2], [size, 4], [offset, 4], [0, 2]);
  return new Blob([...parts, ...directory, end], { type: "application/zip" });
}

// Whole numbers of so many bytes, the least one first.
function fields(...pairs) {
  const bytes = pairs.flatMap(([value, length]) => Array.from({ length }, (_, index) => Math.floor(value / 256 ** index) % 256));
  return Uint8Array.from(bytes);
}

function distinct(name, taken) {
  const [, stem, ending] = name.match(/^(.*?)(\.[^.]*)?$/s);
  let result = name;
  for (let number = 2; taken.has(result.toLowerCase()); number++) result = `${stem} (${number})${ending ?? ""}`;
  taken.add(result.toLowerCase());
  return result;
}
