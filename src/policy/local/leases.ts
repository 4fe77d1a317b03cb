// Reads the files in which DHCP servers keep their leases, as those programs write them: dnsmasq (lease.c), odhcpd (its
// state file), Kea (memfile, CSV), ISC dhcpd (dhcpd.leases(5)).

import { addressOctets } from '../../base/address.js';
import { wallSec, type WallSec } from '../../base/time.js';
import { type Line, type LineProblem, linesOf, problem, tooLong } from './lines.js';

/** The formats. */
export const LEASE_FORMATS = ['dnsmasq', 'odhcpd', 'kea', 'isc'] as const;
export type LeaseFormat = (typeof LEASE_FORMATS)[number];

/** What a file says about an address. Of several entries for one address, the last one counts. */
export interface LeaseEntry {
  readonly at: 'lease';
  /** 4 or 16 octets. */
  readonly address: Buffer;
  /** The name that the device has told; undefined: none, or the lease has ended. */
  readonly host: string | undefined;
  /** Until when it is leased; undefined: for ever, or as long as the file has it. */
  readonly until: WallSec | undefined;
}

type Steps = Generator<LeaseEntry | LineProblem | undefined, void>;

/**
 * Reads a file. It yields at each line, mostly undefined or an entry, so that the reader may pause there. A line may have
 * several entries.
 */
export function readLeases(octets: Buffer, format: LeaseFormat): Steps {
  switch (format) {
    case 'dnsmasq':
      return eachLine(octets, dnsmasqLine);
    case 'odhcpd':
      return odhcpdLeases(octets);
    case 'kea':
      return keaLeases(octets);
    case 'isc':
      return iscLeases(octets);
  }
}

function* eachLine(octets: Buffer, read: (line: number, text: string) => LeaseEntry | LineProblem | undefined): Steps {
  for (const { number, text } of linesOf(octets)) yield text === undefined ? tooLong(number) : read(number, text);
}

/** 2001: a smaller number is no date. Built for machines without a clock, dnsmasq writes the length of the lease. */
const LEAST_DATE = 1_000_000_000;

/** The date of a whole number of seconds since 1970; undefined: it is none. */
function dateOf(text: string): WallSec | undefined {
  const seconds = Number(text);
  return seconds >= LEAST_DATE && Number.isSafeInteger(seconds) ? wallSec(seconds) : undefined;
}

/** `1700000000 aa:bb:cc:dd:ee:ff 192.168.1.10 nas 01:aa:bb:cc:dd:ee:ff`; `*`: no name. `duid …` precedes those of IPv6. */
function dnsmasqLine(line: number, text: string): LeaseEntry | LineProblem | undefined {
  const [expiry = '', hardware = '', address = '', host = ''] = text.split(/\s+/);
  if (expiry === '' || (expiry === 'duid' && address === '')) return undefined;
  const octets = addressOctets(address);
  if (!/^\d{1,15}$/.test(expiry) || hardware === '' || octets === undefined || host === '')
    return problem(line, 'not a lease of dnsmasq; expected: its end, hardware address, IP address, name and client id');
  return { at: 'lease', address: octets, host: host === '*' ? undefined : host, until: dateOf(expiry) };
}

/** The hosts that odhcpd has found to have the name of another one. */
const BROKEN_NAME = 'broken\\x20';

/**
 * `# br-lan DUID IAID nas 1700000000 1a2 128 2001:db8::1a2/128 fd00::1a2/128`, with an address for each prefix of the
 * link; for IPv4 `ipv4` in place of the IAID. `-`: no name. Other lines, for programs that read hosts files, say the same
 * without the end of the lease.
 */
function* odhcpdLeases(octets: Buffer): Steps {
  for (const { number, text } of linesOf(octets)) {
    if (text === undefined) yield tooLong(number);
    else if (text.startsWith('#')) yield* odhcpdLine(number, text);
    else yield undefined;
  }
}

function* odhcpdLine(line: number, text: string): Steps {
  const [, link = '', , iaid = '', host = '', end = '', , length = '', ...addresses] = text.split(/\s+/);
  const whole = iaid === 'ipv4' ? '32' : '128';
  if (link === '' || !/^-?\d{1,15}$/.test(end) || !/^\d{1,3}$/.test(length)) {
    yield problem(
      line,
      'not a lease of odhcpd; expected: #, interface, DUID, IAID, name, end, number, length, addresses',
    );
    return;
  }
  // Delegated prefixes are no addresses. An entry without an address has ended.
  if (length !== whole || addresses.length === 0) {
    yield undefined;
    return;
  }
  const hasName = host !== '-' && !host.startsWith(BROKEN_NAME);
  const until = end === '-1' ? undefined : dateOf(end);
  for (const each of addresses) {
    const address = addressOctets(each.replace(/\/\d{1,3}$/, ''));
    yield address === undefined
      ? problem(line, `${JSON.stringify(each)} is not an address`)
      : { at: 'lease', address, host: hasName ? host : undefined, until };
  }
}

const KEA_COLUMNS = ['address', 'valid_lifetime', 'expire', 'hostname', 'state'] as const;
/** A lease that does not end (Kea's INFINITY_LFT). */
const KEA_FOR_EVER = '4294967295';
/** The state of a lease that is in use, and the type of one of an address (IA_NA). */
const KEA_IN_USE = '0';

/** A header with the names of the columns, then one line for each change of a lease. */
function* keaLeases(octets: Buffer): Steps {
  let columns: ReadonlyMap<string, number> | undefined;
  for (const { number, text } of linesOf(octets)) {
    if (text === undefined) yield tooLong(number);
    else if (text === '') yield undefined;
    else if (text.startsWith('address,')) {
      columns = new Map(text.split(',').map((name, i) => [name, i]));
      const missing = KEA_COLUMNS.find(each => columns?.has(each) !== true);
      if (missing !== undefined) columns = undefined;
      yield missing === undefined ? undefined : problem(number, `the header of Kea has no column ${missing}`);
    } else yield columns === undefined ? noHeader(number) : keaLine(number, text, columns);
  }
}

const noHeader = (line: number): LineProblem =>
  problem(line, 'not a lease of Kea; expected: first a line with the names of the columns, address,…');

function keaLine(
  line: number,
  text: string,
  columns: ReadonlyMap<string, number>,
): LeaseEntry | LineProblem | undefined {
  const fields = text.split(',');
  const [address = '', lifetime = '', expire = '', host = '', state = ''] = KEA_COLUMNS.map(
    each => fields[columns.get(each) ?? -1],
  );
  const type = fields[columns.get('lease_type') ?? -1] ?? KEA_IN_USE;
  if (type !== KEA_IN_USE) return undefined;
  const octets = addressOctets(address);
  if (octets === undefined || !/^\d{1,15}$/.test(lifetime) || !/^\d{1,15}$/.test(expire))
    return problem(line, 'not a lease of Kea; expected: as many columns as in the header, with an IP address first');
  // A lifetime of 0 takes the lease back.
  const isUsed = state === KEA_IN_USE && lifetime !== '0' && host !== '';
  const until = lifetime === KEA_FOR_EVER ? undefined : wallSec(Number(expire));
  return { at: 'lease', address: octets, host: isUsed ? host : undefined, until };
}

/** A declaration of ISC dhcpd that is being read. */
interface IscLease {
  readonly address: Buffer | undefined;
  host: string | undefined;
  until: WallSec | undefined;
  isActive: boolean;
}

const ISC_LEASE = /^lease (\S{1,64}) \{$/;
const ISC_ENDS = /^ends (?:epoch (\d{1,15})|\d (\d{4}\/\d\d\/\d\d \d\d:\d\d:\d\d));/;
const ISC_STATE = /^binding state ([a-z-]{1,32});/;
const ISC_HOST = /^client-hostname "([^"\\]{1,255})";/;

/** `lease 192.168.1.10 { … }` over several lines; the last declaration of an address counts. Others are skipped. */
function* iscLeases(octets: Buffer): Steps {
  let lease: IscLease | undefined;
  let depth = 0;
  let opened = 0;
  for (const each of linesOf(octets)) {
    const { number, text = '' } = each;
    const [, address] = depth === 0 ? (ISC_LEASE.exec(text) ?? []) : [];
    if (each.text === undefined) yield tooLong(number);
    else if (address !== undefined) {
      lease = { address: addressOctets(address), host: undefined, until: undefined, isActive: true };
      [depth, opened] = [1, number];
      yield lease.address === undefined ? problem(number, `${JSON.stringify(address)} is not an address`) : undefined;
    } else if (text.endsWith('{') && !text.startsWith('#')) {
      if (depth++ === 0) opened = number;
      yield undefined;
    } else if (text === '}') {
      depth--;
      yield depth < 0 ? problem(number, 'a } without a {') : depth === 0 && lease ? endOf(lease) : undefined;
      if (depth <= 0) [depth, lease] = [0, undefined];
    } else {
      if (lease !== undefined && depth === 1) iscStatement(lease, each);
      yield undefined;
    }
  }
  if (depth > 0) yield problem(opened, 'the declaration that begins here has no end; it is not used');
}

function iscStatement(lease: IscLease, { text = '' }: Line): void {
  const [, epoch, date] = ISC_ENDS.exec(text) ?? [];
  const [, state] = ISC_STATE.exec(text) ?? [];
  const [, host] = ISC_HOST.exec(text) ?? [];
  if (epoch !== undefined) lease.until = wallSec(Number(epoch));
  // Its dates are in UTC.
  if (date !== undefined) lease.until = wallSec(Date.parse(`${date.replace(/\//g, '-').replace(' ', 'T')}Z`) / 1000);
  if (state !== undefined) lease.isActive = state === 'active';
  if (host !== undefined) lease.host = host;
}

const endOf = ({ address, host, until, isActive }: IscLease): LeaseEntry | undefined =>
  address && {
    at: 'lease',
    address,
    host: isActive ? host : undefined,
    // A date that does not exist is not a number.
    until: until !== undefined && Number.isNaN(until) ? undefined : until,
  };
