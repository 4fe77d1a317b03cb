// The `status` and `upstreams` commands, the line for the service manager, and readiness, all from one overview.

import { aboutAddress } from '../base/address.js';
import { listWords } from '../base/list-words.js';
import type { AddressOverview, Finding, FindingId, Overview } from '../base/overview.js';
import { cacheText, durationText } from '../base/rates.js';
import { subjectsWords } from '../policy/server-certificate.js';
import { PRIVACY_WORDS, privacyOf, reachedText, type AddressRow, rowsOf } from './privacy.js';
import { designationWords, unverifiedWords } from './designation.js';
import type { ControlCommand } from './server.js';
import { columns } from './table.js';
import { visible } from '../base/visible.js';

const VALIDATION_WORDS: Readonly<Record<Overview['dnssec'], string>> = {
  require: 'answers are validated here',
  prefer: 'answers are validated here, but for servers that strip signatures',
  trust_ad: 'servers that have proved who they are are believed',
  off: 'answers are not validated',
};

/** Words for the states of an address. */
export const STATE_WORDS: Readonly<Record<AddressRow['address']['state'], string>> = {
  looking: 'address unknown',
  probing: 'not reached yet',
  private: 'over TLS',
  suspect: 'lost a moment ago',
  failed: 'not reached',
};

/** One line for a service manager. */
export function statusLine(overview: Overview): string {
  const [first, ...others] = troublesOf(overview);
  const more = others.length === 0 ? '' : ` (and ${others.length} more: "dotstub status")`;
  const trouble = first === undefined ? '' : `; ${first.words}${more}`;
  return `${privacyWords(overview)} (${reachedText(overview)})${trouble}`;
}

/** How private queries are now, for people. */
export const privacyWords = (overview: Overview): string => `${overview.mode}: ${PRIVACY_WORDS[privacyOf(overview)]}`;

/** What is wrong. */
const troublesOf = ({ findings }: Overview): readonly Finding[] => findings.filter(({ level }) => level !== 'note');

/** Why the daemon should get no queries now, for /readyz; undefined: it is ready. */
export const notReady = ({ findings }: Overview): Finding | undefined => findings.find(({ level }) => level === 'down');

function healthWords(overview: Overview): string {
  const troubles = troublesOf(overview);
  return troubles.length === 0 ? 'nothing is wrong' : troubles.map(({ words }) => words).join('; ');
}

/** Findings in lines, each with what to do about it. */
export const findingLines = (findings: readonly Finding[]): readonly string[] =>
  findings.flatMap(({ words, advice }) => [words, ...(advice === undefined ? [] : [`  to do: ${advice}`])]);

/** The findings in the data of a status, notes left out; none if it has none. */
export function readFindings(data: unknown): readonly Finding[] {
  if (typeof data !== 'object' || data === null || !('findings' in data) || !Array.isArray(data.findings)) return [];
  return data.findings.filter(isFinding).filter(({ level }) => level !== 'note');
}

const isFinding = (value: unknown): value is Finding =>
  typeof value === 'object' &&
  value !== null &&
  'words' in value &&
  typeof value.words === 'string' &&
  'level' in value &&
  (!('advice' in value) || typeof value.advice === 'string');

/** Rows of a table: the first has the heading. */
const rowsUnder = (heading: string, lines: readonly string[]): string[][] =>
  lines.map((line, i) => [i === 0 ? heading : '', line]);

/** What validation comes to, in words. */
function validationWords({ dnssec, findings, validation }: Overview): string {
  const blamed = findings.find(({ id }) => VALIDATION_FINDINGS.has(id));
  if (blamed !== undefined) return blamed.words;
  const isValidating = dnssec === 'require' || dnssec === 'prefer';
  return `${VALIDATION_WORDS[dnssec]}${isValidating && validation?.works === false ? ' (none was signed so far)' : ''}`;
}

const VALIDATION_FINDINGS: ReadonlySet<FindingId> = new Set([
  'unvalidated',
  'signatures_missing',
  'bogus',
  'lost_trust',
]);

/** Where the daemon listens: `127.0.0.1:53 (UDP)`. */
export const listeningTexts = ({ listening }: Pick<Overview, 'listening'>): string[] =>
  listening.map(
    ({ transport, address, port }) =>
      `${address.includes(':') ? `[${address}]` : address}:${port} (${transport.toUpperCase()})`,
  );

/** The state of the daemon, for programs. */
export function statusData(overview: Overview): Readonly<Record<string, unknown>> {
  const privacy = privacyOf(overview);
  const { entries, bytes, limitBytes, sizeBytes } = overview.cache;
  return {
    version: overview.version,
    up_seconds: Math.floor(overview.upMs / 1000),
    mode: overview.mode,
    privacy,
    privacy_words: PRIVACY_WORDS[privacy],
    dnssec: overview.dnssec,
    cache: { entries, bytes, limit_bytes: limitBytes, size_bytes: sizeBytes },
    inflight: overview.inflight,
    listening: listeningTexts(overview),
    // The same for programs.
    listeners: overview.listening,
    portal_seconds: Math.ceil((overview.portal?.leftMs ?? 0) / 1000),
    // Left out while it is closed.
    portal: overview.portal && {
      by: overview.portal.by,
      url: overview.portal.url,
      visit: overview.portal.visit,
      open_seconds: Math.floor(overview.portal.openMs / 1000),
    },
    health: healthWords(overview),
    findings: overview.findings,
    // Left out if there are none.
    lists: overview.lists?.lists.length === 0 ? undefined : overview.lists?.lists,
    local: localData(overview),
    certificates: certificatesData(overview),
    designation: overview.designation,
    waiting: overview.waiting,
    unwritten: overview.unwritten,
    unserved: overview.unserved,
    upstreams: upstreamsData(overview),
  };
}

/** The state of the addresses of servers, for programs. */
export const upstreamsData = (overview: Pick<Overview, 'servers'>): Readonly<Record<string, unknown>>[] =>
  rowsOf(overview).map(dataOf);

function dataOf(row: AddressRow): Readonly<Record<string, unknown>> {
  const { server, address } = row;
  const origin = originOf(row);
  return {
    upstream: server.label,
    // Left out if it is `main`.
    purpose: server.purpose === 'main' ? undefined : server.purpose,
    // The groups of `routes[].clients`; left out if there are none.
    clients: server.clients,
    // Left out if it is `configured`.
    origin: origin === 'configured' ? undefined : origin,
    address: address.address,
    port: address.port,
    asked_port: address.askedPort,
    state: address.state,
    path: address.path,
    cleartext_seconds: address.cleartextMs === undefined ? undefined : Math.floor(address.cleartextMs / 1000),
    transport: address.transport,
    transport_reason: address.transportReason,
    authenticated: address.authenticated,
    // Left out if certificates and pins decide.
    dane: address.dane === true ? true : undefined,
    connections: address.connections,
    rtt_ms: address.rttMs,
    idle_limit_ms: address.idleLimitMs,
    tls_version: address.tlsVersion,
    key_exchange: address.tlsGroup,
    certificate_ends_ms: address.certificateEndsMs,
    failure: failureText(address),
  };
}

/** The state of the daemon, for people. */
export function statusText(overview: Overview): string {
  const { version, upMs, dnssec, cache, inflight, findings } = overview;
  const troubles = troublesOf(overview);
  const notes = findings.filter(({ level }) => level === 'note');
  const rows = [
    ['dotstub', `${version}, running for ${durationText(upMs / 1000)}`],
    ['privacy', privacyWords(overview)],
    ['servers', reachedText(overview)],
    ['DNSSEC', `${dnssec}: ${validationWords(overview)}`],
    ['cache', cacheText(cache)],
    ...rowsUnder(
      'lists',
      (overview.lists?.lists ?? []).map(list => `${list.name}: ${visible(listWords(list))}`),
    ),
    ['waiting', `${inflight} queries`],
    ['listening', listeningTexts(overview).join(', ')],
    ...privateRows(overview),
    ...localRows(overview),
    ...rowsUnder('health', troubles.length === 0 ? ['nothing is wrong'] : findingLines(troubles)),
    ...rowsUnder('to know', findingLines(notes)),
  ];
  return [columns(rows), '', upstreamsText(overview)].join('\n');
}

/** The certificates that listeners show, and what clients are told about these listeners. */
function privateRows({ certificates = [], designation }: Overview): string[][] {
  const shown = certificates.map(({ path, names, addresses, endsMs }) => {
    const until = Number.isNaN(endsMs) ? '' : `, until ${new Date(endsMs).toISOString().slice(0, 10)}`;
    return visible(`${path}: for ${subjectsWords({ names, addresses })}${until}`);
  });
  const told = designation && [designationWords(designation), unverifiedWords(designation)];
  return [
    ...rowsUnder('certificate', shown),
    ...rowsUnder(
      'discovery',
      (told ?? []).flatMap(each => each ?? []),
    ),
  ];
}

/** The same for programs; undefined, which leaves it out: no listener has one. */
const certificatesData = ({ certificates = [] }: Overview): readonly Readonly<Record<string, unknown>>[] | undefined =>
  certificates.length === 0
    ? undefined
    : certificates.map(({ listener, path, names, addresses, startsMs, endsMs, validity, refused }) => ({
        ...{ listener, path, names, addresses, validity, refused },
        ...{ starts_ms: startsMs, ends_ms: endsMs },
      }));

/** Files with local names, a line for each. */
function localRows({ local }: Overview): string[][] {
  if (local === undefined || (local.names === 0 && local.files.length === 0)) return [];
  const files = local.files.map(({ path, format, names, readMs }) => {
    const read = readMs === undefined ? 'not read' : `read ${new Date(readMs).toISOString().slice(0, 19)}Z`;
    return visible(`${path} (${format}): ${names} ${names === 1 ? 'name' : 'names'}, ${read}`);
  });
  return rowsUnder('local names', [String(local.names), ...files]);
}

/** The same for programs; undefined, which leaves it out: there are none. */
const localData = ({ local }: Overview): Readonly<Record<string, unknown>> | undefined =>
  local && {
    names: local.names,
    files: local.files.map(({ path, format, names, readMs, error, problems, firstProblem }) => ({
      ...{ path, format, names, error, problems },
      read_ms: readMs,
      first_problem: firstProblem,
    })),
  };

/** Servers in a table; below it how they are encrypted, and why one is not reached, or not over TLS on its port. */
export function upstreamsText(overview: Pick<Overview, 'servers'>): string {
  const rows = rowsOf(overview);
  if (rows.length === 0) return 'There is no server: /etc/resolv.conf names none, and none is configured.';
  // Most daemons have servers of only one purpose, and need no column for it.
  const purposes = rows.some(({ server }) => server.purpose !== 'main');
  // In the configuration, everybody can look it up.
  const origins = rows.some(row => originOf(row) !== 'configured');
  const table = columns([
    [
      'server',
      ...(purposes ? ['purpose'] : []),
      ...(origins ? ['from'] : []),
      ...['address', 'state', 'identity', 'RTT', 'connections'],
    ],
    ...rows.map(row => cellsOf(row, purposes, origins)),
  ]);
  const reasons = rows.flatMap(({ server: { label }, address }) => {
    const words = reasonsOf(address).join('; ');
    return words === '' ? [] : [`\n\n${visible(aboutAddress(label, address.address, words))}`];
  });
  const encryption = encryptionText(rows);
  return table + (encryption === '' ? '' : `\n${encryption}`) + reasons.join('');
}

/** Why an address is not reached, and what can be done about it. */
const failureText = ({ failure, hint }: AddressOverview): string | undefined =>
  failure && [failure, hint].filter(each => each !== undefined).join('; ');

/** Why an address is not asked over TLS on its port. */
function reasonsOf(address: AddressOverview): string[] {
  const { port, transportReason, cleartextMs } = address;
  const why =
    failureText(address) ??
    (transportReason && `asked over HTTPS, because port ${port} cannot be used: ${transportReason}`);
  const since = cleartextMs && `its queries have gone in cleartext for ${durationText(cleartextMs / 1000)}`;
  return [why, since].filter(each => typeof each === 'string');
}

/** Where an address comes from: as its server, or designated by it (RFC 9462). */
const originOf = ({ server, address }: AddressRow): keyof typeof ORIGIN_WORDS =>
  address.designated === true ? 'designated' : server.origin;

const ORIGIN_WORDS = {
  configured: 'configuration',
  system: 'resolv.conf',
  announced: 'network (DNR)',
  designated: 'network (DDR)',
} as const;

/** What a server is for, and for which groups. */
const purposeText = ({ purpose, clients }: AddressRow['server']): string =>
  clients === undefined ? purpose : `${purpose} (${clients.join(', ')})`;

function cellsOf(row: AddressRow, purposes: boolean, origins: boolean): string[] {
  const { server, address: one } = row;
  const { address, path, state, rttMs } = one;
  const tls = state === 'probing' || state === 'private' ? '' : ` (TLS ${STATE_WORDS[state]})`;
  return [
    server.label,
    ...(purposes ? [purposeText(server)] : []),
    ...(origins ? [ORIGIN_WORDS[originOf(row)]] : []),
    address === undefined ? '' : `${address} port ${one.askedPort}`,
    path === 'cleartext'
      ? `cleartext${tls}`
      : one.transport === 'https' && state === 'private'
        ? 'over HTTPS'
        : STATE_WORDS[state],
    one.authenticated ? (one.dane === true ? 'proved by DANE' : 'proved') : state === 'private' ? 'not proved' : '',
    rttMs === undefined ? '' : `${rttMs.toFixed(rttMs < 10 ? 1 : 0)} ms`,
    String(one.connections),
  ];
}

/** Which addresses were last reached with which version of TLS and which key exchange, a line for each pair. */
function encryptionText(rows: readonly AddressRow[]): string {
  const reached = new Map<string, string[]>();
  for (const { server, address: one } of rows) {
    if (one.tlsVersion === undefined || one.address === undefined) continue;
    const words = [one.tlsVersion.replace('v', ' '), one.tlsGroup].filter(each => each !== undefined).join(', ');
    const where = server.label === one.address ? server.label : `${server.label} (${one.address})`;
    reached.set(words, [...(reached.get(words) ?? []), where]);
  }
  return [...reached].map(([words, where]) => `\n${words}: ${where.join(', ')}`).join('');
}

/** Makes the commands. */
export function statusCommands(overview: () => Overview): {
  readonly status: ControlCommand;
  readonly upstreams: ControlCommand;
} {
  return {
    status: {
      run() {
        const seen = overview();
        return { ok: true, text: statusText(seen), data: statusData(seen) };
      },
    },
    upstreams: {
      run() {
        const seen = overview();
        return { ok: true, text: upstreamsText(seen), data: upstreamsData(seen) };
      },
    },
  };
}
