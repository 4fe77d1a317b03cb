// Lists with one rule a line: hosts(5), names, and the rules of Adblock-style lists that are about names.
//
//   hosts    0.0.0.0 ads.example www.ads.example    these names
//   domains  ads.example                            this name
//            *.ads.example   .ads.example           this name and all below it, as the makers of such lists mean it
//   adblock  ||ads.example^                         this name and all below it
//            |ads.example^                          this name
//            @@||ads.example^                       not this name, whatever other rules say
//            ...$important                          counts before rules without it
//            ...$denyallow=a.example|b.example      but not these names and those below them
//            ...$client=kids|~guests                for these groups of clients only, or not for those

import { addressOctets } from '../../base/address.js';
import {
  EFFECT,
  type ListFormat,
  ruleBits,
  type RuleLimit,
  type RuleSink,
  SCOPE,
  type Scope,
  TRIGGER,
} from './rule.js';
import { readTextName } from './text.js';

/** Which forms of lines a source may have. */
export type LineFormat = Exclude<ListFormat, 'rpz'>;

const SPACE = 0x20;
const TAB = 0x09;
const RETURN = 0x0d;
const HASH = 0x23;
const DOLLAR = 0x24;
const EXCLAMATION = 0x21;
const BRACKET = 0x5b;
const PIPE = 0x7c;
const AT = 0x40;
const SLASH = 0x2f;
const STAR = 0x2a;
const DOT = 0x2e;
const COLON = 0x3a;
const CARET = 0x5e;

/** Names of a machine itself, which hosts files have. A list that has them does not mean them. */
const OWN_NAMES: ReadonlySet<string> = new Set([
  'localhost',
  'localhost.localdomain',
  'local',
  'broadcasthost',
  'ip6-localhost',
  'ip6-loopback',
  'ip6-localnet',
  'ip6-mcastprefix',
  'ip6-allnodes',
  'ip6-allrouters',
  'ip6-allhosts',
]);
/** Octets that those begin with, in lower case. */
const OWN_FIRST: ReadonlySet<number> = new Set([...OWN_NAMES].map(name => name.charCodeAt(0)));
/** The longest of them. */
const MOST_OWN_BYTES = Math.max(...[...OWN_NAMES].map(name => name.length));
/** Addresses that lead nowhere, which hosts files give to names that they block. */
const NOWHERE: ReadonlySet<string> = new Set(['0.0.0.0', '127.0.0.1', '::', '::1', '127.0.1.1', '::0']);
/** The longest text of those, and of addresses at all. */
const MOST_ADDRESS_BYTES = 45;

/** Marks of rules about the elements of a web page. */
const COSMETIC = /#(?:@|\?|\$|%|@\?|@\$|@%)?#|#\$\?#|\$\$/;
/** Modifiers that tell a browser which requests a rule is about. A rule that has one is not for all uses of its name. */
const BROWSER_MODIFIERS =
  /^~?(?:third-party|3p|first-party|1p|script|image|stylesheet|css|object|xmlhttprequest|xhr|subdocument|frame|ping|websocket|webrtc|document|doc|all|popup|popunder|font|media|other|elemhide|ehide|generichide|ghide|genericblock|specifichide|shide|match-case|inline-script|inline-font|csp|redirect|redirect-rule|removeparam|queryprune|rewrite|replace|header|cookie|domain|from|to|method|permissions|strict1p|strict3p|empty|mp4|content|urlblock|jsinject|stealth|extension|app|network|hls|jsonprune|referrerpolicy|uritransform|urltransform|urlskip|removeheader|cname|ipaddress|reason|subdocument|sitekey)(?:=|$)/;
/** The most names of $denyallow, and values of $client, in a rule. */
const MOST_VALUES = 256;
/** A group of clients, see clients[].name. */
const GROUP = /^[a-z0-9][a-z0-9_-]{0,31}$/i;

/** What follows a bracket in the head of an Adblock-style list, `[Adblock Plus 2.0]`, and in `[$app=...]`. JSON has other. */
const mayBeHead = (octet = 0): boolean => octet === DOLLAR || ((octet | 0x20) >= 0x61 && (octet | 0x20) <= 0x7a);

const isBlank = (octet: number | undefined): boolean => octet === SPACE || octet === TAB || octet === RETURN;

/** Reads lines, and gives their rules to a sink. */
export class LineRules {
  private readonly name = new Uint8Array(256);
  /** A name of $denyallow, beside that of its rule. */
  private readonly other = new Uint8Array(256);
  /** The last address that leads nowhere: the next line mostly has the same. */
  private nowhere: Uint8Array = new Uint8Array(0);

  constructor(
    private readonly format: LineFormat,
    private readonly sink: RuleSink,
  ) {}

  /** Reads the line at [start, end). */
  line(octets: Buffer, start: number, end: number, line: number): void {
    let from = start;
    let to = end;
    // A byte order mark.
    if (line === 1 && octets[from] === 0xef && octets[from + 1] === 0xbb && octets[from + 2] === 0xbf) from += 3;
    while (from < to && isBlank(octets[from])) from++;
    while (to > from && isBlank(octets[to - 1])) to--;
    const first = octets[from];
    if (from === to || first === HASH) return;
    const { format } = this;
    const mayBeAdblock = format === 'auto' || format === 'adblock';
    if (mayBeAdblock && (first === EXCLAMATION || (first === BRACKET && mayBeHead(octets[from + 1])))) return;
    if (mayBeAdblock && first === PIPE && this.whole(octets, from, to, line)) return;
    if (mayBeAdblock && (first === PIPE || (first === AT && octets[from + 1] === AT)))
      return this.adblock(octets.toString('latin1', from, to), line);
    if (first === SLASH) return this.sink.skip(line, 'regex', octets.toString('latin1', from, to));
    this.words(octets, from, to, line);
  }

  /** A line of words: an address and names, or one name. */
  private words(octets: Buffer, from: number, to: number, line: number): void {
    const { format } = this;
    let end = from;
    while (end < to && !isBlank(octets[end]) && octets[end] !== HASH) end++;
    if (end < to && octets[end] === HASH && format !== 'hosts' && format !== 'domains') {
      const text = octets.toString('latin1', from, to);
      if (COSMETIC.test(text)) return this.sink.skip(line, 'browser', text);
    }
    let next = end;
    while (next < to && isBlank(octets[next])) next++;
    const isAlone = next === to || octets[next] === HASH;
    if (isAlone) {
      if (format === 'hosts') this.skip(octets, from, to, line, 'syntax');
      else this.single(octets, from, end, to, line);
    } else if (format === 'auto' || format === 'hosts') this.hosts(octets, from, end, next, to, line);
    else this.skip(octets, from, to, line, 'syntax');
  }

  /** The names of a line of hosts(5), whose address is at [from, end). */
  private hosts(octets: Buffer, from: number, end: number, next: number, to: number, line: number): void {
    if (!this.isNowhereAgain(octets, from, end)) {
      const address = end - from > MOST_ADDRESS_BYTES ? '' : octets.toString('latin1', from, end);
      if (!NOWHERE.has(address))
        return this.skip(octets, from, to, line, addressOctets(address) === undefined ? 'syntax' : 'rewrite');
      this.nowhere = Uint8Array.from(octets.subarray(from, end));
    }
    for (let at = next; at < to && octets[at] !== HASH;) {
      let wordEnd = at;
      while (wordEnd < to && !isBlank(octets[wordEnd]) && octets[wordEnd] !== HASH) wordEnd++;
      this.hostsName(octets, at, wordEnd, line);
      at = wordEnd;
      while (at < to && isBlank(octets[at])) at++;
    }
  }

  private isNowhereAgain(octets: Buffer, from: number, end: number): boolean {
    const { nowhere } = this;
    if (end - from !== nowhere.length) return false;
    for (let i = 0; i < nowhere.length; i++) if (octets[from + i] !== nowhere[i]) return false;
    return true;
  }

  private hostsName(octets: Buffer, start: number, end: number, line: number): void {
    const bytes = readTextName(octets, start, end, this.name);
    if (bytes > 0) {
      // Few names have to be looked at.
      const mayBeOwn = end - start <= MOST_OWN_BYTES && OWN_FIRST.has((octets[start] ?? 0) | 0x20);
      if (mayBeOwn && OWN_NAMES.has(octets.toString('latin1', start, end).toLowerCase())) return;
      this.sink.rule(TRIGGER.name, this.name, bytes, ruleBits(SCOPE.exact, EFFECT.listed), line);
    } else {
      const text = octets.toString('latin1', start, end);
      if (!NOWHERE.has(text)) this.sink.skip(line, 'name', text);
    }
  }

  /** A line with one word. */
  private single(octets: Buffer, from: number, end: number, to: number, line: number): void {
    const { name, format } = this;
    let start = from;
    if (octets[start] === STAR && octets[start + 1] === DOT) start += 2;
    else if (octets[start] === DOT) start++;
    const bytes = readTextName(octets, start, end, name);
    if (bytes > 0) {
      const scope = start === from ? SCOPE.exact : SCOPE.subtree;
      // Names alone are rules of Adblock-style lists, too.
      return this.sink.rule(TRIGGER.name, name, bytes, ruleBits(scope, EFFECT.listed), line);
    }
    const isPattern = format !== 'domains' && octets.subarray(from, end).some(each => each === STAR || each === CARET);
    const isUrl = format !== 'domains' && octets.subarray(from, end).some(each => each === SLASH || each === COLON);
    this.skip(octets, from, to, line, isUrl ? 'browser' : isPattern ? 'pattern' : 'name');
  }

  /** Reads `||ads.example^`, which most lines of such lists are, without making text of it. @returns whether it is that */
  private whole(octets: Buffer, from: number, to: number, line: number): boolean {
    if (octets[from + 1] !== PIPE || octets[to - 1] !== CARET) return false;
    const bytes = readTextName(octets, from + 2, to - 1, this.name);
    if (bytes === 0) return false;
    this.sink.rule(TRIGGER.name, this.name, bytes, ruleBits(SCOPE.subtree, EFFECT.listed), line);
    return true;
  }

  /** A rule that begins with | or @@. */
  private adblock(text: string, line: number): void {
    const { sink, name } = this;
    if (COSMETIC.test(text)) return sink.skip(line, 'browser', text);
    const allows = text.startsWith('@@');
    const [, anchor, pattern = '', modifiers] =
      /^(\|{0,2})([^$]*)(?:\$(.*))?$/.exec(allows ? text.slice(2) : text) ?? [];
    const scope = SCOPES[anchor ?? ''];
    const bare = /^(?:\*\.)?([^/*^|]+)(?:\^\|?|\|)?$/.exec(pattern)?.[1];
    if (scope === undefined || bare === undefined)
      return sink.skip(line, /[/?=]/.test(pattern) ? 'browser' : 'pattern', text);
    const octets = Buffer.from(bare, 'latin1');
    const bytes = readTextName(octets, 0, octets.length, name);
    // Part of a URL: a port, a path, or an address.
    if (bytes === 0) return sink.skip(line, /[:?=]/.test(bare) ? 'browser' : 'name', text);
    const read = modifiers === undefined ? NO_MODIFIERS : readModifiers(modifiers);
    if (typeof read === 'string') return sink.skip(line, read, text);
    const { important, denyAllow, clients } = read;
    if (clients !== undefined || denyAllow.length > 0) {
      const exempt = denyAllow.flatMap(each => this.exempted(each, line));
      if (!sink.limit(line, { ...(clients ?? ALL_CLIENTS), exempt })) return;
    }
    sink.rule(TRIGGER.name, name, bytes, ruleBits(scope, allows ? EFFECT.allow : EFFECT.listed, important), line);
  }

  /** A name of $denyallow; none: it cannot be used. */
  private exempted(text: string, line: number): readonly Buffer[] {
    const octets = Buffer.from(text.replace(/^\*\./, ''), 'latin1');
    const bytes = readTextName(octets, 0, octets.length, this.other);
    if (bytes > 0) return [Buffer.from(this.other.subarray(0, bytes))];
    this.sink.skip(line, 'name', text);
    return [];
  }

  private skip(octets: Buffer, from: number, to: number, line: number, why: Parameters<RuleSink['skip']>[1]): void {
    this.sink.skip(line, why, octets.toString('latin1', from, to));
  }
}

/** What the marks at the start of a rule say. A rule without any is a part of a URL, wherever it stands. */
const SCOPES: Readonly<Record<string, Scope>> = { '||': SCOPE.subtree, '|': SCOPE.exact };

interface Modifiers {
  readonly important: boolean;
  readonly denyAllow: readonly string[];
  readonly clients: Clients | undefined;
}

type Clients = Pick<RuleLimit, 'only' | 'except'>;
const ALL_CLIENTS: Clients = { only: [], except: [] };

const NO_MODIFIERS: Modifiers = { important: false, denyAllow: [], clients: undefined };

/** Reads the modifiers of a rule, or says why the rule cannot be used. */
function readModifiers(text: string): Modifiers | 'browser' | 'modifier' {
  let important = false;
  let denyAllow: readonly string[] = [];
  let clients: Clients | undefined;
  for (const each of text.split(',')) {
    const key = each.replace(/=.*/s, '');
    const values = each.slice(each.indexOf('=') + 1).split('|', MOST_VALUES + 1);
    if (each === 'important') important = true;
    else if (key === 'denyallow' && values.length <= MOST_VALUES) denyAllow = values;
    else if (key === 'client' && values.length <= MOST_VALUES) {
      clients = clientLimit(values);
      // Addresses of clients belong into a group.
      if (clients === undefined) return 'modifier';
    } else return BROWSER_MODIFIERS.test(each) ? 'browser' : 'modifier';
  }
  return { important, denyAllow, clients };
}

function clientLimit(values: readonly string[]): Clients | undefined {
  const only: string[] = [];
  const except: string[] = [];
  for (const value of values) {
    const [, not, name = ''] = /^(~?)["']?(.*?)["']?$/.exec(value) ?? [];
    if (!GROUP.test(name)) return undefined;
    (not === '~' ? except : only).push(name);
  }
  return { only, except };
}
