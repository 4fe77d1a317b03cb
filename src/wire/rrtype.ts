// Numbers and mnemonics of RR types (IANA "Domain Name System (DNS) Parameters"), and kinds of types. Types without a
// mnemonic here are written TYPEnnn (RFC 3597 §5).

/** The types that this program uses, and those that people often ask for by name. */
export const TYPE = {
  A: 1,
  NS: 2,
  MD: 3,
  MF: 4,
  CNAME: 5,
  SOA: 6,
  MB: 7,
  MG: 8,
  MR: 9,
  PTR: 12,
  HINFO: 13,
  MINFO: 14,
  MX: 15,
  TXT: 16,
  RP: 17,
  AFSDB: 18,
  RT: 21,
  SIG: 24,
  KEY: 25,
  PX: 26,
  AAAA: 28,
  LOC: 29,
  NXT: 30,
  SRV: 33,
  NAPTR: 35,
  KX: 36,
  CERT: 37,
  DNAME: 39,
  OPT: 41,
  APL: 42,
  DS: 43,
  SSHFP: 44,
  IPSECKEY: 45,
  RRSIG: 46,
  NSEC: 47,
  DNSKEY: 48,
  DHCID: 49,
  NSEC3: 50,
  NSEC3PARAM: 51,
  TLSA: 52,
  SMIMEA: 53,
  HIP: 55,
  CDS: 59,
  CDNSKEY: 60,
  OPENPGPKEY: 61,
  CSYNC: 62,
  ZONEMD: 63,
  SVCB: 64,
  HTTPS: 65,
  SPF: 99,
  NXNAME: 128,
  EUI48: 108,
  EUI64: 109,
  TKEY: 249,
  TSIG: 250,
  IXFR: 251,
  AXFR: 252,
  ANY: 255,
  URI: 256,
  CAA: 257,
} as const;

const NAMES: ReadonlyMap<number, string> = new Map(Object.entries(TYPE).map(([name, number]) => [number, name]));

/** Class IN, the Internet (RFC 1035 §3.2.4). */
export const CLASS_IN = 1;

/** The mnemonic, or `TYPEnnn`. */
export const typeToText = (type: number): string => NAMES.get(type) ?? `TYPE${type}`;

/** Reads a mnemonic in any letter case, or `TYPEnnn`; undefined if it is neither. */
export function typeFromText(text: string): number | undefined {
  const upper = text.toUpperCase();
  for (const [number, name] of NAMES) if (name === upper) return number;
  const digits = /^TYPE(\d{1,5})$/.exec(upper)?.[1];
  const number = Number(digits);
  return number <= 0xffff ? number : undefined;
}

/** Whether `type` asks for something other than stored data: OPT, and the range of RFC 6895 §3.1 except ANY. */
export const isMetaType = (type: number): boolean => type === TYPE.OPT || (type >= 128 && type <= 254);
