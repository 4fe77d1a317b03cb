// Responses over HTTPS (RFC 8484 §4.2): which ones hold the answer to a question, and what the others say. Pure.

import { putU32 } from '../base/octets.js';
import { idOf } from '../wire/header.js';
import { Records, recordsStart } from '../wire/records.js';
import { TYPE } from '../wire/rrtype.js';
import { answersQuestion, isErrorWithoutQuestion, isResponse } from '../wire/upstream-query.js';
import type { HttpResponse } from './https-session.js';

/** The media type of DNS messages (RFC 8484 §6). */
export const DNS_MESSAGE = 'application/dns-message';

/** The message id of queries over HTTPS: each has a stream of its own, so the id tells nothing apart (RFC 8484 §4.1). */
export const HTTPS_ID = 0;

/** What a response is. */
export type HttpVerdict =
  /** The message may be an error that does not repeat the question. */
  | { readonly at: 'answer'; readonly message: Buffer }
  /** It answers another question, or is no DNS response. */
  | { readonly at: 'id_mismatch' | 'question_mismatch' }
  /** HTTP itself failed. `lasts`: other questions would get the same response. */
  | { readonly at: 'refused'; readonly detail: string; readonly lasts: boolean };

/** Judges the response to a query about `question`. */
export function judge(response: HttpResponse, question: Buffer): HttpVerdict {
  const { status, contentType, body, ageSec } = response;
  if (status < 200 || status > 299) return refused(response);
  const type = contentType?.split(';', 1)[0]?.trim().toLowerCase() ?? '';
  if (type !== DNS_MESSAGE) {
    const sent = type === '' ? 'no content type' : `content of type ${shown(type)}`;
    return { at: 'refused', detail: `the server sends ${sent}, not ${DNS_MESSAGE}`, lasts: true };
  }
  if (!isResponse(body) || idOf(body) !== HTTPS_ID) return { at: 'id_mismatch' };
  if (!answersQuestion(body, question) && !isErrorWithoutQuestion(body)) return { at: 'question_mismatch' };
  return { at: 'answer', message: ageSec === 0 ? body : aged(body, ageSec) };
}

function refused({ status, location }: HttpResponse): HttpVerdict {
  // These say something about this request or about this moment, and not about all requests.
  const lasts = status < 500 && ![400, 408, 413, 414, 425, 429, 431].includes(status);
  const what = `the server answers HTTP status ${status}`;
  if (status < 300 || status > 399) return { at: 'refused', detail: what, lasts };
  const to = location === undefined ? '' : ` to ${shown(location)}`;
  // A redirection could lead to another server, which has not proved the configured identity.
  return { at: 'refused', detail: `${what}, a redirection${to}, which is not followed`, lasts };
}

const MOST_SHOWN = 100;

/** A text from the network, for messages: bounded, and without control characters. */
const shown = (text: string): string => text.slice(0, MOST_SHOWN).replace(/[^!-~]/g, '?');

/** RFC 8484 §5.1: TTLs count from when the response was made. */
function aged(message: Buffer, ageSec: number): Buffer {
  const copy = Buffer.from(message);
  const start = recordsStart(copy);
  if (start === -1) return copy;
  const record = new Records(copy, start);
  while (record.next()) {
    // The TTL field of OPT holds flags (RFC 6891 §6.1.3).
    if (record.type !== TYPE.OPT) putU32(copy, record.ttlOffset, Math.max(0, record.ttlSec - ageSec));
  }
  return copy;
}
