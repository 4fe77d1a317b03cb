// Whether all that an address answers is alike: errors, denials, or one address for every name. Some networks have such
// resolvers: one whose way to the Internet is broken, one that refuses strangers, a captive portal. One name proves
// nothing, since its zone may be broken: there must be several, or the root, which every resolver knows. Pure.

import { addressText } from '../base/address.js';
import { RCODE } from '../base/outcome.js';
import type { AnswersAlike } from '../base/overview.js';
import { QUESTION_FIXED_BYTES, Records } from '../wire/records.js';
import { TYPE } from '../wire/rrtype.js';
import type { Scan } from '../wire/scan.js';

/** How many different names are needed. `atFirst`: while no answer was ever good. */
const LEAST_NAMES = {
  errors: { atFirst: 3, later: 8 },
  denials: { atFirst: 5, later: 16 },
  address: 4,
} as const;

const MOST_NAMES = LEAST_NAMES.denials.later;
const ROOT_QUESTION_BYTES = 1 + QUESTION_FIXED_BYTES;
const IPV4_BYTES = 4;
const UNSPECIFIED = '0.0.0.0';

/** Answers of one kind in a row. */
class Run {
  count = 0;
  /** The names that they are about, at most MOST_NAMES. */
  private readonly names = new Set<string>();
  /** Whether the root is among them. */
  hasRoot = false;

  /** @param name whatever tells names apart */
  add(name: string, isRoot: boolean): void {
    this.count++;
    this.hasRoot ||= isRoot;
    if (this.names.size < MOST_NAMES) this.names.add(name);
  }

  get differentNames(): number {
    return this.names.size;
  }
}

/** The answers of one address. */
export class AnswersSeen {
  /** Whether there was an answer that a broken resolver would not give. */
  private hadGood = false;
  /** With the latest RCODE. */
  private errors: { rcode: number; readonly run: Run } | undefined = undefined;
  private denials: Run | undefined = undefined;
  private address: { readonly text: string; readonly run: Run } | undefined = undefined;

  /**
   * Notes an answer.
   * @param question QNAME, QTYPE and QCLASS
   * @param type the QTYPE
   * @param isCleartext only these may come from someone else than the server
   */
  note(question: Buffer, type: number, message: Buffer, scan: Scan, isCleartext: boolean): void {
    const { rcode } = scan;
    if (rcode === RCODE.NOERROR) {
      this.hadGood = true;
      this.errors = this.denials = undefined;
      if (isCleartext && type === TYPE.A && !scan.negative) this.noteAddress(question, message, scan);
      return;
    }
    // Some resolvers know all types but these two.
    if (this.hadGood && (type === TYPE.DNSKEY || type === TYPE.DS)) return;
    if (rcode === RCODE.NXDOMAIN) {
      this.errors = undefined;
      addTo((this.denials ??= new Run()), question);
    } else {
      this.errors ??= { rcode, run: new Run() };
      this.errors.rcode = rcode;
      addTo(this.errors.run, question);
    }
  }

  /** Forgets all: the route to the server has changed. */
  forget(): void {
    this.hadGood = false;
    this.errors = this.denials = this.address = undefined;
  }

  /** What they have in common. */
  get alike(): AnswersAlike | undefined {
    const { errors, denials, address } = this;
    if (errors !== undefined && this.isEnough(errors.run, LEAST_NAMES.errors))
      return { at: 'errors', rcode: errors.rcode, count: errors.run.count };
    if (denials !== undefined && this.isEnough(denials, LEAST_NAMES.denials))
      return { at: 'denials', count: denials.count };
    if (address !== undefined && address.run.differentNames >= LEAST_NAMES.address)
      return { at: 'one_address', address: address.text, count: address.run.count };
    return undefined;
  }

  private isEnough(run: Run, { atFirst, later }: { readonly atFirst: number; readonly later: number }): boolean {
    return run.hasRoot || run.differentNames >= (this.hadGood ? later : atFirst);
  }

  private noteAddress(question: Buffer, message: Buffer, scan: Scan): void {
    const text = soleAddress(message, scan);
    // A resolver that blocks names gives this one.
    if (text === UNSPECIFIED) return;
    if (text === undefined) this.address = undefined;
    else {
      if (this.address?.text !== text) this.address = { text, run: new Run() };
      // Hosts of one domain often share an address.
      this.address.run.add(domainOf(question), false);
    }
  }
}

const addTo = (run: Run, question: Buffer): void =>
  run.add(
    question.toString('latin1', 0, question.length - QUESTION_FIXED_BYTES).toLowerCase(),
    question.length === ROOT_QUESTION_BYTES,
  );

/** The last two labels of the name. */
function domainOf(question: Buffer): string {
  const starts: number[] = [];
  for (let at = 0; question[at] !== 0 && at < question.length; at += (question[at] ?? 0) + 1) starts.push(at);
  return question.toString('latin1', starts.at(-2) ?? 0, question.length - QUESTION_FIXED_BYTES).toLowerCase();
}

/** The address in an answer with one record of type A, and nothing else that counts; undefined: there is another. */
function soleAddress(message: Buffer, { questionEnd, answers }: Scan): string | undefined {
  if (answers !== 1) return undefined;
  const record = new Records(message, questionEnd);
  if (!record.next() || record.type !== TYPE.A || record.rdataBytes !== IPV4_BYTES) return undefined;
  return addressText(message, record.rdata, IPV4_BYTES);
}
