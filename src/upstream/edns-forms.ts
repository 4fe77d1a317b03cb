// In which form queries go to one server: with all EDNS options, with fewer, or without EDNS (RFC 6891 §6.2.2). Some
// servers answer FORMERR, NOTIMP or BADVERS to an option that they do not know, or to EDNS itself. Such a query is
// asked again in the next form, and the form that worked is kept for a while.

import { u16At } from '../base/octets.js';
import { RCODE } from '../base/outcome.js';
import { monoAfter, monoMs, type MonoMs } from '../base/time.js';
import { flagsOf, rcodeOf } from '../wire/header.js';
import { fullRcode } from '../wire/scan.js';
import type { AskOptions } from '../wire/upstream-query.js';

const NO_OPTIONS: AskOptions = { pad: false, keepalive: false, hideSubnet: false };

/** The forms of queries over TLS, the most private first; undefined: without EDNS. `keepalive` is sent once only. */
export const TLS_FORMS: readonly (AskOptions | undefined)[] = [
  { pad: true, keepalive: true, hideSubnet: true },
  { ...NO_OPTIONS, pad: true },
  { ...NO_OPTIONS, hideSubnet: true },
  NO_OPTIONS,
  undefined,
];

/** The forms of queries over TCP in cleartext, where padding protects nothing. */
export const TCP_FORMS: readonly (AskOptions | undefined)[] = [
  { ...NO_OPTIONS, keepalive: true, hideSubnet: true },
  NO_OPTIONS,
  undefined,
];

/** The forms of queries over UDP; a cookie is added to the first one. */
export const UDP_FORMS: readonly (AskOptions | undefined)[] = [
  { ...NO_OPTIONS, hideSubnet: true },
  NO_OPTIONS,
  undefined,
];

/** A server may be replaced by one that knows EDNS: the first form is tried again after this time. */
const KEPT_MS = 3_600_000;
/** After a question was refused in all forms, refusals are taken as answers for this long. */
const FRUITLESS_MS = 60_000;

/** Whether a response blames the form of the query. */
export function blamesForm(message: Buffer): boolean {
  switch (rcodeOf(flagsOf(message))) {
    case RCODE.FORMERR:
    case RCODE.NOTIMP:
      return true;
    case RCODE.NOERROR:
      // The upper bits of BADVERS are in the OPT. It is looked for only where there are no records but those at the end.
      return u16At(message, 6) === 0 && u16At(message, 8) === 0 && fullRcode(message) === RCODE.BADVERS;
    default:
      return false;
  }
}

/** What is known about the forms that one server accepts. Forms are numbers: places in one of the lists above. */
export class EdnsForms {
  /** The form of new queries. It is not confirmed yet if it is plainer than `confirmed`. */
  private inUse = 0;
  /** The form that the server is known to need. */
  private confirmed = 0;
  /** When the first form is tried again. */
  private untilMs: MonoMs = monoMs(0);
  private fruitlessUntilMs: MonoMs = monoMs(0);

  /** The first form without the option that is sent once per connection. */
  private readonly later: AskOptions | undefined;

  constructor(private readonly forms: readonly (AskOptions | undefined)[]) {
    const [first] = forms;
    this.later = first && { ...first, keepalive: false };
  }

  /**
   * The options of a form; undefined: no EDNS.
   * @param isFirst whether it is the first query of its connection (RFC 7828 §3.2.1)
   */
  options(form: number, isFirst: boolean): AskOptions | undefined {
    return form === 0 && !isFirst ? this.later : this.forms[form];
  }

  /** The last form: without EDNS. */
  get plainest(): number {
    return this.forms.length - 1;
  }

  /** The form of the next query. */
  current(nowMs: MonoMs): number {
    if (this.inUse > 0 && nowMs >= this.untilMs) this.inUse = this.confirmed = 0;
    return this.inUse;
  }

  /**
   * The server has refused a query in this form.
   * @returns the form to ask in again; undefined: it refuses the question, whatever its form
   */
  refused(form: number, nowMs: MonoMs): number | undefined {
    if (nowMs < this.fruitlessUntilMs) return undefined;
    if (form === this.plainest) {
      this.withdraw(nowMs);
      return undefined;
    }
    // Other queries use the next form at once. Some servers close the connection after such an error, and whatever is
    // asked over the next one must not begin at the first form again.
    this.inUse = Math.max(this.inUse, form + 1);
    this.untilMs = monoAfter(nowMs, KEPT_MS);
    return form + 1;
  }

  /**
   * The server has answered a query in this form.
   * @returns whether a form that is not confirmed has worked: then the root must be asked in the first form, because
   * the server may have refused one question only
   */
  accepted(form: number, nowMs: MonoMs): boolean {
    if (form === 0 || form <= this.confirmed || form < this.inUse) return false;
    this.confirmed = this.inUse = form;
    this.untilMs = monoAfter(nowMs, KEPT_MS);
    return true;
  }

  /** The server accepts the first form for other questions: what it refused was one question. */
  withdraw(nowMs: MonoMs): void {
    this.inUse = this.confirmed = 0;
    this.fruitlessUntilMs = monoAfter(nowMs, FRUITLESS_MS);
  }

  /** Another server may have the address now. */
  forget(): void {
    this.inUse = this.confirmed = 0;
    this.fruitlessUntilMs = monoMs(0);
  }
}
