// Names on lists, and answers that lead to them: by an alias, an address, or a name server.

import type { Observer } from '../../base/observer.js';
import { failure } from '../../base/outcome.js';
import type { AgeSec } from '../../base/time.js';
import type { ListChoice, ListView } from '../../policy/lists/choice.js';
import type { ListPolicy } from '../../policy/lists/list-policy.js';
import { isTargetOf } from '../../policy/lists/rule.js';
import { HEADER_BYTES } from '../../wire/header.js';
import { lowerCased, nameToText, readName } from '../../wire/name.js';
import { RecordAddresses } from '../../wire/record-addresses.js';
import { Records, recordsStart, ScannedRecords } from '../../wire/records.js';
import { TYPE } from '../../wire/rrtype.js';
import type { Answer, Outcome } from '../answer.js';
import { aliasFor, listedAnswer } from '../listed-answer.js';
import type { Query } from '../query.js';
import type { Settle, Stage } from '../stage.js';

/** The parts that the stage uses. */
export interface ListedParts {
  readonly lists: ListPolicy;
  readonly observer: Pick<Observer, 'listed'>;
  readonly ageNow: () => AgeSec;
  /** Called with each rule that is met, exceptions included. */
  readonly met?: (found: Found) => void;
}

/** A rule, and what it was found by. */
export interface Found {
  readonly choice: ListChoice;
  /** E.g. `its alias ads.example.`; empty: by the name that was asked for. */
  readonly by: string;
}

/** Makes the stage. Questions of this program itself pass. */
export function listed(parts: ListedParts): Stage {
  const { lists: policy } = parts;
  return next => (query, settle) => {
    const view = policy.viewOf(query.clientClass);
    if (view.lists === 0 || query.purpose !== 'client') return next(query, settle);
    const rule = policy.lists.ofName(view, query.name);
    if (rule === undefined) return next(query, judging(parts, query, view, settle));
    const choice = choiceFor(query, rule);
    parts.met?.({ choice, by: '' });
    // An exception is for the name with all that it leads to.
    if (choice.action === 'allow') next(query, settle);
    else settle(kept(parts, query, view, { choice, by: '' }));
  };
}

/** Looks at an answer before it is given. */
const judging =
  (parts: ListedParts, query: Query, view: ListView, settle: Settle): Settle =>
  outcome =>
    settle(judged(parts, query, view, outcome));

/**
 * Whether a reply that was made ready under the rules of before may still be given: no rule of now keeps it. One that
 * rests on an exception is made anew: the exception may be for less than the reply, e.g. for a local name, but not for
 * the name that it leads to (pipeline/resolver).
 * @param clientClass the group of the client
 * @param reply with its question, as it was made here
 */
export function mayStillBeGiven(policy: ListPolicy, clientClass: number, reply: Buffer): boolean {
  const view = policy.viewOf(clientClass);
  if (view.lists === 0) return true;
  // Replies do not have all name servers that the answer had.
  if (policy.lists.table.hasServers) return false;
  const name = readName(reply, HEADER_BYTES)?.name;
  if (name === undefined) return false;
  const choice =
    policy.lists.ofName(view, lowerCased(name)) ??
    ruleOfData(policy, view, reply, new Records(reply, recordsStart(reply)))?.choice;
  return choice === undefined;
}

/** The outcome, or the answer of a rule that it meets. */
function judged(parts: ListedParts, query: Query, view: ListView, outcome: Outcome): Outcome {
  if (outcome.at === 'failure') return outcome;
  const rule = ruleOfAnswer(parts.lists, view, query.question.length, outcome);
  if (rule === undefined) return outcome;
  const found = { ...rule, choice: choiceFor(query, rule.choice) };
  parts.met?.(found);
  return found.choice.action === 'allow' ? outcome : kept(parts, query, view, found);
}

/** A rule as it is for a query: what is where its alias leads stays there, as BIND has it. */
function choiceFor(query: Query, rule: ListChoice): ListChoice {
  const alias = rule.action === 'data' ? aliasFor(query, rule) : undefined;
  return alias !== undefined && isTargetOf(query.name, alias) ? { ...rule, action: 'allow' } : rule;
}

/** The rule that an answer meets: that of an alias or an address, else that of a name server. */
function ruleOfAnswer(
  policy: ListPolicy,
  view: ListView,
  questionBytes: number,
  answer: Pick<Answer, 'entry'>,
): Found | undefined {
  const record = new ScannedRecords(answer.entry, HEADER_BYTES + questionBytes);
  const found = ruleOfData(policy, view, answer.entry.octets, record);
  if (found !== undefined || !policy.lists.table.hasServers) return found;
  return ruleOfServers(policy, view, questionBytes, answer);
}

/** The rule of the first alias or address that has one. @param record before the first of a message */
function ruleOfData(
  { lists }: ListPolicy,
  view: ListView,
  octets: Buffer,
  record: Records | ScannedRecords,
): Found | undefined {
  const { hasAddresses } = lists.table;
  const addresses = new RecordAddresses(octets);
  while (record.next()) {
    const { type, section, rdata } = record;
    if (section !== 'answer') return undefined;
    const isAlias = type === TYPE.CNAME || isServiceAlias(type);
    if (isAlias) {
      const name = readName(octets, type === TYPE.CNAME ? rdata : rdata + 2)?.name;
      const choice = name && lists.ofName(view, lowerCased(name));
      if (choice !== undefined) return { choice, by: `its alias ${nameToText(name ?? octets)}` };
    }
    if (!hasAddresses) continue;
    addresses.of(record);
    while (addresses.next()) {
      const choice = lists.ofAddress(view, octets.subarray(addresses.at, addresses.at + addresses.bytes));
      if (choice !== undefined) return { choice, by: isAlias ? 'its address hint' : 'its address' };
    }
  }
  return undefined;
}

/** The rule of the first name server that has one. */
function ruleOfServers(
  { lists }: ListPolicy,
  view: ListView,
  questionBytes: number,
  { entry }: Pick<Answer, 'entry'>,
): Found | undefined {
  const record = new ScannedRecords(entry, HEADER_BYTES + questionBytes);
  while (record.next()) {
    const name = record.type === TYPE.NS ? readName(entry.octets, record.rdata)?.name : undefined;
    const choice = name && lists.ofServer(view, lowerCased(name));
    if (choice !== undefined) return { choice, by: `its name server ${nameToText(name ?? entry.octets)}` };
  }
  return undefined;
}

/** Types whose records name the host that clients go to (RFC 9460 §2.4). */
const isServiceAlias = (type: number): boolean => type === TYPE.HTTPS || type === TYPE.SVCB;

function kept(parts: ListedParts, query: Query, { group }: ListView, { choice, by }: Found): Outcome {
  const name = parts.lists.lists.settings[choice.list]?.name ?? '';
  parts.observer.listed(name, choice.action);
  if (choice.action === 'drop') return failure('dropped');
  return listedAnswer(
    query,
    choice,
    `${by === '' ? 'on' : `${by} is on`} the list ${name}`,
    group !== undefined,
    parts.ageNow(),
  );
}
