// How private queries are now, and which addresses of servers are reached.

import type { AddressOverview, Overview, ServerOverview } from '../base/overview.js';

/** How private queries are right now, as a word for programs. */
export type Privacy = 'authenticated' | 'encrypted' | 'partly' | 'cleartext' | 'none';

/** The same for people. */
export const PRIVACY_WORDS: Readonly<Record<Privacy, string>> = {
  authenticated: 'queries go over TLS, to servers that have proved who they are',
  encrypted: 'queries go over TLS; not every server has proved who it is',
  partly: 'some queries go in cleartext',
  cleartext: 'queries go in cleartext',
  none: 'no server is reached: queries fail',
};

/** An address with its server. */
export interface Row {
  readonly server: ServerOverview;
  readonly address: AddressOverview;
}

/** The addresses of all servers. */
export const rowsOf = ({ servers }: Pick<Overview, 'servers'>): Row[] =>
  servers.flatMap(server => server.addresses.map(address => ({ server, address })));

/** The addresses of the servers that are asked for everything that no route is for, outside of a portal window. */
const mainAddresses = ({ servers }: Pick<Overview, 'servers'>): AddressOverview[] =>
  servers.filter(({ purpose }) => purpose === 'main').flatMap(({ addresses }) => addresses);

/** What a query may meet now. Names of routes and of a portal window are not meant: their way is what was configured. */
export function privacyOf(overview: Pick<Overview, 'servers'>): Privacy {
  const usable = mainAddresses(overview).filter(({ path }) => path !== 'refuse');
  const tls = usable.filter(({ path }) => path === 'tls');
  if (usable.length === 0 || usable.every(({ state }) => state === 'failed' || state === 'looking'))
    return usable.some(({ path }) => path === 'cleartext') ? 'cleartext' : 'none';
  if (tls.length === 0) return 'cleartext';
  // As long as one server is known to be private, none is asked in cleartext.
  const proven = tls.filter(({ state }) => state === 'private');
  if (tls.length < usable.length && proven.length === 0) return 'partly';
  const used = proven.length > 0 ? proven : tls;
  return used.every(({ authenticated }) => authenticated) ? 'authenticated' : 'encrypted';
}

/** E.g. `1 of 2 server addresses reached`. */
export function reachedText(overview: Pick<Overview, 'servers'>): string {
  const addresses = mainAddresses(overview);
  const reached = addresses.filter(({ state, path }) => state === 'private' || path === 'cleartext').length;
  return `${reached} of ${addresses.length} server address${addresses.length === 1 ? '' : 'es'} reached`;
}

/** Whether a query could be sent to a server right now. */
export const canAsk = (overview: Pick<Overview, 'servers'>): boolean =>
  mainAddresses(overview).some(({ path }) => path !== 'refuse');
