// The `status` and `upstreams` commands of the control socket: what a person wants to see at a glance.

import type { AddressOverview, Mode } from '../base/overview.js';
import type { ControlCommand } from './server.js';
import { columns } from './table.js';

/** How one address of a server is doing. */
export interface EndpointReport extends AddressOverview {
  readonly upstream: string;
}

/** What there is to say. */
export interface StatusParts {
  readonly version: string;
  readonly mode: () => Mode;
  readonly dnssec: 'require' | 'prefer' | 'trust_ad' | 'off';
  /** Milliseconds since it started. */
  readonly upMs: () => number;
  readonly report: () => readonly EndpointReport[];
  readonly cache: () => { readonly entries: number; readonly bytes: number };
  readonly cacheBytes: number;
  /** Queries that wait for an answer. */
  readonly inflight: () => number;
  /** E.g. `127.0.0.1:53 (UDP)`. */
  readonly listening: () => readonly string[];
  /** Milliseconds that the portal window is still open. */
  readonly portalMs: () => number;
  /** What somebody should look at, beside servers; a sentence each. */
  readonly troubles: () => readonly string[];
}

/** How private queries are right now, as a word for programs and one for people. */
export type Privacy = 'authenticated' | 'encrypted' | 'partly' | 'cleartext' | 'none';

/** What a query may meet now. */
export function privacyOf(report: readonly EndpointReport[]): Privacy {
  const usable = report.filter(({ path }) => path !== 'refuse');
  const tls = usable.filter(({ path }) => path === 'tls');
  if (usable.length === 0 || usable.every(({ state }) => state === 'failed' || state === 'looking'))
    return usable.some(({ path }) => path === 'cleartext') ? 'cleartext' : 'none';
  if (tls.length === 0) return 'cleartext';
  // As long as one server is known to be private, none is asked in cleartext.
  if (tls.length < usable.length && !tls.some(({ state }) => state === 'private')) return 'partly';
  const used = tls.some(({ state }) => state === 'private') ? tls.filter(({ state }) => state === 'private') : tls;
  return used.every(({ authenticated }) => authenticated) ? 'authenticated' : 'encrypted';
}

const PRIVACY_WORDS: Readonly<Record<Privacy, string>> = {
  authenticated: 'queries go over TLS, to servers that have proved who they are',
  encrypted: 'queries go over TLS; not every server has proved who it is',
  partly: 'some queries go in cleartext',
  cleartext: 'queries go in cleartext',
  none: 'no server is reached: queries fail',
};

const VALIDATION_WORDS: Readonly<Record<StatusParts['dnssec'], string>> = {
  require: 'answers are validated here',
  prefer: 'answers are validated here, but for servers that strip signatures',
  trust_ad: 'servers that have proved who they are are believed',
  off: 'nobody checks answers',
};

/** What is known about reaching an address, for people. */
export const STATE_WORDS: Readonly<Record<EndpointReport['state'], string>> = {
  looking: 'address unknown',
  probing: 'not reached yet',
  private: 'over TLS',
  suspect: 'lost a moment ago',
  failed: 'not reached',
};

/** One line for a service manager: how it is doing. */
export function statusLine(mode: Mode, report: readonly EndpointReport[]): string {
  return `${mode}: ${PRIVACY_WORDS[privacyOf(report)]} (${reachedText(report)})`;
}

const reachedText = (report: readonly EndpointReport[]): string => {
  const reached = report.filter(({ state, path }) => state === 'private' || path === 'cleartext').length;
  return `${reached} of ${report.length} server address${report.length === 1 ? '' : 'es'} reached`;
};

/** How queries travel now, for people. */
export const privacyWords = ({ mode, report }: Pick<StatusParts, 'mode' | 'report'>): string =>
  `${mode()}: ${PRIVACY_WORDS[privacyOf(report())]}`;

function healthWords({ troubles, report }: StatusParts): string {
  const all = [...(privacyOf(report()) === 'none' ? ['no server is reached'] : []), ...troubles()];
  return all.length === 0 ? 'nothing is wrong' : all.join('; ');
}

/** How the daemon is doing, for programs. */
export function statusData(parts: StatusParts): Readonly<Record<string, unknown>> {
  const report = parts.report();
  const privacy = privacyOf(report);
  const { entries, bytes } = parts.cache();
  return {
    version: parts.version,
    up_seconds: Math.floor(parts.upMs() / 1000),
    mode: parts.mode(),
    privacy,
    privacy_words: PRIVACY_WORDS[privacy],
    dnssec: parts.dnssec,
    cache: { entries, bytes, limit_bytes: parts.cacheBytes },
    inflight: parts.inflight(),
    listening: parts.listening(),
    portal_seconds: Math.ceil(parts.portalMs() / 1000),
    health: healthWords(parts),
    upstreams: report.map(endpointData),
  };
}

/** How one address of a server is doing, for programs. */
export const endpointData = ({
  upstream,
  address,
  port,
  state,
  path,
  authenticated,
  connections,
  rttMs,
  idleLimitMs,
  certificateEndsMs,
  failure,
}: EndpointReport): Readonly<Record<string, unknown>> => ({
  upstream,
  address,
  port,
  state,
  path,
  authenticated,
  connections,
  rtt_ms: rttMs,
  idle_limit_ms: idleLimitMs,
  certificate_ends_ms: certificateEndsMs,
  failure,
});

/** Makes the commands. */
export function statusCommands(parts: StatusParts): {
  readonly status: ControlCommand;
  readonly upstreams: ControlCommand;
} {
  return {
    status: {
      run() {
        const report = parts.report();
        const { entries, bytes } = parts.cache();
        const portalMs = parts.portalMs();
        const rows = [
          ['dotstub', `${parts.version}, running for ${spanText(parts.upMs())}`],
          ['privacy', privacyWords(parts)],
          ...(portalMs > 0 ? [['', `a portal window is open for ${spanText(portalMs)} more`]] : []),
          ['servers', reachedText(report)],
          ['DNSSEC', `${parts.dnssec}: ${VALIDATION_WORDS[parts.dnssec]}`],
          ['cache', `${entries} answers, ${sizeText(bytes)} of ${sizeText(parts.cacheBytes)}`],
          ['waiting', `${parts.inflight()} queries`],
          ['listening', parts.listening().join(', ')],
          ['health', healthWords(parts)],
        ];
        return { ok: true, text: [columns(rows), '', table(report)].join('\n'), data: statusData(parts) };
      },
    },
    upstreams: {
      run() {
        const report = parts.report();
        return { ok: true, text: table(report), data: report.map(endpointData) };
      },
    },
  };
}

function table(report: readonly EndpointReport[]): string {
  if (report.length === 0) return 'There is no server: /etc/resolv.conf names none, and none is configured.';
  return (
    columns([
      ['server', 'address', 'state', 'identity', 'RTT', 'connections'],
      ...report.map(({ upstream, address, port, state, path, authenticated, rttMs, connections }) => [
        upstream,
        address === undefined ? '' : `${address} port ${path === 'cleartext' ? 53 : port}`,
        path === 'cleartext'
          ? `cleartext${state === 'probing' || state === 'private' ? '' : ` (TLS ${STATE_WORDS[state]})`}`
          : STATE_WORDS[state],
        authenticated ? 'proved' : state === 'private' ? 'not proved' : '',
        rttMs === undefined ? '' : `${rttMs.toFixed(rttMs < 10 ? 1 : 0)} ms`,
        String(connections),
      ]),
    ]) +
    report
      .flatMap(({ upstream, address, failure }) =>
        failure === undefined ? [] : [`\n\n${upstream}${address === undefined ? '' : ` (${address})`}: ${failure}`],
      )
      .join('')
  );
}

const MIB = 1 << 20;
const sizeText = (bytes: number): string =>
  bytes < MIB ? `${Math.round(bytes / 1024)} KiB` : `${(bytes / MIB).toFixed(1)} MiB`;

/** E.g. `3 d 4 h`, `12 min`, `40 s`. */
function spanText(ms: number): string {
  const units: readonly (readonly [string, number])[] = [
    ['d', 86_400],
    ['h', 3600],
    ['min', 60],
    ['s', 1],
  ];
  const sec = Math.round(ms / 1000);
  const first = units.findIndex(([, size]) => sec >= size);
  if (first === -1) return '0 s';
  let left = sec;
  return units
    .slice(first, first + 2)
    .flatMap(([unit, size]) => {
      const count = Math.floor(left / size);
      left -= count * size;
      return count === 0 ? [] : [`${count} ${unit}`];
    })
    .join(' ');
}
