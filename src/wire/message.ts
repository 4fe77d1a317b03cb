// Messages as text for people. Only this file uses dns-packet, which can write most RDATA. It reads names and strings as
// UTF-8 and escapes nothing, so RDATA with names and strings is decoded here. Text is for display only: no decision
// depends on it.

import dnsPacket from 'dns-packet';

import { u16At, u32At } from '../base/octets.js';
import { characterStrings, quoted } from './character-string.js';
import { compose, questionOf } from './compose.js';
import { extendedErrors, type ExtendedError, findOption, type Opt, readOpt } from './edns.js';
import { FLAG, flagsOf, HEADER_BYTES, rcodeOf } from './header.js';
import { nameToText, readName, ROOT, skipName } from './name.js';
import { rcodeToText } from './rcode.js';
import { Records, recordsStart } from './records.js';
import { TYPE, typeToText } from './rrtype.js';
import { svcbToText } from './svcb.js';

/** One record, as in a zone file. */
export interface RecordText {
  readonly name: string;
  readonly ttl: number;
  readonly type: string;
  readonly data: string;
}

/** A message, as text. */
export interface MessageText {
  readonly rcode: string;
  readonly flags: readonly string[];
  readonly question: { readonly name: string; readonly type: string } | undefined;
  readonly answers: readonly RecordText[];
  readonly authority: readonly RecordText[];
  readonly additional: readonly RecordText[];
  readonly extendedErrors: readonly ExtendedError[];
  /** Data of an EDNS option in the message. */
  option(code: number): Buffer | undefined;
}

/**
 * Decodes a message for display.
 * @returns undefined if it is malformed
 */
export function messageToText(message: Buffer): MessageText | undefined {
  const start = recordsStart(message);
  if (start === -1) return undefined;
  const flags = flagsOf(message);
  const asked = u16At(message, 4) === 0 ? undefined : readName(message, HEADER_BYTES);
  const sections = { answer: [] as RecordText[], authority: [] as RecordText[], additional: [] as RecordText[] };
  let opt: Opt | undefined;
  const record = new Records(message, start);
  while (record.next()) {
    const owner = readName(message, record.owner);
    if (owner === undefined) return undefined;
    if (record.type === TYPE.OPT) opt = readOpt(message, record.fixed);
    else {
      sections[record.section].push({
        name: nameToText(owner.name),
        ttl: u32At(message, record.ttlOffset),
        type: typeToText(record.type),
        data: rdataToText(message, record.type, record.rdata, record.end),
      });
    }
  }
  if (record.isMalformed) return undefined;
  const found = opt;
  return {
    rcode: rcodeToText(rcodeOf(flags) | ((found?.extendedRcode ?? 0) << 4)),
    flags: Object.entries(FLAG)
      .filter(([, bit]) => (flags & bit) !== 0)
      .map(([name]) => name.toLowerCase()),
    question: asked && { name: nameToText(asked.name), type: typeToText(u16At(message, asked.end)) },
    answers: sections.answer,
    authority: sections.authority,
    additional: sections.additional,
    extendedErrors: found === undefined ? [] : extendedErrors(found, 16),
    option: code => (found === undefined ? undefined : findOption(found, code)),
  };
}

/** The octets of an RRSIG before its signer's name (RFC 4034 §3.1). */
const RRSIG_FIXED_BYTES = 18;

// RFC 3597 §5: RDATA of a type that is not known here.
const opaque = (message: Buffer, start: number, end: number): string =>
  end === start ? '\\# 0' : `\\# ${end - start} ${message.toString('hex', start, end)}`;

/** RDATA at [start, end) in presentation form. */
function rdataToText(message: Buffer, type: number, start: number, end: number): string {
  const name = (at: number): string | undefined => {
    const found = readName(message, at);
    return found !== undefined && found.end <= end ? nameToText(found.name) : undefined;
  };
  let text: string | undefined;
  switch (type) {
    case TYPE.NS:
    case TYPE.CNAME:
    case TYPE.PTR:
    case TYPE.DNAME:
      text = name(start);
      break;
    case TYPE.MX:
    case TYPE.SRV: {
      const numbers = type === TYPE.MX ? 1 : 3;
      const target = name(start + 2 * numbers);
      if (target === undefined) break;
      text = [...Array.from({ length: numbers }, (_, i) => message.readUInt16BE(start + 2 * i)), target].join(' ');
      break;
    }
    case TYPE.SOA: {
      const mname = skipName(message, start);
      const rname = mname === -1 ? -1 : skipName(message, mname);
      if (rname === -1 || rname + 20 > end) break;
      const numbers = [0, 4, 8, 12, 16].map(offset => message.readUInt32BE(rname + offset));
      text = [name(start), name(mname), ...numbers].join(' ');
      break;
    }
    case TYPE.TXT:
    case TYPE.HINFO: {
      const strings = characterStrings(message, start, end);
      if (strings !== undefined && strings.length > 0) text = strings.map(quoted).join(' ');
      break;
    }
    case TYPE.CAA: {
      // RFC 8659 §4.1: flags, and a tag of letters and digits with its length before it.
      const tagEnd = start + 2 + (message[start + 1] ?? 0);
      const tag = message.toString('latin1', start + 2, tagEnd);
      if (tagEnd > end || !/^[0-9a-z]+$/i.test(tag)) break;
      text = `${message.readUInt8(start)} ${tag} ${quoted(message.subarray(tagEnd, end))}`;
      break;
    }
    case TYPE.RRSIG:
      text = rrsigToText(message, start, end);
      break;
    case TYPE.SVCB:
    case TYPE.HTTPS:
      text = svcbToText(message.subarray(0, end), start, end);
      break;
    default:
      text = knownToText(message, type, start, end);
  }
  return text ?? opaque(message, start, end);
}

/** RFC 4034 §3.2, with times as numbers. */
function rrsigToText(message: Buffer, start: number, end: number): string | undefined {
  const signer = start + RRSIG_FIXED_BYTES < end ? readName(message, start + RRSIG_FIXED_BYTES) : undefined;
  if (signer === undefined || signer.end > end) return undefined;
  const [type, keyTag] = [start, start + 16].map(at => u16At(message, at));
  const [ttl, expiration, inception] = [start + 4, start + 8, start + 12].map(at => u32At(message, at));
  const [algorithm, labels] = [message[start + 2], message[start + 3]];
  return [
    ...[typeToText(type ?? 0), algorithm, labels, ttl, expiration, inception, keyTag, nameToText(signer.name)],
    message.toString('base64', signer.end, end),
  ].join(' ');
}

/** The RDATA types that dns-packet can decode, as text; undefined for all others. */
function knownToText(message: Buffer, type: number, start: number, end: number): string | undefined {
  // dns-packet decodes whole messages, so it gets one with only this record, owned by the root.
  const record = { owner: ROOT, type, ttlSec: 0, rdata: message.subarray(start, end) };
  const lone = compose(questionOf(ROOT, type), { answer: [record] }).octets;
  let answer: dnsPacket.Answer | undefined;
  try {
    answer = dnsPacket.decode(lone).answers?.[0];
  } catch {
    // Malformed RDATA is displayed as octets.
    return undefined;
  }
  switch (answer?.type) {
    case 'A':
    case 'AAAA':
      return answer.data;
    case 'DS':
      return `${answer.data.keyTag} ${answer.data.algorithm} ${answer.data.digestType} ${answer.data.digest.toString('hex')}`;
    case 'DNSKEY':
      return `${answer.data.flags} 3 ${answer.data.algorithm} ${answer.data.key.toString('base64')}`;
    case 'TLSA':
      return `${answer.data.usage} ${answer.data.selector} ${answer.data.matchingType} ${answer.data.certificate.toString('hex')}`;
    case 'SSHFP':
      return `${answer.data.algorithm} ${answer.data.hash} ${answer.data.fingerprint}`;
    default:
      return undefined;
  }
}
