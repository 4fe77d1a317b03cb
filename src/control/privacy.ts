// How private queries are now, and which addresses of servers are reached.

import type { AddressOverview, Overview, ServerOverview } from '../base/overview.js';

/** How private queries are right now, as a word for programs. */
export type Privacy = 'authenticated' | 'encrypted' | 'partly' | 'cleartext' | 'none';

/** The same in words for people. */
export const PRIVACY_WORDS: Readonly<Record<Privacy, string>> = {
  authenticated: 'queries go over TLS, to servers that have proved who they are',
  encrypted: 'queries go over TLS; not every server has proved who it is',
  partly: 'some queries go in cleartext',
  cleartext: 'queries go in cleartext',
  none: 'no server is reached: queries fail',
};

/** An address with its server. */
export interface AddressRow {
  readonly server: ServerOverview;
  readonly address: AddressOverview;
}

/** The addresses of all servers. */
export const rowsOf = ({ servers }: Pick<Overview, 'servers'>): AddressRow[] =>
  servers.flatMap(server => server.addresses.map(address => ({ server, address })));

/** Whether a query could be sent to an address now. */
export const isUsable = ({ path }: AddressOverview): boolean => path !== 'refuse';

/** The addresses of the servers for all names, except those of routes and of a portal window. */
const mainAddresses = ({ servers }: Pick<Overview, 'servers'>): AddressOverview[] =>
  servers.filter(({ purpose }) => purpose === 'main').flatMap(({ addresses }) => addresses);

/** How private the next query is. Names of routes and of a portal window do not count: their path is configured. */
export function privacyOf(overview: Pick<Overview, 'servers'>): Privacy {
  const usable = mainAddresses(overview).filter(each => isUsable(each) && each.silent !== true);
  const tls = usable.filter(({ path }) => path === 'tls');
  if (usable.length === 0 || usable.every(({ state }) => state === 'failed' || state === 'looking'))
    return usable.some(({ path }) => path === 'cleartext') ? 'cleartext' : 'none';
  if (tls.length === 0) return 'cleartext';
  // While one server is known to be private, no other is asked in cleartext.
  const proven = tls.filter(({ state }) => state === 'private');
  if (tls.length < usable.length && proven.length === 0) return 'partly';
  const used = proven.length > 0 ? proven : tls;
  return used.every(({ authenticated }) => authenticated) ? 'authenticated' : 'encrypted';
}

/** E.g. `1 of 2 server addresses reached`. In cleartext, only an answer shows that an address is reached. */
export function reachedText(overview: Pick<Overview, 'servers'>): string {
  const addresses = mainAddresses(overview);
  const isIdle = ({ state, path, rttMs }: AddressOverview): boolean =>
    state !== 'private' && path === 'cleartext' && rttMs === undefined;
  const heard = addresses.filter(
    each => each.silent !== true && (each.state === 'private' || each.path === 'cleartext'),
  );
  const idle = heard.filter(isIdle).length;
  const words = `${heard.length - idle} of ${addresses.length} server address${addresses.length === 1 ? '' : 'es'} reached`;
  return idle === 0 ? words : `${words}, ${idle} not asked yet`;
}
