// The `status` and `upstreams` commands, the line for the service manager, and readiness, all from one overview.

import type { AddressOverview, Overview, PortalOverview } from '../base/overview.js';
import { durationText } from '../base/rates.js';
import { canAsk, PRIVACY_WORDS, privacyOf, reachedText, type AddressRow, rowsOf } from './privacy.js';
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
export const statusLine = (overview: Overview): string => `${privacyWords(overview)} (${reachedText(overview)})`;

/** How private queries are now, for people. */
export const privacyWords = (overview: Overview): string => `${overview.mode}: ${PRIVACY_WORDS[privacyOf(overview)]}`;

/** Problems that need attention, one sentence each. */
function troublesOf(overview: Overview): string[] {
  const { draining, clockIsSet, reload, waiting, unwritten, lostTrust } = overview;
  return [
    ...(privacyOf(overview) === 'none' ? ['no server is reached'] : []),
    ...(draining ? [DRAINING] : []),
    ...lostTrust,
    ...(clockIsSet === false ? ["nobody keeps this machine's clock right"] : []),
    ...(reload.taken ? [] : ['the configuration file was refused when it was last read (the log says why)']),
    ...(waiting.length === 0 ? [] : [`changed, but only in force after a restart: ${waiting.join(', ')}`]),
    ...unwritten,
  ];
}

const DRAINING = 'it is being taken out of service';

/** Why the daemon should get no queries now, for /readyz; undefined: it is ready. */
export function notReady(overview: Overview): string | undefined {
  if (overview.draining) return DRAINING;
  return canAsk(overview) ? overview.lostTrust[0] : 'no upstream server can be reached';
}

function healthWords(overview: Overview): string {
  const troubles = troublesOf(overview);
  return troubles.length === 0 ? 'nothing is wrong' : troubles.join('; ');
}

const listeningTexts = ({ listening }: Overview): string[] =>
  listening.map(
    ({ transport, address, port }) =>
      `${address.includes(':') ? `[${address}]` : address}:${port} (${transport.toUpperCase()})`,
  );

/** The state of the daemon, for programs. */
export function statusData(overview: Overview): Readonly<Record<string, unknown>> {
  const privacy = privacyOf(overview);
  const { entries, bytes, limitBytes } = overview.cache;
  return {
    version: overview.version,
    up_seconds: Math.floor(overview.upMs / 1000),
    mode: overview.mode,
    privacy,
    privacy_words: PRIVACY_WORDS[privacy],
    dnssec: overview.dnssec,
    cache: { entries, bytes, limit_bytes: limitBytes },
    inflight: overview.inflight,
    listening: listeningTexts(overview),
    portal_seconds: Math.ceil((overview.portal?.leftMs ?? 0) / 1000),
    // Left out while it is closed.
    portal: overview.portal && {
      by: overview.portal.by,
      url: overview.portal.url,
      open_seconds: Math.floor(overview.portal.openMs / 1000),
    },
    health: healthWords(overview),
    waiting: overview.waiting,
    unwritten: overview.unwritten,
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
    failure: address.failure,
  };
}

/** An open portal window, in lines. */
export function portalWords({ by, url, openMs, leftMs }: PortalOverview): readonly string[] {
  const [open, left] = [Math.floor(openMs / 1000), Math.ceil(leftMs / 1000)].map(durationText);
  const why = by === 'command' ? 'opened by command' : 'this network has a captive portal, found';
  return [
    `a portal window is open for ${left ?? ''} more: ${why} ${open ?? ''} ago`,
    ...(url === undefined ? [] : [`the page of the portal: ${url}`]),
  ];
}

/** The state of the daemon, for people. */
export function statusText(overview: Overview): string {
  const { version, upMs, portal, dnssec, cache, inflight } = overview;
  const rows = [
    ['dotstub', `${version}, running for ${durationText(upMs / 1000)}`],
    ['privacy', privacyWords(overview)],
    ...(portal === undefined ? [] : portalWords(portal).map(words => ['', words])),
    ['servers', reachedText(overview)],
    ['DNSSEC', `${dnssec}: ${VALIDATION_WORDS[dnssec]}`],
    ['cache', `${cache.entries} answers, ${sizeText(cache.bytes)} of ${sizeText(cache.limitBytes)}`],
    ['waiting', `${inflight} queries`],
    ['listening', listeningTexts(overview).join(', ')],
    ['health', healthWords(overview)],
  ];
  return [columns(rows), '', upstreamsText(overview)].join('\n');
}

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
    const at = address.address === undefined ? '' : ` (${address.address})`;
    return words === '' ? [] : [`\n\n${visible(`${label}${at}: ${words}`)}`];
  });
  const encryption = encryptionText(rows);
  return table + (encryption === '' ? '' : `\n${encryption}`) + reasons.join('');
}

/** Why an address is not asked over TLS on its port. */
function reasonsOf({ port, failure, transportReason, cleartextMs }: AddressOverview): string[] {
  const why =
    failure ?? (transportReason && `asked over HTTPS, because port ${port} cannot be used: ${transportReason}`);
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

function cellsOf(row: AddressRow, purposes: boolean, origins: boolean): string[] {
  const { server, address: one } = row;
  const { address, path, state, rttMs } = one;
  const tls = state === 'probing' || state === 'private' ? '' : ` (TLS ${STATE_WORDS[state]})`;
  return [
    server.label,
    ...(purposes ? [server.purpose] : []),
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

const MIB = 1 << 20;
const sizeText = (bytes: number): string =>
  bytes < MIB ? `${Math.round(bytes / 1024)} KiB` : `${(bytes / MIB).toFixed(1)} MiB`;

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
