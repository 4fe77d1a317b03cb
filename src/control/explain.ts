// The `explain` command of the control socket: who would answer a question, and why. Nobody is asked.

import { addressOctets } from '../base/address.js';
import { visible } from '../base/visible.js';
import { questionOf } from '../wire/compose.js';
import { lowerCased, nameFromText, nameToText } from '../wire/name.js';
import { typeFromText, typeToText } from '../wire/rrtype.js';
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
export type Explained =
  | { readonly at: 'any' }
  | { readonly at: 'portal' }
  | { readonly at: 'list'; readonly rule: ExplainedRule }
  | { readonly at: 'cache'; readonly leftSec: number; readonly upstream: string }
  | { readonly at: 'route'; readonly zone: Buffer; readonly servers: readonly string[] }
  | { readonly at: 'upstream'; readonly servers: readonly string[] };

/** A question with the one who would answer it. */
export interface Explanation {
  /** Whether the client may ask at all. */
  readonly allowed: boolean;
  /** The group of the client; undefined: none. */
  readonly group: string | undefined;
  /** The lists that are looked at for it. */
  readonly lists: readonly string[];
  /** A rule that lets the name through. */
  readonly exception: ExplainedRule | undefined;
  readonly by: Explained;
}

/** Explains a question, its name in wire form in lower case. */
export type Explain = (name: Buffer, type: number, question: Buffer, client: string) => Explanation;

const CLIENT_OPTION = '--client';

/** Makes the command. */
export const explainCommand = (explain: Explain): ControlCommand => ({
  run(words) {
    const at = words.indexOf(CLIENT_OPTION);
    const client = at === -1 ? '127.0.0.1' : (words[at + 1] ?? '');
    const [nameText = '', typeText = 'A'] = at === -1 ? words : words.toSpliced(at, 2);
    const name = nameFromText(nameText);
    if (name === undefined)
      return { ok: false, problem: `explain needs a NAME, which ${JSON.stringify(nameText)} is not` };
    const type = typeFromText(typeText);
    if (type === undefined) return { ok: false, problem: `${JSON.stringify(typeText)} is no type of records` };
    if (addressOctets(client) === undefined)
      return { ok: false, problem: `--client needs an address, which ${JSON.stringify(client)} is not` };
    const lower = lowerCased(name);
    return told(
      `${nameToText(lower)} ${typeToText(type)}`,
      client,
      explain(lower, type, questionOf(lower, type), client),
    );
  },
});

const ruleText = ({ list, source, line, by }: ExplainedRule): string =>
  `${source}:${line}${by === '' ? '' : ` (${by})`}, list ${list}`;

function told(question: string, client: string, explained: Explanation): ControlReply {
  const { allowed, group, lists, exception, by } = explained;
  const from = `client    ${client}, ${group === undefined ? 'in no group' : `group ${group}`}`;
  const lines = [
    `question  ${question}`,
    from,
    `lists     ${lists.length === 0 ? 'none' : lists.join(', ')}`,
    ...(exception === undefined ? [] : [`let through by ${ruleText(exception)}`]),
    `answer    ${allowed ? answerText(by) : 'REFUSED: the client is not in access.allow'}`,
  ];
  const data = { question, client, ...explained, by: by.at === 'route' ? { ...by, zone: nameToText(by.zone) } : by };
  return { ok: true, text: lines.map(visible).join('\n'), data };
}

const serversText = (servers: readonly string[]): string => (servers.length === 0 ? 'no server' : servers.join(', '));

function answerText(by: Explained): string {
  switch (by.at) {
    case 'any':
      return 'made here: ANY is not looked up (RFC 8482)';
    case 'portal':
      return "of the network's own resolvers, in cleartext, while the portal window is open";
    case 'list':
      return `${by.rule.action}, by ${ruleText(by.rule)}`;
    case 'cache':
      return `from the cache, for ${by.leftSec} s more${by.upstream === '' ? '' : `; ${by.upstream} sent it`}`;
    case 'route':
      return `of the route for ${nameToText(by.zone)}: ${serversText(by.servers)} would be asked`;
    case 'upstream':
      return `of ${serversText(by.servers)}, which would be asked`;
  }
}
