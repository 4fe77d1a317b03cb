// The `explain` command of the control socket: who would answer a question, and why. Nobody is asked.

import { addressOctets } from '../base/address.js';
import { visible } from '../base/visible.js';
import { questionName, questionOf, typeOfQuestion } from '../wire/compose.js';
import { lowerCased, nameFromText, nameToText } from '../wire/name.js';
import { typeFromText, typeToText } from '../wire/rrtype.js';
import type { Finding } from '../pipeline/finding.js';
import type { DecidingStage } from '../pipeline/resolver.js';
import type { ControlReply } from './protocol.js';
import type { ControlCommand } from './server.js';

/** A rule of a list, with its place. */
export interface ExplainedRule {
  readonly list: string;
  readonly action: string;
  /** A path or a URL. */
  readonly source: string;
  readonly line: number;
  /** What it was found by: empty, or e.g. `its alias ads.example.` */
  readonly by: string;
}

/** Who would answer. */
export type ExplainedBy =
  | { readonly at: DecidingStage }
  | { readonly at: 'rule'; readonly rule: ExplainedRule }
  /** A question about our own listeners (RFC 9462), and what is told. */
  | { readonly at: 'designation'; readonly words: string }
  | DistributiveOmit<Exclude<Finding, { readonly at: 'servers' }>, 'outcome'>
  | {
      readonly at: 'route';
      readonly zone: Buffer;
      /** Its schedule; undefined: it is always in force. */
      readonly times: string | undefined;
      readonly servers: readonly string[];
      /** Whether there is an expired answer, should they not answer. */
      readonly hasStale: boolean;
    }
  | {
      readonly at: 'upstream';
      readonly servers: readonly string[];
      readonly hasStale: boolean;
      /** Whether the store that replicas share, which was not looked at, may have the answer. */
      readonly isShared: boolean;
    };

/** Omit, for each part of a union. */
type DistributiveOmit<T, K extends string> = T extends unknown ? Omit<T, K> : never;

/** A question, and who would answer it. */
export interface Explained {
  readonly question: Buffer;
  readonly by: ExplainedBy;
}

/** A question with what would become of it. */
export interface Explanation {
  /** Whether the client may ask at all. */
  readonly allowed: boolean;
  /** The group of the client; undefined: none. */
  readonly group: string | undefined;
  /** The schedule of its lists; undefined: they are always looked at. */
  readonly times: string | undefined;
  /** The lists that are looked at for it. */
  readonly lists: readonly string[];
  /** A rule that lets the name through. */
  readonly exception: ExplainedRule | undefined;
  /** The question itself, and then those that it leads to. */
  readonly steps: readonly Explained[];
  /** What changes the answer on its way to the client. */
  readonly changes: readonly ExplainedBy[];
}

/** Explains a question, its name in lower case. */
export type Explain = (type: number, question: Buffer, client: ExplainedClient) => Explanation;

/** Who asks. */
export interface ExplainedClient {
  readonly address: string;
  /** The address of ours at which it asks; undefined: any. */
  readonly at: { readonly address: string; readonly port: number } | undefined;
}

/** What is said of an answer that is in the cache since before a restart. */
export const VALIDATED_AGAIN = 'it is from before the restart, and must be validated again';

const CLIENT_OPTION = '--client';
const LISTENER_OPTION = '--listener';
/** The port of plain DNS, where one is left out. */
const DNS_PORT = 53;

/** Makes the command. */
export const explainCommand = (explain: Explain): ControlCommand => ({
  run(words) {
    const { values, rest } = optionsIn(words);
    const client = values.get(CLIENT_OPTION) ?? '127.0.0.1';
    const listener = values.get(LISTENER_OPTION);
    const [nameText = '', typeText = 'A'] = rest;
    const name = nameFromText(nameText);
    if (name === undefined)
      return { ok: false, problem: `explain needs a NAME, which ${JSON.stringify(nameText)} is not` };
    const type = typeFromText(typeText);
    if (type === undefined) return { ok: false, problem: `${JSON.stringify(typeText)} is no type of records` };
    if (addressOctets(client) === undefined)
      return { ok: false, problem: `--client needs an address, which ${JSON.stringify(client)} is not` };
    const at = listener === undefined ? undefined : placeIn(listener);
    if (at === 'unreadable')
      return { ok: false, problem: `--listener needs an address, which ${JSON.stringify(listener)} is not` };
    const lower = lowerCased(name);
    const question = questionOf(lower, type);
    return told(question, client, explain(type, question, { address: client, at }));
  },
});

/** Takes the options out of the words of a command. */
function optionsIn(words: readonly string[]): {
  readonly values: ReadonlyMap<string, string>;
  readonly rest: readonly string[];
} {
  const values = new Map<string, string>();
  let rest = words;
  for (const option of [CLIENT_OPTION, LISTENER_OPTION]) {
    const at = rest.indexOf(option);
    if (at === -1) continue;
    values.set(option, rest[at + 1] ?? '');
    rest = rest.toSpliced(at, 2);
  }
  return { values, rest };
}

/** `192.168.2.1`, `192.168.2.1:853`, `[fd00::1]:853` */
function placeIn(text: string): ExplainedClient['at'] | 'unreadable' {
  const [, bracketed, bare, port = String(DNS_PORT)] = /^(?:\[([^\]]+)\]|([^[\]]*?))(?::(\d{1,5}))?$/.exec(text) ?? [];
  const address = addressOctets(text) === undefined ? (bracketed ?? bare ?? '') : text;
  if (addressOctets(address) === undefined || Number(port) > 65_535) return 'unreadable';
  return { address, port: address === text ? DNS_PORT : Number(port) };
}

const timesText = (times: string | undefined): string => (times === undefined ? '' : ` (at ${times})`);

const ruleText = ({ list, source, line, by }: ExplainedRule): string =>
  `${source}:${line}${by === '' ? '' : ` (${by})`}, list ${list}`;

const questionText = (question: Buffer): string =>
  `${nameToText(questionName(question))} ${typeToText(typeOfQuestion(question))}`;

function told(question: Buffer, client: string, explained: Explanation): ControlReply {
  const { allowed, group, times, lists, exception, steps, changes } = explained;
  const [first, ...others] = steps;
  // A rule that the answer meets is what the client gets.
  const rule = changes.find(each => each.at === 'rule');
  const by = rule ?? first?.by;
  const lines = [
    `question  ${questionText(question)}`,
    `client    ${client}, ${group === undefined ? 'in no group' : `group ${group}`}`,
    `lists     ${lists.length === 0 ? 'none' : lists.join(', ')}${timesText(times)}`,
    ...(exception === undefined ? [] : [`let through by ${ruleText(exception)}`]),
    `answer    ${allowed && by !== undefined ? answerText(by) : 'REFUSED: the client is not in access.allow'}`,
    ...(allowed && rule === undefined ? others : []).map(
      each => `then      ${questionText(each.question)}: ${answerText(each.by)}`,
    ),
    ...changes.flatMap(({ at }) => CHANGES[at] ?? []).map(words => `then      ${words}`),
  ];
  const data = {
    question: questionText(question),
    ...{ client, allowed, group, times, lists, exception },
    by: by && dataOf(by),
    then: others.map(each => ({ question: questionText(each.question), by: dataOf(each.by) })),
    changes: changes.map(dataOf),
  };
  return { ok: true, text: lines.map(visible).join('\n'), data };
}

const dataOf = (by: ExplainedBy) =>
  by.at === 'route' || by.at === 'no_cluster_name' ? { ...by, zone: nameToText(by.zone) } : by;

const sentBy = (upstream: string): string => (upstream === '' ? '' : `; ${upstream} sent it`);
/** What becomes of the question if the servers that are asked do not answer. */
const orStale = (hasStale: boolean): string =>
  hasStale ? '; while they do not answer, an expired answer is given (cache.serve_stale)' : '';

/** This command asks nobody, the store included. */
const unlessShared = (isShared: boolean): string =>
  isShared ? ', unless the store of the replicas has the answer (cache.shared): it was not looked at' : '';

const serversText = (servers: readonly string[]): string => (servers.length === 0 ? 'no server' : servers.join(', '));

/** What the stages do with an answer that comes by. */
const CHANGES: Partial<Record<ExplainedBy['at'], string>> = {
  dns64: 'IPv6 addresses are made of its IPv4 addresses (dns64)',
  rebinding: 'private addresses are taken out of the answer (rebinding.protect)',
  firewall: 'its addresses are put into sets of the firewall (firewall_sets)',
};

function answerText(by: ExplainedBy): string {
  switch (by.at) {
    case 'any':
      return 'made here: ANY is not looked up (RFC 8482)';
    case 'special_names':
      return 'made here: it is a special-use name, which does not leave (special_names.forward)';
    case 'designation':
      return `made here: ${by.words}`;
    case 'local':
      return 'made here: a local name (records, hosts files, leases)';
    case 'portal':
      return "of the network's own resolvers, in cleartext, while the portal window is open";
    case 'dns64':
      return "made here: it is about the network's translator (dns64)";
    case 'rule':
      return `${by.rule.action}, by ${ruleText(by.rule)}`;
    case 'cache':
      return `from the cache, for ${by.leftSec} s more${sentBy(by.upstream)}`;
    case 'restored':
      return `from the cache, for ${by.leftSec} s more${sentBy(by.upstream)}; ${VALIDATED_AGAIN}`;
    case 'stale':
      return `from the cache, although it has expired (cache.serve_stale)${sentBy(by.upstream)}`;
    case 'denial':
      return 'made of what its zone has proven about other names (cache.aggressive_nsec)';
    case 'failure':
      return `the failure of a moment ago, for ${by.leftSec} s more: ${by.words}`;
    case 'no_cluster_name':
      return `made here: the cluster of the route for ${nameToText(by.zone)} has no such name (routes[].kubernetes)`;
    case 'route': {
      const servers = `${serversText(by.servers)} would be asked${orStale(by.hasStale)}`;
      return `of the route for ${nameToText(by.zone)}${timesText(by.times)}: ${servers}`;
    }
    case 'upstream':
      return `of ${serversText(by.servers)}, which would be asked${unlessShared(by.isShared)}${orStale(by.hasStale)}`;
    default:
      return 'made here';
  }
}
