// The HTTP side: metrics for Prometheus, and health for whoever supervises us.

import { createServer, type IncomingMessage } from 'node:http';

import type { Metrics } from './metrics.js';

/** What can be asked. */
export interface HttpParts {
  readonly metrics: Metrics;
  /** Undefined: ready; else what is missing. */
  readonly notReady: () => string | undefined;
}

/** The open server. */
export interface HttpListener {
  readonly port: number;
  close(): void;
}

/**
 * Listens for HTTP.
 * @throws the system's error if the address can not be bound
 */
export async function listenHttp(at: { readonly address: string; readonly port: number }, parts: HttpParts): Promise<HttpListener> {
  const server = createServer((request, response) => {
    answer(request, parts).then(
      ({ status, contentType, body }) => response.writeHead(status, { 'content-type': contentType }).end(request.method === 'HEAD' ? '' : body),
      (error: unknown) => response.writeHead(500, { 'content-type': 'text/plain; charset=utf-8' }).end(`${String(error)}\n`),
    );
  });
  // One scraper or two; slow ones do not pile up.
  server.maxConnections = 64;
  server.requestTimeout = 5000;
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(at.port, at.address, () => {
      server.off('error', reject);
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

interface Reply {
  readonly status: number;
  readonly contentType: string;
  readonly body: string;
}

const text = (status: number, body: string): Reply => ({ status, contentType: 'text/plain; charset=utf-8', body: `${body}\n` });

async function answer(request: IncomingMessage, { metrics, notReady }: HttpParts): Promise<Reply> {
  if (request.method !== 'GET' && request.method !== 'HEAD') return text(405, 'only GET and HEAD');
  switch (request.url?.split('?')[0]) {
    case '/metrics':
      return { status: 200, ...await metrics.expose(request.headers.accept) };
    case '/livez':
      return text(200, 'alive');
    case '/readyz': {
      const missing = notReady();
      return missing === undefined ? text(200, 'ready') : text(503, `not ready: ${missing}`);
    }
    case '/':
      return text(200, 'dotstub: /metrics /livez /readyz');
    default:
      return text(404, 'there is: /metrics /livez /readyz');
  }
}
