// The HttpGet port: one GET request with node:http or node:https, for the detection of captive portals. The server is
// not trusted: time and sizes are bounded, redirects are not followed, no proxy is used, and no connection is kept.

import { type IncomingMessage, request as plainRequest } from 'node:http';
import { request as tlsRequest, type RequestOptions } from 'node:https';

import { isIP } from '../base/address.js';
import type { HttpGet, HttpRequest, HttpResponse } from '../base/ports.js';

/** For everything: connecting, TLS, and the whole response. */
const TIMEOUT_MS = 5000;
const MOST_HEADER_BYTES = 8192;
const MOST_BODY_BYTES = 1 << 16;

/** Makes the port. @param timeoutMs shorter in tests */
export const httpGet =
  (timeoutMs = TIMEOUT_MS): HttpGet =>
  async request =>
    new Promise(resolve => {
      if (isIP(request.address) === 0) return resolve(undefined);
      const options = optionsFor(request);
      const sent = request.tls === undefined ? plainRequest(options) : tlsRequest(options);
      const timer = setTimeout(() => finish(undefined), timeoutMs).unref();
      const finish = (response: HttpResponse | undefined): void => {
        clearTimeout(timer);
        sent.destroy();
        resolve(response);
      };
      // An open request does not keep the process alive.
      sent.on('socket', socket => socket.unref());
      sent.on('error', () => finish(undefined));
      sent.on('response', message => read(message, finish));
      // Status 101 or an answer to CONNECT: nothing that was asked for.
      sent.on('upgrade', () => finish(undefined));
      sent.end();
    });

function optionsFor({ address, port, host, path, tls, accept }: HttpRequest): RequestOptions {
  const defaultPort = tls === undefined ? 80 : 443;
  const name = host.includes(':') ? `[${host}]` : host;
  return {
    ...{ host: address, port, path, method: 'GET', agent: false, maxHeaderSize: MOST_HEADER_BYTES },
    headers: {
      host: port === defaultPort ? name : `${name}:${port}`,
      accept,
      connection: 'close',
      'cache-control': 'no-cache',
      'user-agent': 'dotstub',
    },
    setHost: false,
    ...(tls === undefined
      ? {}
      : {
          // SNI is for names only (RFC 6066 §3); without it, the certificate must hold the address.
          servername: isIP(host) === 0 ? host : '',
          ...(tls.roots === undefined ? {} : { ca: tls.roots }),
        }),
  };
}

/** Reads the body, up to its bound: a longer one is cut, because nobody needs the rest. */
function read(message: IncomingMessage, finish: (response: HttpResponse | undefined) => void): void {
  const parts: Buffer[] = [];
  let bytes = 0;
  const whole = (): HttpResponse => ({
    status: message.statusCode ?? 0,
    location: message.headers.location,
    contentType: message.headers['content-type'] ?? '',
    body: Buffer.concat(parts).subarray(0, MOST_BODY_BYTES),
  });
  message.on('data', (part: Buffer) => {
    parts.push(part);
    bytes += part.length;
    if (bytes >= MOST_BODY_BYTES) finish(whole());
  });
  message.on('end', () => finish(whole()));
  message.on('error', () => finish(undefined));
}
