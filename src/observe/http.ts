// The HTTP server: metrics for Prometheus, health for supervisors, and a status page for people.

import { readFile } from 'node:fs/promises';
import { createServer, type IncomingMessage } from 'node:http';
import { isIP } from 'node:net';
import { join } from 'node:path';

import type { Log } from '../base/ports.js';
import type { Metrics } from './metrics.js';

/** The parts that are served. */
export interface HttpParts {
  readonly metrics: Pick<Metrics, 'expose'>;
  /** Undefined: ready; else the reason. */
  readonly notReady: () => string | undefined;
  /** The data of the status page, as JSON. */
  readonly status: () => unknown;
  readonly history: () => unknown;
  /** Enough for one or two scrapers and a person; slow ones must not pile up. */
  readonly maxConnections: number;
  /** The directory of the page's files. */
  readonly pageDirectory: string;
  readonly log: Log;
}

const REQUEST_MS = 5000;

/** The open server. */
export interface HttpListener {
  readonly port: number;
  close(): void;
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
  const server = createServer((request, response) => {
    void answered(request, parts).then(({ status, contentType, body }) =>
      response
        .writeHead(status, { 'content-type': contentType, ...HEADERS })
        .end(request.method === 'HEAD' ? '' : body),
    );
  });
  server.maxConnections = parts.maxConnections;
  server.requestTimeout = REQUEST_MS;
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(at.fd === undefined ? { port: at.port, host: at.address } : { fd: at.fd }, () => {
      server.off('error', reject);
      // For example EMFILE while accepting: that connection is lost, the server stays.
      server.on('error', ({ message }) => parts.log.warn({}, `metrics.listen: ${message}`));
      resolve();
    });
  });
  const bound = server.address();
  return {
    port: bound !== null && typeof bound === 'object' ? bound.port : at.port,
    close() {
      server.close();
      server.closeAllConnections();
    },
  };
}

/** The page loads and runs only its own files, and no other page may show it in a frame. */
const HEADERS = {
  'cache-control': 'no-store',
  'content-security-policy':
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
} as const;

/** The page's files, by path; no other file is ever read. */
const FILES: Readonly<Record<string, readonly [file: string, contentType: string]>> = {
  '/': ['index.html', 'text/html; charset=utf-8'],
  '/page.js': ['page.js', 'text/javascript; charset=utf-8'],
  '/page.css': ['page.css', 'text/css; charset=utf-8'],
};

/** Names that do not exist in public zones, so that a page from elsewhere cannot have one of them (DNS rebinding). */
const LOCAL_NAME = /^[^.]+$|\.(localhost|local|lan|internal|home\.arpa)$/i;

/**
 * Whether the host of a request is an IP address or a local name; otherwise a page from elsewhere may have made the
 * browser send it.
 */
function isAddressedToUs({ headers: { host = '' } }: IncomingMessage): boolean {
  const name = host.replace(/:\d+$/, '').replace(/^\[(.*)\]$/, '$1');
  return isIP(name) !== 0 || LOCAL_NAME.test(name);
}

interface HttpReply {
  readonly status: number;
  readonly contentType: string;
  readonly body: string | Buffer;
}

const text = (status: number, body: string): HttpReply => ({
  status,
  contentType: 'text/plain; charset=utf-8',
  body: `${body}\n`,
});
const json = (data: unknown): HttpReply => ({
  status: 200,
  contentType: 'application/json',
  body: JSON.stringify(data),
});

/** The response. An error while it is made becomes a response, too, and does not end the daemon. */
async function answered(request: IncomingMessage, parts: HttpParts): Promise<HttpReply> {
  try {
    return await answer(request, parts);
  } catch (error) {
    const { message, stack } = error instanceof Error ? error : { message: String(error), stack: undefined };
    parts.log.error(
      { path: request.url, stack },
      `${request.url ?? ''} failed: ${message}. This is a bug: please report it`,
    );
    return text(500, 'the log says what went wrong');
  }
}

async function answer(
  request: IncomingMessage,
  { metrics, notReady, status, history, pageDirectory }: HttpParts,
): Promise<HttpReply> {
  if (request.method !== 'GET' && request.method !== 'HEAD') return text(405, 'only GET and HEAD');
  const path = request.url?.split('?')[0] ?? '';
  switch (path) {
    case '/metrics':
      return { status: 200, ...(await metrics.expose(request.headers.accept)) };
    case '/livez':
      return text(200, 'alive');
    case '/readyz': {
      const missing = notReady();
      return missing === undefined ? text(200, 'ready') : text(503, `not ready: ${missing}`);
    }
  }
  if (!isAddressedToUs(request)) return text(403, 'the status page is shown under an IP address or a local name');
  switch (path) {
    case '/status.json':
      return json(status());
    case '/history.json':
      return json(history());
    default: {
      const [file, contentType] = (Object.hasOwn(FILES, path) ? FILES[path] : undefined) ?? [];
      if (file === undefined || contentType === undefined)
        return text(404, 'there is: / /metrics /livez /readyz /status.json /history.json');
      return { status: 200, contentType, body: await readFile(join(pageDirectory, file)) };
    }
  }
}
