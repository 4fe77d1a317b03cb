// Programs without what only debuggers read. Of Node.js that is a seventh of the file.

const MAGIC = 0x464c457f;
const CLASS_AT = 4;
const CLASS_64 = 2;
const DATA_AT = 5;
const LITTLE_ENDIAN = 1;
const PROGRAM_HEADERS = { offsetAt: 32, sizeAt: 54, countAt: 56 } as const;
const SECTION_HEADERS = { offsetAt: 40, sizeAt: 58, countAt: 60, namesAt: 62 } as const;
const SECTION = { typeAt: 4, flagsAt: 8, offsetAt: 24, sizeAt: 32, linkAt: 40 } as const;
const SYMTAB = 2;
const STRTAB = 3;
const NOBITS = 8;
const ALLOCATED = 2n;
const INTERPRETER = 3;
const ALIGNMENT = 8;

/** One section: its header, its name, and its octets in the file. */
interface Section {
  readonly index: number;
  readonly name: string;
  readonly header: Buffer;
  readonly octets: Buffer;
}

/**
 * The program without its symbol table and its debugging information, as `strip` leaves it. All that is loaded into memory
 * stays as it is, octet by octet, and so do the names that libraries and stack traces use (.dynsym).
 * @throws Error if it is not a 64-bit ELF file with little-endian numbers, or if loaded parts follow those that are removed
 */
export function stripped(program: Buffer): Buffer {
  const sections = sectionsOf(program);
  const isDebugging = ({ name, header }: Section): boolean =>
    (header.readBigUInt64LE(SECTION.flagsAt) & ALLOCATED) === 0n &&
    (header.readUInt32LE(SECTION.typeAt) === SYMTAB || name === '.strtab' || name.startsWith('.debug_'));
  const kept = sections.filter(section => !isDebugging(section));
  const loaded = kept.filter(({ header }) => (header.readBigUInt64LE(SECTION.flagsAt) & ALLOCATED) !== 0n);
  // Sections that are not loaded follow those that are, and move forward.
  const end = Math.max(...loaded.map(({ header, octets }) => offsetOf(header) + octets.length));
  const parts: Buffer[] = [Buffer.from(program.subarray(0, end))];
  let length = end;
  const append = (octets: Buffer): number => {
    const padding = (ALIGNMENT - (length % ALIGNMENT)) % ALIGNMENT;
    parts.push(Buffer.alloc(padding), octets);
    const at = length + padding;
    length = at + octets.length;
    return at;
  };
  const newIndex = new Map(kept.map(({ index }, at) => [index, at]));
  const headers = kept.map(section => {
    const header = Buffer.from(section.header);
    if (section.index !== 0 && !loaded.includes(section)) {
      if (offsetOf(header) < end) throw new Error(`${section.name} is before the end of what is loaded`);
      header.writeBigUInt64LE(BigInt(append(section.octets)), SECTION.offsetAt);
    }
    header.writeUInt32LE(newIndex.get(header.readUInt32LE(SECTION.linkAt)) ?? 0, SECTION.linkAt);
    return header;
  });
  const [first = Buffer.alloc(0)] = parts;
  first.writeBigUInt64LE(BigInt(append(Buffer.concat(headers))), SECTION_HEADERS.offsetAt);
  first.writeUInt16LE(kept.length, SECTION_HEADERS.countAt);
  first.writeUInt16LE(newIndex.get(program.readUInt16LE(SECTION_HEADERS.namesAt)) ?? 0, SECTION_HEADERS.namesAt);
  return Buffer.concat(parts);
}

/** The path of the loader that a program asks for, such as /lib64/ld-linux-x86-64.so.2. */
export function loaderOf(program: Buffer): string {
  const { offsetAt, sizeAt, countAt } = PROGRAM_HEADERS;
  const at = Number(program.readBigUInt64LE(offsetAt));
  for (let i = 0; i < program.readUInt16LE(countAt); i++) {
    const header = program.subarray(at + i * program.readUInt16LE(sizeAt));
    if (header.readUInt32LE(0) !== INTERPRETER) continue;
    const from = Number(header.readBigUInt64LE(8));
    return program.toString('latin1', from, from + Number(header.readBigUInt64LE(32)) - 1);
  }
  throw new Error('the program names no loader');
}

const offsetOf = (header: Buffer): number => Number(header.readBigUInt64LE(SECTION.offsetAt));

function sectionsOf(program: Buffer): Section[] {
  if (program.readUInt32LE(0) !== MAGIC || program[CLASS_AT] !== CLASS_64 || program[DATA_AT] !== LITTLE_ENDIAN)
    throw new Error('no 64-bit ELF file with little-endian numbers');
  const { offsetAt, sizeAt, countAt, namesAt } = SECTION_HEADERS;
  const at = Number(program.readBigUInt64LE(offsetAt));
  const size = program.readUInt16LE(sizeAt);
  const bare = Array.from({ length: program.readUInt16LE(countAt) }, (_, index) => {
    const header = program.subarray(at + index * size, at + (index + 1) * size);
    const from = offsetOf(header);
    const octets = header.readUInt32LE(SECTION.typeAt) === NOBITS ? 0 : Number(header.readBigUInt64LE(SECTION.sizeAt));
    return { index, header, octets: program.subarray(from, from + octets) };
  });
  const names = bare[program.readUInt16LE(namesAt)];
  if (names?.header.readUInt32LE(SECTION.typeAt) !== STRTAB) throw new Error('the sections have no names');
  return bare.map(section => {
    const from = section.header.readUInt32LE(0);
    return { ...section, name: names.octets.toString('latin1', from, names.octets.indexOf(0, from)) };
  });
}
