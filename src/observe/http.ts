// The HTTP side: metrics for Prometheus, and health for whoever supervises us.

import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';

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
    answer(request, response, parts).catch((error: unknown) => response.destroy(error instanceof Error ? error : undefined));
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

async function answer(request: IncomingMessage, response: ServerResponse, { metrics, notReady }: HttpParts): Promise<void> {
  const text = (status: number, body: string): void =>
    void response.writeHead(status, { 'content-type': 'text/plain; charset=utf-8' }).end(body);
  if (request.method !== 'GET' && request.method !== 'HEAD') return text(405, 'only GET and HEAD\n');
  switch (request.url?.split('?')[0]) {
    case '/metrics': {
      const { contentType, body } = await metrics.expose(request.headers.accept);
      return void response.writeHead(200, { 'content-type': contentType }).end(body);
    }
    case '/livez':
      return text(200, 'alive\n');
    case '/readyz': {
      const missing = notReady();
      return missing === undefined ? text(200, 'ready\n') : text(503, `not ready: ${missing}\n`);
    }
    case '/':
      return text(200, 'dotstub: /metrics /livez /readyz\n');
    default:
      return text(404, 'there is: /metrics /livez /readyz\n');
  }
}
