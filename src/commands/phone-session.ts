// The work of `dotstub phone`: looks, says what was found, and serves the page until its time is over.

import { X509Certificate } from 'node:crypto';
import { hostname } from 'node:os';

import { isSystemError, wordsFor } from '../base/system-error.js';
import type { GoodConfig } from '../config/check.js';
import { askStatus } from '../control/client.js';
import { systemClock } from '../os/clock.js';
import { readRegularFile } from '../os/regular-file.js';
import { type Matcher, networkMatcher } from '../policy/access.js';
import { ownNetworks } from '../run/own-networks.js';
import { accessPlan, addressesPlan } from '../run/plan.js';
import { UsageError } from './command.js';
import { listenersIn } from './listener.js';
import type { Phones } from './phone-checks.js';
import { type Found, isBlocked, look, type Service } from './phone-look.js';
import { phonePage } from './phone-page.js';
import { areOnlyAtHome, profile } from './phone-profile.js';
import { PAGE_MS, PhoneSite, type Site } from './phone-site.js';
import { print, printJson, printPicture, printProblem } from './print.js';

/** What the command line says. */
export interface PhoneRequest {
  readonly name: string | undefined;
  readonly address: string | undefined;
  readonly port: number;
  /** A file with authorities of one's own. */
  readonly ca: string | undefined;
  readonly socket: string | undefined;
  /** Whether nothing is to be served. */
  readonly onlyCheck: boolean;
  readonly json: boolean;
}

/** A service that phones can use, with its name. */
type Usable = Service & { readonly name: string };

/** Looks, tells, and serves. @returns the exit code @throws UsageError */
export async function showPhones(config: GoodConfig['config'], request: PhoneRequest): Promise<number> {
  const authorities = request.ca === undefined ? [] : authoritiesIn(request.ca);
  const status = await askStatus(request.socket ?? config.control.socket, { command: 'status', args: [] });
  if (!status.ok) {
    printProblem(`dotstub phone: ${status.problem}`);
    return 1;
  }
  const found = await look({
    ...{ listeners: listenersIn(status.data), address: request.address, name: request.name, authorities },
    ...{ path: addressesPlan(config).https.path, nowMs: systemClock.wallMs() },
  });
  const code = found.obstacles.length === 0 ? 0 : 1;
  const usable = isBlocked(found, 'android') && isBlocked(found, 'apple') ? [] : usableOf(found);
  const [first] = usable;
  if (!request.json) for (const line of obstacleLines(found)) printProblem(line);
  if (first === undefined || request.onlyCheck) {
    if (request.json) printJson(asJson(found, undefined));
    else if (first !== undefined) print(acceptedWords(found, first));
    return code;
  }
  return (await serve(config, request, found, [first, ...usable.slice(1)], authorities)) ? code : 1;
}

/** The services that phones of some kind can use: Android asks over TLS alone. */
const usableOf = ({ services }: Found): readonly Usable[] =>
  services
    .filter(isNamed)
    .filter(each => !isBlocked(each, 'apple') || (each.transport === 'tls' && !isBlocked(each, 'android')));

const isNamed = (service: Service): service is Usable => service.name !== undefined;

/** A chain of a household. */
const MOST_AUTHORITIES = 5;
const MOST_BYTES = 1 << 20;

/** The certificates in a file, PEM. @throws UsageError */
function authoritiesIn(path: string): readonly string[] {
  try {
    const text = readRegularFile(path, { mostBytes: MOST_BYTES, mayBeLink: true }).toString('latin1');
    const found = text.match(/-----BEGIN CERTIFICATE-----[\s\S]+?-----END CERTIFICATE-----/g) ?? [];
    if (found.length === 0 || found.length > MOST_AUTHORITIES)
      throw new UsageError(`--ca ${path} holds ${found.length} certificates, PEM; expected: 1 to ${MOST_AUTHORITIES}`);
    const wrong = found.find(each => !new X509Certificate(each).ca);
    if (wrong !== undefined) throw new UsageError(`--ca ${path} holds a certificate that is not that of an authority`);
    return found;
  } catch (error) {
    if (error instanceof UsageError) throw error;
    throw new UsageError(`--ca ${path} cannot be used (${wordsFor(error)})`);
  }
}

const KINDS: Readonly<Record<Phones, string>> = { android: 'Android phones', apple: 'iPhones, iPads and Macs' };

/** What keeps phones from what, each once. */
function obstacleLines({ obstacles }: Found): readonly string[] {
  const kindsOf = new Map<string, { readonly advice: string; readonly kinds: Set<Phones> }>();
  for (const { words, advice, phones } of obstacles) {
    const known = kindsOf.get(words) ?? { advice, kinds: new Set<Phones>() };
    for (const each of phones) known.kinds.add(each);
    kindsOf.set(words, known);
  }
  return [...kindsOf].map(([words, { advice, kinds }]) => {
    const [kind = 'android', other] = kinds;
    return `${other === undefined ? KINDS[kind] : 'Phones'} cannot use it: ${words}.\n  to do: ${advice}`;
  });
}

function acceptedWords(found: Found, { name, addresses, isOwnAuthority }: Usable): string {
  const place = `${name} at ${addresses.join(', ')}`;
  if (isOwnAuthority)
    return `iPhones accept ${place} with the profile, which brings your authority. Android does with "Automatic" alone.`;
  const kinds = (['android', 'apple'] as const).filter(kind => !isBlocked(found, kind));
  return `${kinds.length === 2 ? 'Phones' : kinds.map(kind => KINDS[kind]).join('')} accept ${place}.`;
}

/** For programs. */
function asJson(found: Found, served: { readonly url: string; readonly until: number } | undefined): object {
  const { services, obstacles } = found;
  return {
    ok: obstacles.length === 0,
    services: services.map(({ transport, name, addresses, url, isOwnAuthority }) => ({
      ...{ transport, name, addresses, own_authority: isOwnAuthority },
      // Left out for DNS over TLS.
      url,
    })),
    obstacles,
    ...(served === undefined ? {} : { url: served.url, until_ms: served.until }),
  };
}

/** Serves the page until its time is over, or somebody ends it. @returns whether it could be served */
async function serve(
  config: GoodConfig['config'],
  request: PhoneRequest,
  found: Found,
  usable: readonly [Usable, ...Usable[]],
  authorities: readonly string[],
): Promise<boolean> {
  const [{ addresses }] = usable;
  const [address = ''] = addresses;
  const until = systemClock.wallMs() + PAGE_MS;
  const site = new PhoneSite(
    {
      clock: systemClock,
      mayAsk: clientsOf(config),
      tell: request.json ? () => undefined : print,
    },
    siteOf(found, usable, authorities, until),
  );
  try {
    const url = await site.open(address, request.port);
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => site.close());
    if (request.json) printJson(asJson(found, { url, until }));
    else await invite(url, found, usable[0], until);
    await site.over;
  } catch (error) {
    if (!isSystemError(error)) throw error;
    printProblem(`dotstub phone: the page cannot be served at ${address} (${wordsFor(error)})`);
    return false;
  } finally {
    site.close();
  }
  return true;
}

/** Who may ask the daemon. */
function clientsOf(config: GoodConfig['config']): Matcher {
  const { allow, allowsLocal } = accessPlan(config);
  return networkMatcher([...((allowsLocal ? ownNetworks() : undefined) ?? []), ...allow]);
}

const FILES = { tls: 'dotstub.mobileconfig', https: 'dotstub-https.mobileconfig' } as const;

/** The page, and the profiles for Apple's systems. */
function siteOf(
  found: Found,
  usable: readonly [Usable, ...Usable[]],
  authorities: readonly string[],
  until: number,
): Site {
  const host = hostname();
  const [{ addresses, name, isOwnAuthority }] = usable;
  const forApple = usable.filter(each => !isBlocked(each, 'apple'));
  const problemsFor = (kind: Phones): readonly string[] =>
    found.obstacles.filter(({ phones }) => phones.includes(kind)).map(({ words }) => words);
  const ders = authorities.map(each => new X509Certificate(each).raw);
  return {
    page: phonePage({
      ...{ host, name, addresses, until: clockText(until), onlyAtHome: areOnlyAtHome(addresses) },
      androidProblems: isOwnAuthority ? [] : problemsFor('android'),
      appleProblems: problemsFor('apple'),
      profiles: forApple.map(({ transport, url }) => ({
        href: FILES[transport],
        protocol: url === undefined ? 'TLS' : 'HTTPS',
      })),
      bringsAuthority: forApple.some(each => each.isOwnAuthority),
    }),
    profiles: new Map(
      forApple.map(each => [
        FILES[each.transport],
        profile({ ...each, host, authorities: each.isOwnAuthority ? ders : [] }),
      ]),
    ),
  };
}

/** `14:32`, by the clock of this machine. */
const clockText = (ms: number): string => new Date(ms).toTimeString().slice(0, 5);

async function invite(url: string, found: Found, first: Usable, until: number): Promise<void> {
  // Loaded here alone.
  const { qrLines } = await import('./qr-code.js');
  print(`${acceptedWords(found, first)}\n`);
  printPicture(qrLines(url, process.stdout.isTTY));
  const byName = !first.isOwnAuthority && !isBlocked(found, 'android');
  print(`
Scan it with the phone, in this network, or open ${url}
Android: Settings, Network & internet, Private DNS: ${byName ? first.name : '"Automatic"'}
iPhone, iPad, Mac: ${isBlocked(found, 'apple') ? 'not yet, as it says above' : 'the page has a profile. It is not signed, and the phone says so'}
The page is there until ${clockText(until)}, for clients of access.allow. Ctrl-C ends it.
`);
}
