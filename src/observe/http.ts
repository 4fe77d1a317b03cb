// The HTTP server: metrics for Prometheus, health for supervisors, and a status page for people.

import { readFile } from 'node:fs/promises';
import { join } from 'node:path';

import { isIP } from '../base/address.js';
import type { Clock, Log } from '../base/ports.js';
import { isSystemError, wordsFor } from '../base/system-error.js';
import type { MonoMs } from '../base/time.js';
import type { ExpositionForm } from './exposition.js';
import { type HttpReply, plainText } from './http-connection.js';
import type { HttpRequest } from './http-head.js';
import { COMMON_FIELDS, type HttpListener, openHttp } from './http-server.js';
import { formFor, type Metrics } from './metrics.js';

/** The parts that are served. */
export interface HttpParts {
  readonly metrics: Pick<Metrics, 'expose' | 'httpDropped'>;
  /** Undefined: ready; else the reason. */
  readonly notReady: () => string | undefined;
  /** The data of the status page, as JSON. */
  readonly status: () => unknown;
  readonly history: () => unknown;
  /** Names of this machine, beside local ones. Names below them count, too. */
  readonly hosts: () => readonly string[];
  /** Enough for a few scrapers and people. */
  readonly maxConnections: number;
  /** The directory of the page's files. */
  readonly pageDirectory: string;
  readonly clock: Clock;
  readonly log: Log;
}

/**
 * Listens for HTTP.
 * @param at `fd`: a socket that is bound there, and is closed with the server @throws the system's error if the address
 * cannot be bound
 */
export async function listenHttp(
  at: { readonly address: string; readonly port: number; readonly fd?: number },
  parts: HttpParts,
): Promise<HttpListener> {
  const { clock, metrics, log, maxConnections } = parts;
  const site = new Site(parts);
  return openHttp(at, {
    ...{ clock, maxConnections, fields: HEADERS },
    answer: async request => site.answer(request),
    dropped: () => metrics.httpDropped(),
    failed: message => log.warn({}, `metrics.listen: ${message}`),
  });
}

/** The page loads and runs only its own files, and no other page may show it in a frame. */
const HEADERS = {
  ...COMMON_FIELDS,
  'content-security-policy':
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
} as const;

/** The page's files, by path; no other file is ever read. */
const FILES: Readonly<Record<string, readonly [file: string, contentType: string]>> = {
  '/': ['index.html', 'text/html; charset=utf-8'],
  '/page.js': ['page.js', 'text/javascript; charset=utf-8'],
  '/page.css': ['page.css', 'text/css; charset=utf-8'],
};

/** Names that do not exist in public zones, so that a page from elsewhere cannot have one of them (DNS rebinding). */
const LOCAL_NAME = /^[^.]+$|\.(localhost|local|lan|internal|home\.arpa|svc)$/i;

/**
 * Whether the host of a request is an IP address, a local name or one of these names; otherwise a page from elsewhere
 * may have made the browser send it. A browser always says the host.
 */
function isAddressedToUs(host: string | undefined, names: readonly string[]): boolean {
  if (host === undefined) return true;
  const name = host
    .replace(/:\d+$/, '')
    .replace(/^\[(.*)\]$/, '$1')
    .replace(/\.$/, '')
    .toLowerCase();
  return isIP(name) !== 0 || LOCAL_NAME.test(name) || names.some(each => name === each || name.endsWith(`.${each}`));
}

const json = (data: unknown): HttpReply => ({
  status: 200,
  contentType: 'application/json',
  body: JSON.stringify(data),
});

/** A scrape is shared by all who ask within this time: making one takes longer than answering hundreds of queries. */
const SCRAPE_MS = 1000;

/** What is at each path. */
class Site {
  private readonly scrapes = new Map<ExpositionForm, { readonly at: MonoMs; readonly reply: Promise<HttpReply> }>();
  /** The files of the page that were read. */
  private readonly files = new Map<string, HttpReply>();

  constructor(private readonly parts: HttpParts) {}

  /** The reply. An error while it is made becomes a reply, too, and does not end the daemon. */
  async answer(request: HttpRequest): Promise<HttpReply> {
    try {
      return await this.reply(request);
    } catch (error) {
      if (isSystemError(error)) return plainText(503, wordsFor(error));
      const { message, stack } = error instanceof Error ? error : { message: String(error), stack: undefined };
      this.parts.log.error(
        { path: request.path, stack },
        `${request.path} failed: ${message}. This is a bug: please report it`,
      );
      return plainText(500, 'the log says what went wrong');
    }
  }

  private async reply({ method, path, host, accept }: HttpRequest): Promise<HttpReply> {
    const { notReady, hosts, status, history } = this.parts;
    if (method !== 'GET' && method !== 'HEAD') return plainText(405, 'only GET and HEAD');
    switch (path) {
      case '/livez':
        return plainText(200, 'alive');
      case '/readyz': {
        const missing = notReady();
        return missing === undefined ? plainText(200, 'ready') : plainText(503, `not ready: ${missing}`);
      }
    }
    if (!isAddressedToUs(host, hosts()))
      return plainText(403, 'ask under an IP address, a local name, or a name in metrics.hosts');
    switch (path) {
      case '/metrics':
        return this.scrape(formFor(accept));
      case '/status.json':
        return json(status());
      case '/history.json':
        return json(history());
      default:
        return this.file(path);
    }
  }

  /** The metrics, made anew at most once in a second. */
  private async scrape(form: ExpositionForm): Promise<HttpReply> {
    const { clock, metrics } = this.parts;
    const at = clock.monotonicMs();
    const last = this.scrapes.get(form);
    if (last !== undefined && at - last.at < SCRAPE_MS) return last.reply;
    const reply = metrics
      .expose(form)
      .then(({ contentType, body }): HttpReply => ({ status: 200, contentType, body: Buffer.from(body) }));
    this.scrapes.set(form, { at, reply });
    return reply;
  }

  private async file(path: string): Promise<HttpReply> {
    const known = this.files.get(path);
    if (known !== undefined) return known;
    const [file, contentType] = (Object.hasOwn(FILES, path) ? FILES[path] : undefined) ?? [];
    if (file === undefined || contentType === undefined)
      return plainText(404, 'there is: / /metrics /livez /readyz /status.json /history.json');
    const reply: HttpReply = { status: 200, contentType, body: await readFile(join(this.parts.pageDirectory, file)) };
    this.files.set(path, reply);
    return reply;
  }
}
