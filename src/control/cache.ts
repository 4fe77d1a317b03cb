// The `cache` and `flush` commands of the control socket.

import type { Overview } from '../base/overview.js';
import { cacheText } from '../base/rates.js';
import { isWithin, type Name, nameOf, nameText } from '../dnssec/name.js';
import { questionOf } from '../wire/compose.js';
import { FLAG, writeHeader } from '../wire/header.js';
import { messageToText } from '../wire/message.js';
import { lowerCased, nameFromText } from '../wire/name.js';
import type { StoredMessage } from '../wire/reply.js';
import { typeFromText, typeToText } from '../wire/rrtype.js';
import { VALIDATED_AGAIN } from './explain.js';
import type { ControlReply } from './protocol.js';
import type { ControlCommand } from './server.js';

/** An answer in the cache. */
export interface CachedAnswer extends StoredMessage {
  readonly ageSec: number;
  /** Negative: it has expired. */
  readonly leftSec: number;
  readonly verdict: string;
  /** Whether it must be validated again before it is given as validated. */
  readonly isDoubtful: boolean;
  /** The server that sent it. */
  readonly upstream: string;
  /** Whether it answers questions with CD, which are not validated. */
  readonly checkingDisabled: boolean;
  /** By which routes: those for everybody, none, or those for a group and for everybody. */
  readonly routesFor: 'everybody' | 'none' | { readonly group: string };
}

type CachedData = Readonly<Record<string, unknown>>;

/** The parts that the commands use. */
export interface CacheParts {
  readonly stats: () => Pick<Overview, 'cache' | 'sharedCache'>;
  readonly get: (question: Buffer) => readonly CachedAnswer[];
  /** Forgets answers, and known states of zones, for the names that `isMeant` accepts. Returns how many answers. */
  readonly forget: (isMeant: (name: Name) => boolean) => number;
  /** Forgets the answers that something does not exist. Returns how many. */
  readonly forgetNegative: () => number;
  /** Forgets failures. Returns how many. */
  readonly forgetFailures: () => number;
  /** Writes the cache to disk; returns how, or why it was not written. */
  readonly save: () => Promise<ControlReply>;
}

const THERE_ARE = 'there are NAME, "--zone NAME", "--all", "--negative" and "--bogus"';

/** Makes the commands. */
export function cacheCommands(parts: CacheParts): { readonly cache: ControlCommand; readonly flush: ControlCommand } {
  return {
    flush: { run: words => flush(parts, words) },
    cache: {
      run([what = 'stats', ...words]) {
        switch (what) {
          case 'stats':
            return statistics(parts.stats());
          case 'get':
            return got(parts, words);
          case 'flush':
            return flush(parts, words);
          case 'save':
            return parts.save();
          default:
            return { ok: false, problem: `cache ${what}: there are stats, get, flush and save` };
        }
      },
    },
  };
}

function statistics({ cache, sharedCache }: ReturnType<CacheParts['stats']>): ControlReply {
  const { entries, bytes, limitBytes, sizeBytes, zones, failures } = cache;
  return {
    ok: true,
    data: { entries, bytes, limit_bytes: limitBytes, size_bytes: sizeBytes, zones, failures, shared: sharedCache },
    text: [`${cacheText(cache)}; the keys and proofs of ${zones} names`, ...sharedWords(sharedCache)].join('\n'),
  };
}

function sharedWords(store: Overview['sharedCache']): readonly string[] {
  switch (store?.at) {
    case undefined:
      return [];
    case 'open':
      return ['shared with other replicas'];
    case 'opening':
      return ['not shared with other replicas yet: the store is being connected to'];
    case 'off':
      return [`not shared with other replicas: the store is not used (${store.why})`];
  }
}

function got({ get }: CacheParts, [text, type = 'A']: readonly string[]): ControlReply {
  const name = text === undefined ? undefined : nameFromText(text);
  const code = typeFromText(type);
  if (name === undefined || code === undefined)
    return { ok: false, problem: `"cache get" needs a NAME, and perhaps a TYPE: ${[text, type].join(' ')}` };
  const question = questionOf(lowerCased(name), code);
  const asked = `${nameText(nameOf(name))} ${typeToText(code)}`;
  const [first, ...more] = get(question).map(found => described(asked, found));
  if (first === undefined) return { ok: false, problem: `${asked} is not in the cache` };
  return {
    ok: true,
    data: { ...first.data, others: more.length === 0 ? undefined : more.map(({ data }) => data) },
    text: [first, ...more].map(({ text: words }) => words).join('\n'),
  };
}

/** Who gets an answer; empty: everybody whose routes are those of everybody. */
function audience({ routesFor, checkingDisabled }: CachedAnswer): string {
  const who =
    routesFor === 'everybody'
      ? []
      : [routesFor === 'none' ? 'for groups without routes' : `for the group ${routesFor.group}, by its routes`];
  return [...who, ...(checkingDisabled ? ['for queries with CD'] : [])].map(words => `, ${words}`).join('');
}

/** One answer, for people and for programs. */
function described(asked: string, found: CachedAnswer): { readonly text: string; readonly data: CachedData } {
  const { ageSec, leftSec, verdict, isDoubtful, upstream, routesFor, checkingDisabled } = found;
  const message = messageToText(whole(found));
  const records = [...(message?.answers ?? []), ...(message?.authority ?? [])];
  const lines = records.map(each => `${each.name} ${each.ttl} ${each.type} ${each.data}`);
  const left = leftSec >= 0 ? `for ${leftSec} s more` : `expired ${-leftSec} s ago`;
  const from = upstream === '' ? '' : `, from ${upstream}`;
  const doubt = isDoubtful ? `; ${VALIDATED_AGAIN}` : '';
  const who = audience(found);
  const first = `${asked}: ${message?.rcode ?? '?'}, ${verdict}${from}${who}, ${ageSec} s old, ${left}${doubt}`;
  return {
    data: {
      ...{ rcode: message?.rcode, records, age_s: ageSec, left_s: leftSec, verdict, upstream },
      must_be_validated: isDoubtful,
      // Left out if they are those of everybody.
      routes: routesFor === 'everybody' ? undefined : routesFor === 'none' ? 'none' : 'group',
      group: typeof routesFor === 'string' ? undefined : routesFor.group,
      checking_disabled: checkingDisabled ? true : undefined,
    },
    text: [first, ...lines].join('\n'),
  };
}

/** The message with its header, whose counts are kept beside it. */
function whole({ octets, rcode, answers, authority, additional }: StoredMessage): Buffer {
  const message = Buffer.from(octets);
  writeHeader(message, 0, FLAG.QR | (rcode & 15), { questions: 1, answers, authority, additional });
  return message;
}

/** "flush" and "cache flush" take the same words. A word in place of an option is understood, too. */
function flush(parts: CacheParts, words: readonly string[]): ControlReply {
  const [first, name, ...more] = words;
  switch (more.length === 0 ? first : undefined) {
    case 'all':
    case '--all':
      if (name === undefined)
        return forgotten(
          parts.forget(() => true),
          'all',
        );
      break;
    case '--negative':
      if (name === undefined) return forgotten(parts.forgetNegative(), 'those that a name or a type does not exist');
      break;
    case '--bogus':
      if (name === undefined) return forgotten(parts.forgetFailures(), 'failures, bogus zones included', 'failure');
      break;
    case 'zone':
    case '--zone':
      return flushName(parts, name, true);
    case 'name':
      return flushName(parts, name, false);
    case undefined:
      break;
    default:
      if (name === undefined) return flushName(parts, first, false);
  }
  return { ok: false, problem: `flush${words.map(each => ` ${each}`).join('')}: ${THERE_ARE}` };
}

function flushName({ forget }: CacheParts, text: string | undefined, below: boolean): ControlReply {
  const wire = text === undefined ? undefined : nameFromText(text);
  if (wire === undefined)
    return {
      ok: false,
      problem: `a NAME is needed${text === undefined ? '' : `, which ${JSON.stringify(text)} is not`}`,
    };
  const name = nameOf(wire);
  return below
    ? forgotten(
        forget(each => isWithin(each, name)),
        `${nameText(name)} and all below it`,
      )
    : forgotten(
        forget(each => each === name),
        nameText(name),
      );
}

function forgotten(count: number, what: string, noun = 'answer'): ControlReply {
  return {
    ok: true,
    text: `${count} ${noun}${count === 1 ? '' : 's'} forgotten: ${what}.`,
    data: { forgotten: count },
  };
}
