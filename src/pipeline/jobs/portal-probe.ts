// Looks for a captive portal when the detection (policy/portal-detection) wants it. First the API of the network is
// asked, if the network has announced one (RFC 8910, RFC 8908), then the URL of the configuration: without a portal,
// that answers with status 204 and no body. The names of both are asked of the network's own resolvers: no other one
// could be reached behind a portal, and a portal may be the only one that knows its name.

import { isIP } from '../../base/address.js';
import { HTTPS_PORT } from '../../base/port-numbers.js';
import type { HttpGet, HttpRequest, HttpResponse } from '../../base/ports.js';
import type { MonoMs } from '../../base/time.js';
import type { PortalDetection, PortalFinding } from '../../policy/portal-detection.js';
import { bootstrap } from '../../upstream/bootstrap.js';
import { type OwnQuestionPorts, type PlainServer, whenDone } from '../../upstream/own-question.js';
import { lowerCased, nameFromText } from '../../wire/name.js';
import type { Job, JobRun } from './jobs.js';

/** An HTTP URL, taken apart. */
export interface HttpPlace {
  /** A host name, or an address without brackets. */
  readonly host: string;
  readonly port: number;
  /** With its query. */
  readonly path: string;
}

/** The parts that the job uses. */
export interface PortalProbeParts {
  readonly detection: PortalDetection;
  readonly monotonicMs: () => MonoMs;
  readonly ports: OwnQuestionPorts;
  readonly get: HttpGet;
  /** The URL of the configuration at present. */
  readonly place: () => HttpPlace | undefined;
  /** The URLs of APIs that the network has announced. */
  readonly apis: () => readonly string[];
  /** The network's own resolvers. */
  readonly resolvers: () => readonly PlainServer[];
  /** The trusted roots for the API, PEM; undefined: those of Node.js. */
  readonly roots: () => string | undefined;
}

const FREE: PortalFinding = { at: 'free' };
const UNKNOWN: PortalFinding = { at: 'unknown' };
/** RFC 8910 §2: the network says that it has no portal. */
const UNRESTRICTED = 'urn:ietf:params:capport:unrestricted';
const MOST_URL_CHARACTERS = 2048;
const MOST_ADDRESSES = 2;

/** Makes the job. */
export function portalProbeJob(parts: PortalProbeParts): Job {
  const { detection, monotonicMs } = parts;
  return {
    name: 'portal',
    dueInMs: () => detection.dueAtMs - monotonicMs(),
    run(run) {
      const look = detection.begin();
      if (look === undefined) {
        run.done();
        return;
      }
      whenDone(find(parts, run), finding => {
        if (!run.closed) detection.ended(look, finding);
        run.done();
      });
    },
  };
}

/** Looks once. Never rejects. */
async function find(parts: PortalProbeParts, run: JobRun): Promise<PortalFinding> {
  for (const url of parts.apis()) {
    const said = url === UNRESTRICTED ? FREE : await askApi(parts, run, url);
    if (said.at !== 'unknown') return said;
  }
  const place = parts.place();
  return place === undefined ? UNKNOWN : probe(parts, run, place);
}

/** The API of RFC 8908. What is not as the RFC says counts as no answer. */
async function askApi(parts: PortalProbeParts, run: JobRun, url: string): Promise<PortalFinding> {
  const api = urlFrom(url);
  if (api?.protocol !== 'https:') return UNKNOWN;
  const place = { host: hostOf(api), port: Number(api.port || HTTPS_PORT), path: api.pathname + api.search };
  const accept = 'application/captive+json';
  const response = await fetched(parts, run, place, { accept, tls: { roots: parts.roots() } });
  if (response?.status !== 200 || !/^application\/(captive\+)?json\b/i.test(response.contentType)) return UNKNOWN;
  const said = jsonObject(response.body);
  const page = said['user-portal-url'];
  if (typeof said['captive'] !== 'boolean') return UNKNOWN;
  return said['captive'] ? captive(typeof page === 'string' ? urlFrom(page) : undefined) : FREE;
}

/** The URL of the configuration. Any other answer than 204 comes from a portal. */
async function probe(parts: PortalProbeParts, run: JobRun, place: HttpPlace): Promise<PortalFinding> {
  const response = await fetched(parts, run, place, { accept: '*/*', tls: undefined });
  if (response === undefined) return UNKNOWN;
  if (response.status === 204 && response.body.length === 0) return FREE;
  const { host, port, path } = place;
  const asked = urlFrom(`http://${host.includes(':') ? `[${host}]` : host}:${port}${path}`);
  // Not followed: a browser does that.
  return captive(response.location === undefined ? asked : (urlFrom(response.location, asked) ?? asked));
}

/**
 * A portal. The name of its page is needed to reach the page. It comes from the network, which could give any name; as
 * the page itself comes from the network, too, the name adds nothing to what the network can do.
 */
function captive(page: URL | undefined): PortalFinding {
  const name = page === undefined || isIP(hostOf(page)) !== 0 ? undefined : nameFromText(hostOf(page));
  // The root and top-level domains contain too many names to be sent in cleartext.
  const isHost = name !== undefined && name.length > (name[0] ?? 0) + 2;
  return { at: 'captive', url: page?.href, names: isHost ? [lowerCased(name)] : [] };
}

/** Fetches from the first address that answers. */
async function fetched(
  parts: PortalProbeParts,
  run: JobRun,
  place: HttpPlace,
  how: Pick<HttpRequest, 'accept' | 'tls'>,
): Promise<HttpResponse | undefined> {
  for (const address of await addressesOf(parts, run, place.host)) {
    if (run.closed) return undefined;
    const response = await parts.get({ ...place, address, ...how });
    if (response !== undefined) return response;
  }
  return undefined;
}

async function addressesOf({ ports, resolvers }: PortalProbeParts, run: JobRun, host: string): Promise<string[]> {
  if (isIP(host) !== 0) return [host];
  const found = await bootstrap(ports, host, resolvers(), () => run.closed, 'portal');
  return found.at === 'found' ? found.addresses.slice(0, MOST_ADDRESSES) : [];
}

/**
 * A URL over HTTP that can be shown: `href` is printable ASCII, because the URL standard encodes all else. Undefined: it
 * is none, or holds a password.
 */
function urlFrom(text: string, base?: URL): URL | undefined {
  if (text.length > MOST_URL_CHARACTERS || !URL.canParse(text, base?.href)) return undefined;
  const url = new URL(text, base);
  const isSound = /^https?:$/.test(url.protocol) && url.username === '' && url.password === '';
  return isSound && url.href.length <= MOST_URL_CHARACTERS ? url : undefined;
}

/** The host, without the brackets of an IPv6 address. */
const hostOf = ({ hostname }: URL): string => hostname.replace(/^\[(.*)\]$/, '$1');

/** The members of a JSON object; none if the text is something else. */
function jsonObject(octets: Buffer): Readonly<Record<string, unknown>> {
  let read: unknown;
  try {
    read = JSON.parse(octets.toString('utf8'));
  } catch {
    return {};
  }
  return typeof read === 'object' && read !== null ? { ...read } : {};
}
