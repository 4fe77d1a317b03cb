// Gauges: the state at the moment of a scrape, read from one overview.

import type { AddressOverview, LocalFileOverview, Overview, ServerOverview } from '../base/overview.js';
import { FINDINGS, MODES } from '../base/overview.js';
import { groupLabel, TLS_GROUPS } from '../base/tls-groups.js';
import {
  ADDRESS_STATES,
  ANCHOR_STATES,
  DNSSEC_STATES,
  GAUGES,
  type Labels,
  PURPOSES,
  UPSTREAM_TRANSPORTS,
} from './catalogue.js';
import { type Family, keysOf, PREFIX, type Sample } from './families.js';

type ReadGauge = (overview: Overview) => readonly Sample[];

const one = (value: number): Sample[] => [{ labels: {}, value }];
const flag = (labels: Labels, is: boolean): Sample => ({ labels, value: is ? 1 : 0 });

/**
 * Whether an address can be asked now in a way that the mode allows. Cleartext is a path only if the mode allows it;
 * TLS must have worked.
 */
const isReached = ({ path, state }: AddressOverview): boolean =>
  path === 'cleartext' || (path === 'tls' && state === 'private');

/** Servers with one label, which share their series: a server and its successor, or servers of two purposes. */
interface Labelled {
  readonly upstream: string;
  readonly servers: readonly ServerOverview[];
  readonly addresses: readonly AddressOverview[];
}

function byLabel({ servers }: Overview): Labelled[] {
  return [...new Set(servers.map(({ label }) => label))].map(upstream => {
    const ofLabel = servers.filter(({ label }) => label === upstream);
    return { upstream, servers: ofLabel, addresses: ofLabel.flatMap(({ addresses }) => addresses) };
  });
}

/** A gauge with one value for each label of a server; undefined: not known, and not shown. */
const perServer =
  (value: (labelled: Labelled) => number | undefined): ReadGauge =>
  overview =>
    byLabel(overview).flatMap(labelled => {
      const known = value(labelled);
      return known === undefined ? [] : [{ labels: { upstream: labelled.upstream }, value: known }];
    });

/** A gauge with a flag for each label of a server and each value: whether one of its servers has the value. */
const flagPerServer =
  <V extends string>(label: string, values: readonly V[], valueOf: (server: ServerOverview) => V): ReadGauge =>
  overview =>
    byLabel(overview).flatMap(({ upstream, servers }) =>
      values.map(value =>
        flag(
          { upstream, [label]: value },
          servers.some(each => valueOf(each) === value),
        ),
      ),
    );

/** The smallest known value, in seconds. */
function leastSec(milliseconds: readonly (number | undefined)[]): number | undefined {
  const known = milliseconds.filter(value => value !== undefined);
  return known.length === 0 ? undefined : Math.min(...known) / 1000;
}

/** A gauge with one value for each file with local names; undefined: not known, and not shown. */
const perFile =
  (value: (file: LocalFileOverview) => number | undefined): ReadGauge =>
  ({ local }) =>
    (local?.files ?? []).flatMap(each => {
      const known = value(each);
      return known === undefined ? [] : [{ labels: { file: each.path }, value: known }];
    });

/** How each gauge is read. */
const READ: Readonly<Record<keyof typeof GAUGES, ReadGauge>> = {
  build_info: ({ version }) => [
    flag({ version, node: process.versions.node, openssl: process.versions.openssl }, true),
  ],
  inflight_queries: ({ inflight }) => one(inflight),
  client_connections: ({ sessions }) => [
    { labels: { proto: 'tcp' }, value: sessions.tcp },
    { labels: { proto: 'tls' }, value: sessions.tls },
    { labels: { proto: 'https' }, value: sessions.https },
  ],
  cache_entries: ({ cache }) => one(cache.entries),
  cache_bytes: ({ cache }) => one(cache.bytes),
  shared_cache_up: ({ sharedCache }) => one(sharedCache?.at === 'open' ? 1 : 0),
  local_names: ({ local }) => one(local?.names ?? 0),
  local_file_names: perFile(({ names }) => names),
  local_file_readable: perFile(({ error }) => (error === undefined ? 1 : 0)),
  local_file_problems: perFile(({ problems }) => problems),
  local_file_read_timestamp_seconds: perFile(({ readMs }) => readMs && readMs / 1000),
  listener_certificate_expiry_timestamp_seconds: ({ certificates = [] }) =>
    certificates
      .filter(({ endsMs }) => !Number.isNaN(endsMs))
      .map(({ listener, endsMs }) => ({ labels: { listener }, value: endsMs / 1000 })),
  upstream_connections: perServer(({ addresses }) => addresses.reduce((sum, { connections }) => sum + connections, 0)),
  upstream_up: perServer(({ addresses }) => (addresses.some(isReached) ? 1 : 0)),
  upstream_authenticated: perServer(({ addresses }) => (addresses.some(({ authenticated }) => authenticated) ? 1 : 0)),
  upstream_purpose: flagPerServer('purpose', PURPOSES, each => each.purpose),
  upstream_state: overview =>
    byLabel(overview).flatMap(({ upstream, addresses }) =>
      ADDRESS_STATES.map(state => ({
        labels: { upstream, state },
        value: addresses.filter(each => each.state === state).length,
      })),
    ),
  upstream_key_exchange: overview =>
    byLabel(overview).flatMap(({ upstream, addresses }) =>
      TLS_GROUPS.map(group => ({
        labels: { upstream, group },
        value: addresses.filter(each => each.tlsGroup !== undefined && groupLabel(each.tlsGroup) === group).length,
      })),
    ),
  upstream_transport: overview =>
    byLabel(overview).flatMap(({ upstream, addresses }) =>
      UPSTREAM_TRANSPORTS.map(transport => ({
        labels: { upstream, transport },
        value: addresses.filter(each => each.transport === transport).length,
      })),
    ),
  upstream_idle_limit_seconds: perServer(({ addresses }) => leastSec(addresses.map(each => each.idleLimitMs))),
  upstream_cert_expiry_timestamp_seconds: perServer(({ addresses }) =>
    leastSec(addresses.map(each => each.certificateEndsMs)),
  ),
  upstream_dnssec: flagPerServer('state', DNSSEC_STATES, each => each.dnssec),
  findings: ({ findings }) =>
    FINDINGS.map(finding =>
      flag(
        { finding },
        findings.some(({ id }) => id === finding),
      ),
    ),
  upstream_mode: ({ mode }) => MODES.map(each => flag({ mode: each }, each === mode)),
  trust_anchor_state: ({ trustAnchors }) =>
    trustAnchors.flatMap(({ tag, state }) =>
      ANCHOR_STATES.map(each => flag({ key_tag: String(tag), state: each }, each === state)),
    ),
  config_last_reload_successful: ({ reload }) => one(reload.taken ? 1 : 0),
  config_last_reload_timestamp_seconds: ({ reload }) => one(reload.takenMs / 1000),
  clock_synchronized: ({ clockIsSet }) => one(clockIsSet === false ? 0 : 1),
};

/**
 * The gauges as families.
 * @param overview called by each; returns the same snapshot within a scrape
 */
export function gauges(overview: () => Overview): Family[] {
  return keysOf(READ).map(key => ({
    type: 'gauge',
    name: `${PREFIX}${key}`,
    help: GAUGES[key].help,
    labelNames: Object.keys(GAUGES[key].labels),
    samples: () => READ[key](overview()),
  }));
}
