// Response policy zones: files of BIND's format (draft-vixie-dnsop-dns-rpz). The owner of a record, below the zone, is the trigger, and
// its data the action.
//
//   bad.example            CNAME .                 NXDOMAIN
//   *.bad.example          CNAME *.                NODATA, for all below it
//   good.example           CNAME rpz-passthru.     answered as if there was no list
//   worse.example          CNAME rpz-drop.         no reply
//   walled.example         A 192.0.2.1             this answer, or any A, AAAA, CNAME or TXT
//   led.example            CNAME *.garden.         led.example.garden, which says what was asked for
//   24.0.2.0.192.rpz-ip    CNAME .                 where the answer has such an address
//
//   *.ns.bad.rpz-nsdname   CNAME .                 where such a name server is the answer
//
// Name servers are seen where somebody asks for them: what a resolver puts beside an answer is not validated, and is not kept. Rules
// about their addresses (rpz-nsip) are left out, and counted.

import { addressOctets } from '../../base/address.js';
import { TYPE } from '../../wire/rrtype.js';
import {
  EFFECT,
  type Effect,
  type LocalRecord,
  ruleBits,
  type RuleSink,
  SCOPE,
  type Skipped,
  TRIGGER,
  WILDCARD,
} from './rule.js';
import { readTextName } from './text.js';

/** TTL of local data that has none. */
const DEFAULT_TTL_SEC = 300;
const MOST_TTL_SEC = 0x7fffffff;
/** The most records of local data in one file, */
const MOST_RECORDS = 10_000;
/** the most words of a record that goes over several lines, */
const MOST_WORDS = 64;
/** and the longest character string (RFC 1035 §3.3). */
const MOST_STRING_BYTES = 255;

const CLASSES: ReadonlySet<string> = new Set(['IN', 'CH', 'HS', 'ANY', 'NONE']);
/** Actions that CNAME records stand for. */
const ACTIONS: Readonly<Record<string, Effect>> = {
  '.': EFFECT.nxdomain,
  '*.': EFFECT.nodata,
  'rpz-passthru.': EFFECT.allow,
  'rpz-drop.': EFFECT.drop,
};
/** Records of the zone itself. */
const ZONE_TYPES: ReadonlySet<string> = new Set(['SOA', 'NS', 'DNSKEY', 'RRSIG', 'NSEC', 'NSEC3', 'NSEC3PARAM']);

/** Reads the lines of a file, and gives their rules to a sink. */
export class RpzRules {
  private readonly name = new Uint8Array(256);
  /** The origin in force, and the zone: in lower case, with a dot at the end; undefined: not said yet. */
  private origin: string | undefined;
  private zone: string | undefined;
  private ttlSec = DEFAULT_TTL_SEC;
  /** The owner of the last record, for records that leave theirs out. */
  private owner = '';
  /** The words of a record that goes on in the next line. */
  private open: string[] | undefined;
  /** Owners with local data, with the line of their rule. */
  private readonly withData = new Map<string, number>();
  private records = 0;

  constructor(private readonly sink: RuleSink) {}

  /** Reads the line at [start, end). */
  line(octets: Buffer, start: number, end: number, line: number): void {
    const text = octets.toString('latin1', start, end);
    const words = wordsOf(text);
    if (words === undefined) return this.sink.skip(line, 'syntax', text);
    if (this.open !== undefined) return this.goOn(this.open, words, line, text);
    if (words.length === 0) return;
    if (!/^\s/.test(text)) {
      const first = words.shift() ?? '';
      if (first.startsWith('$')) return this.directive(first, words, line, text);
      this.owner = first.toLowerCase();
    }
    if (words.includes('(')) this.goOn([], words, line, text);
    else this.record(words, line, text);
  }

  private goOn(before: string[], words: readonly string[], line: number, text: string): void {
    const all = [...before, ...words];
    const isOver = words.includes(')');
    this.open = isOver || all.length > MOST_WORDS ? undefined : all;
    if (isOver)
      this.record(
        all.filter(word => word !== '(' && word !== ')'),
        line,
        text,
      );
    else if (this.open === undefined) this.sink.skip(line, 'long', text);
  }

  private directive(name: string, [value = '']: readonly string[], line: number, text: string): void {
    switch (name.toUpperCase()) {
      case '$ORIGIN':
        this.origin = this.absolute(value.toLowerCase());
        return;
      case '$TTL':
        this.ttlSec = ttlOf(value) ?? this.ttlSec;
        return;
      default:
        this.sink.skip(line, 'syntax', text);
    }
  }

  private absolute(name: string): string {
    if (name === '@') return this.origin ?? '';
    return name.endsWith('.') ? name : `${name}.${this.origin ?? ''}`;
  }

  private record(words: readonly string[], line: number, text: string): void {
    let ttlSec: number | undefined;
    let at = 0;
    // TTL and class, in either order.
    for (; at < 2; at++) {
      const word = words[at] ?? '';
      const ttl = ttlOf(word);
      if (ttl !== undefined) ttlSec = ttl;
      else if (!CLASSES.has(word.toUpperCase())) break;
    }
    const type = words[at]?.toUpperCase() ?? '';
    const data = words.slice(at + 1);
    if (type === 'SOA') this.zone = this.absolute(this.owner);
    if (ZONE_TYPES.has(type)) return;
    const trigger = this.triggerOf();
    if (trigger === undefined) return this.sink.skip(line, 'syntax', text);
    const effect = type === 'CNAME' && data.length === 1 ? ACTIONS[(data[0] ?? '').toLowerCase()] : undefined;
    if (effect !== undefined) return void this.add(trigger, effect, line, text);
    const record = this.localData(type, data, ttlSec ?? this.ttlSec);
    if (typeof record === 'string') this.sink.skip(line, record, text);
    else this.addData(trigger, record, line, text);
  }

  /** The owner without the zone, with a dot at the end; undefined: it is not below the zone. */
  private triggerOf(): string | undefined {
    const { owner, zone, origin } = this;
    const full = this.absolute(owner);
    const apex = zone ?? origin ?? '';
    if (apex === '' || apex === '.') return full === '' ? undefined : full;
    return full.endsWith(`.${apex}`) ? full.slice(0, -apex.length) : undefined;
  }

  /** Adds the rule of a trigger. @returns whether it was understood */
  private add(trigger: string, effect: Effect, line: number, text: string): boolean {
    const why = this.addTrigger(trigger, effect, line);
    if (why !== undefined) this.sink.skip(line, why, text);
    return why === undefined;
  }

  private addTrigger(trigger: string, effect: Effect, line: number): Skipped | undefined {
    const { name, sink } = this;
    const [, bare = '', kind] = /^(.*?)\.(?:(rpz-[a-z-]+)\.)?$/.exec(trigger) ?? [];
    if (kind === 'rpz-ip') {
      const network = networkOf(bare);
      if (network === undefined) return 'syntax';
      sink.rule(TRIGGER.address, network, network.length, ruleBits(SCOPE.exact, effect), line);
      return undefined;
    }
    if (kind === 'rpz-nsip') return 'servers';
    if (kind !== undefined && kind !== 'rpz-nsdname') return 'trigger';
    const isWildcard = bare === '*' || bare.startsWith('*.');
    const octets = Buffer.from(isWildcard ? bare.slice(2) : bare, 'latin1');
    const bytes = bare === '*' ? this.root() : readTextName(octets, 0, octets.length, name);
    if (bytes === 0) return 'name';
    const about = kind === undefined ? TRIGGER.name : TRIGGER.server;
    sink.rule(about, name, bytes, ruleBits(isWildcard ? SCOPE.below : SCOPE.exact, effect), line);
    return undefined;
  }

  private root(): number {
    this.name[0] = 0;
    return 1;
  }

  /** Adds a record to those of its owner. All of them are in the rule of the first one. */
  private addData(trigger: string, record: LocalRecord, line: number, text: string): void {
    if (this.records >= MOST_RECORDS) return this.sink.skip(line, 'full', text);
    let first = this.withData.get(trigger);
    if (first === undefined) {
      if (!this.add(trigger, EFFECT.data, line, text)) return;
      this.withData.set(trigger, line);
      first = line;
    }
    this.records++;
    this.sink.record(first, record);
  }

  /** The target of an alias; undefined: it is no name. */
  private targetOf(text: string): Buffer | undefined {
    const isWildcard = text.startsWith('*.');
    const target = Buffer.from(isWildcard ? text.slice(2) : text, 'latin1');
    const bytes = readTextName(target, 0, target.length, this.name);
    if (bytes === 0) return undefined;
    const rdata = Buffer.from(this.name.subarray(0, bytes));
    return isWildcard ? Buffer.concat([WILDCARD, rdata]) : rdata;
  }

  /** The record of an answer, or why it cannot be one. */
  private localData(type: string, data: readonly string[], ttlSec: number): LocalRecord | Skipped {
    const [value = ''] = data;
    switch (type) {
      case 'A':
      case 'AAAA': {
        const rdata = addressOctets(value);
        const isRight = rdata?.length === (type === 'A' ? 4 : 16) && data.length === 1;
        return rdata !== undefined && isRight ? { type: TYPE[type], ttlSec, rdata } : 'syntax';
      }
      case 'CNAME': {
        if (data.length !== 1) return 'syntax';
        if (value.toLowerCase() === 'rpz-tcp-only.') return 'action';
        const rdata = this.targetOf(this.absolute(value.toLowerCase()));
        return rdata === undefined ? 'name' : { type: TYPE.CNAME, ttlSec, rdata };
      }
      case 'TXT': {
        const strings = data.map(word => Buffer.from(word.replace(/^"(.*)"$/s, '$1'), 'latin1'));
        if (strings.length === 0 || strings.some(({ length }) => length > MOST_STRING_BYTES)) return 'syntax';
        return {
          type: TYPE.TXT,
          ttlSec,
          rdata: Buffer.concat(strings.flatMap(each => [Buffer.from([each.length]), each])),
        };
      }
      default:
        return type === '' ? 'syntax' : 'action';
    }
  }
}

/** The words of a line of a zone file, without its comment; undefined: a quote is not closed. */
function wordsOf(text: string): string[] | undefined {
  if (!/["();]/.test(text)) return text.split(/\s+/).filter(word => word !== '');
  const words = [];
  for (const [word] of text.matchAll(/"(?:[^"\\]|\\.)*"|[()]|;.*|[^\s"();]+|"/gs)) {
    if (word.startsWith(';')) break;
    if (word === '"') return undefined;
    words.push(word);
  }
  return words;
}

const UNITS: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3600, d: 86_400, w: 604_800 };

/** A TTL, such as 300 or 1h30m, in seconds; undefined: this is none. */
function ttlOf(text: string): number | undefined {
  if (text.length > 20 || !/^(?:\d+[smhdw]?)+$/i.test(text)) return undefined;
  let sec = 0;
  for (const [, number, unit] of text.matchAll(/(\d+)([smhdw]?)/gi))
    sec += Number(number) * (UNITS[(unit ?? '').toLowerCase()] ?? 1);
  return Math.min(sec, MOST_TTL_SEC);
}

/** A network of an IP trigger, such as 24.0.2.0.192 or 48.zz.db8.2001: 4 or 6, the length, the address; undefined: this is none. */
function networkOf(text: string): Buffer | undefined {
  const [length = '', ...parts] = text.split('.');
  if (!/^\d{1,3}$/.test(length) || parts.length > 8) return undefined;
  const reversed = parts.reverse();
  const isFour = reversed.length === 4 && reversed.every(part => /^\d{1,3}$/.test(part));
  const written = isFour ? reversed.join('.') : reversed.map(part => (part === 'zz' ? '' : part)).join(':');
  const address = addressOctets(isFour ? written : written.replace(/^:|:$/g, '::').replace(/:{3,}/, '::'));
  const prefix = Number(length);
  if (address === undefined || prefix === 0 || prefix > 8 * address.length) return undefined;
  for (let bit = prefix; bit < 8 * address.length; bit++) {
    const octet = address[bit >> 3] ?? 0;
    // Bits after the prefix must be 0: what is meant is not known otherwise.
    if ((octet & (0x80 >> (bit & 7))) !== 0) return undefined;
  }
  return Buffer.concat([Buffer.from([isFour ? 4 : 6, prefix]), address]);
}
