// Makes replies from octets: id, question and letter case of the client, the records of a stored message, and our own
// OPT. Only this file decides which flags a client gets.

import { Beginnings, copyOctets, putU16, putU32, u32At } from '../base/octets.js';
import { compose, questionName, type RecordData } from './compose.js';
import {
  CLASSIC_PAYLOAD_BYTES,
  edeOption,
  type ExtendedError,
  type Option,
  OPTION,
  PADDING_BLOCK,
  UDP_PAYLOAD_BYTES,
  writeOpt,
} from './edns.js';
import { FLAG, HEADER_BYTES, MAX_MESSAGE_BYTES, OPCODE_MASK, writeHeader } from './header.js';
import { TYPE } from './rrtype.js';
import type { ReplyTo } from './query.js';

/** A message in stored form: without OPT. Its id, flags and question are replaced for each client. */
export interface StoredMessage {
  readonly octets: Buffer;
  readonly rcode: number;
  readonly answers: number;
  readonly authority: number;
  readonly additional: number;
  /** Offsets of the TTL fields in `octets`. */
  readonly ttlOffsets: ArrayLike<number>;
}

/** Requirements of a transport for a reply. */
export interface ReplyShape {
  /** The longest reply; a longer one is truncated. */
  readonly limitBytes: number;
  /** RFC 8467: pad to blocks. Only over TLS, and only for clients that pad. */
  readonly pad: boolean;
  /** Options for the OPT, such as edns-tcp-keepalive; ignored if the client does not use EDNS. */
  readonly options: readonly Option[];
}

/** The longest UDP reply for this client: its own limit, but at most the size that all paths can carry. */
export const udpLimit = (replyTo: ReplyTo): number =>
  replyTo.opt === undefined ? CLASSIC_PAYLOAD_BYTES : Math.min(replyTo.opt.udpSize, UDP_PAYLOAD_BYTES);

/** The longest reply on a stream, limited by the two octets of length. */
export const STREAM_LIMIT_BYTES = MAX_MESSAGE_BYTES;

// A reply repeats opcode, RD (RFC 1035 §4.1.1) and CD (RFC 4035 §3.2.2) of the query. RA is always set, AA never:
// dotstub is not an authoritative server. answerReply sets AD.
const replyFlags = (replyTo: ReplyTo, rcode: number): number =>
  FLAG.QR | FLAG.RA | (replyTo.flags & (OPCODE_MASK | FLAG.RD | FLAG.CD)) | (rcode & 15);

/**
 * Whether a client may get AD: it set AD or DO (RFC 6840 §5.8), and not CD, which means that it validates itself
 * (§5.9).
 */
const understandsAd = ({ flags, opt }: ReplyTo): boolean =>
  (flags & FLAG.CD) === 0 && ((flags & FLAG.AD) !== 0 || opt?.dnssecOk === true);

/** What the OPT of a reply is made from. */
interface OptParts {
  readonly replyTo: ReplyTo;
  readonly rcode: number;
  readonly shape: ReplyShape;
  readonly errors: readonly ExtendedError[];
  /** How long the reply is without it: padding depends on the length of all. */
  readonly bytesBefore: number;
}

/** Those that most replies have: without options, and an RCODE that needs no bits there. They are only read. */
const BARE_OPT = {
  plain: writeOpt({ dnssecOk: false, options: [] }),
  dnssecOk: writeOpt({ dnssecOk: true, options: [] }),
} as const;
const MOST_HEADER_RCODE = 15;

function optFor({ replyTo: { opt }, rcode, shape, errors, bytesBefore }: OptParts): Buffer | undefined {
  if (opt === undefined) return undefined;
  if (!shape.pad && shape.options.length === 0 && errors.length === 0 && rcode <= MOST_HEADER_RCODE)
    return opt.dnssecOk ? BARE_OPT.dnssecOk : BARE_OPT.plain;
  return writeOpt(
    { rcode, dnssecOk: opt.dnssecOk, options: [...shape.options, ...errors.map(edeOption)] },
    shape.pad ? [bytesBefore, PADDING_BLOCK.response] : undefined,
  );
}

/**
 * The OPT of a reply with records, with fewer options if only then it fits: data comes before explanations and padding.
 * The largest messages of all leave no room even for an OPT. A client on a stream can do nothing about TC, so it gets them
 * without.
 */
function fittingOpt(parts: OptParts): Buffer | undefined {
  const { shape, bytesBefore } = parts;
  const leftBytes = shape.limitBytes - bytesBefore;
  const whole = optFor(parts);
  if (whole === undefined || whole.length <= leftBytes) return whole;
  const unpadded = optFor({ ...parts, shape: { ...shape, pad: false } });
  if (unpadded !== undefined && unpadded.length <= leftBytes) return unpadded;
  // A client that has sent a cookie would not believe a reply without one (RFC 7873 §5.3).
  const options = shape.options.filter(({ code }) => code === OPTION.COOKIE);
  const bare = optFor({ ...parts, shape: { ...shape, pad: false, options }, errors: [] });
  return bare !== undefined && bare.length > leftBytes && leftBytes >= 0 && shape.limitBytes === STREAM_LIMIT_BYTES
    ? undefined
    : bare;
}

/** Where replies with records are made. Each is overwritten by the next. */
const lent = new Beginnings(Buffer.allocUnsafeSlow(STREAM_LIMIT_BYTES));

/**
 * A reply with a stored message's records. It is only lent: the next one overwrites it. A Buffer of its own would take as
 * long to make as a part of the reply, and a large one would be freed long after its use, so that a client that asks for
 * large answers would fill memory with them.
 * @param ageSec seconds since the message was stored, by which its TTLs are reduced
 * @param secure whether all of it was validated: sets AD for clients that understand it
 */
export function answerReply(
  replyTo: ReplyTo & { readonly question: Buffer },
  stored: StoredMessage,
  ageSec: number,
  errors: readonly ExtendedError[],
  shape: ReplyShape,
  secure: boolean,
): Buffer {
  const { octets } = stored;
  const opt = fittingOpt({ replyTo, rcode: stored.rcode, shape, errors, bytesBefore: octets.length });
  const length = octets.length + (opt?.length ?? 0);
  if (length > shape.limitBytes) return headerOnlyReply(replyTo, stored.rcode, [], shape, FLAG.TC);

  const reply = lent.of(length);
  copyOctets(octets, 0, octets.length, reply, 0);
  writeHeader(reply, replyTo.id, replyFlags(replyTo, stored.rcode) | (secure && understandsAd(replyTo) ? FLAG.AD : 0), {
    questions: 1,
    answers: stored.answers,
    authority: stored.authority,
    additional: stored.additional + (opt === undefined ? 0 : 1),
  });
  // Use the letter case of this client's query: the client may use it to detect forged replies.
  copyOctets(replyTo.question, 0, replyTo.question.length, reply, HEADER_BYTES);
  if (ageSec > 0) {
    for (let i = 0; i < stored.ttlOffsets.length; i++) {
      const offset = stored.ttlOffsets[i] ?? 0;
      putU32(reply, offset, Math.max(0, u32At(reply, offset) - ageSec));
    }
  }
  if (opt !== undefined) copyOctets(opt, 0, opt.length, reply, octets.length);
  return reply;
}

/** A reply without records: an error, or a truncated answer (`extraFlags` TC). */
export function headerOnlyReply(
  replyTo: ReplyTo,
  rcode: number,
  errors: readonly ExtendedError[],
  shape: ReplyShape,
  extraFlags = 0,
): Buffer {
  const questionBytes = replyTo.question?.length ?? 0;
  const before = HEADER_BYTES + questionBytes;
  const parts: OptParts = { replyTo, rcode, shape, errors, bytesBefore: before };
  let opt = optFor(parts);
  // If the reply is too long, the explanation is left out. Without it every reply fits into 512 octets.
  if (before + (opt?.length ?? 0) > shape.limitBytes)
    opt = optFor({ ...parts, shape: { ...shape, pad: false }, errors: [] });
  const reply = Buffer.allocUnsafe(before + (opt?.length ?? 0));
  writeHeader(reply, replyTo.id, replyFlags(replyTo, rcode) | extraFlags, {
    questions: replyTo.question === undefined ? 0 : 1,
    answers: 0,
    authority: 0,
    additional: opt === undefined ? 0 : 1,
  });
  replyTo.question?.copy(reply, HEADER_BYTES);
  opt?.copy(reply, before);
  return reply;
}

// RFC 8482 §4.2: a synthesised HINFO, with a TTL that keeps the client from asking again at once.
const REFUSE_ANY_TTL_SEC = 3600;
const REFUSE_ANY_RDATA = Buffer.from('\x07RFC8482\x00', 'latin1');

/** The answer to QTYPE ANY (RFC 8482): one HINFO record. */
export const refuseAnyMessage = (question: Buffer): StoredMessage =>
  compose(
    question,
    {
      answer: [
        { owner: questionName(question), type: TYPE.HINFO, ttlSec: REFUSE_ANY_TTL_SEC, rdata: REFUSE_ANY_RDATA },
      ],
    },
    { compress: true },
  );

/** For how long denials of our own hold, seconds. */
export const DENIAL_TTL_SEC = 300;
/** SERIAL, REFRESH, RETRY, EXPIRE; MINIMUM is the TTL. */
const SOA_NUMBERS = [1, 3600, 1200, 604_800];
/** MNAME and RNAME are the root: no server and no mailbox. */
const SOA_NAMES_BYTES = 2;

/** The SOA record of a zone of our own. Its TTL and its MINIMUM are for how long a denial holds (RFC 2308 §5). */
export function soaRecord(zone: Buffer, ttlSec: number): RecordData {
  const rdata = Buffer.alloc(SOA_NAMES_BYTES + 4 * (SOA_NUMBERS.length + 1));
  [...SOA_NUMBERS, ttlSec].forEach((number, i) => putU32(rdata, SOA_NAMES_BYTES + 4 * i, number));
  return { owner: zone, type: TYPE.SOA, ttlSec, rdata };
}

/**
 * A denial of our own: the name does not exist in `zone` (NXDOMAIN), or has no such data (NOERROR). It has a SOA: without
 * one it must not be cached (RFC 2308 §5), and some stub resolvers do not accept it.
 * @param answer the aliases that lead to the name that is denied
 */
export const denialMessage = (
  question: Buffer,
  zone: Buffer,
  rcode: number,
  ttlSec: number = DENIAL_TTL_SEC,
  answer: readonly RecordData[] = [],
): StoredMessage => compose(question, { answer, authority: [soaRecord(zone, ttlSec)] }, { rcode });

/** RFC 7828 §3.2: how long an idle connection stays open, in units of 100 ms. */
export function keepaliveOption(idleMs: number): Option {
  const data = Buffer.alloc(2);
  putU16(data, 0, Math.min(0xffff, Math.round(idleMs / 100)));
  return { code: OPTION.TCP_KEEPALIVE, data };
}

/** The extended error with this code; none for a failure without a code. */
export const edeFor = (infoCode: number | undefined, text: string): readonly ExtendedError[] =>
  infoCode === undefined ? [] : [{ infoCode, text }];
