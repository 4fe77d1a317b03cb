// The two ways in which connections over TLS are made, for tests that hold for both.

import type { Test } from 'tap';

import type { Connection, Streams } from '../../src/listen/connection.js';
import { EventLoop } from '../../src/listen/event-loop.js';
import { nativeStreams } from '../../src/listen/native-streams.js';
import { nodeStreams } from '../../src/listen/node-streams.js';
import {
  DOT_ALPN,
  HTTPS_ALPN,
  framedProtocol,
  listenerOver,
  type StreamListener,
  type StreamParts,
  tlsListener,
} from '../../src/listen/stream.js';
import { loadLibc } from '../../src/os/libc.js';
import { loadOpenSsl, type ServerCredentials } from '../../src/os/openssl.js';

const libc = loadLibc();
const openssl = loadOpenSsl(DOT_ALPN);
const opensslForHttps = loadOpenSsl(HTTPS_ALPN);

/** A way. */
export interface TlsPath {
  /** Why it cannot be tried here; false: it can. */
  readonly skip: string | false;
  /** A listener, which listens nowhere yet. The test destroys it. */
  listener(t: Test, parts: StreamParts, credentials: ServerCredentials): StreamListener;
  /** Passes connections of a kind of their own to a test. */
  withStreams<T>(t: Test, use: <C extends Connection>(streams: Streams<C>) => T): T;
  /** The same, for HTTPS. */
  withStreamsForHttps<T>(t: Test, use: <C extends Connection>(streams: Streams<C>) => T): T;
}

/** Connections in a loop that the test's own loop gives turns. */
function native(t: Test, openssl: ReturnType<typeof loadOpenSsl>) {
  if ('unavailable' in libc) throw new Error(libc.unavailable);
  if ('unavailable' in openssl) throw new Error(openssl.unavailable);
  const loop = new EventLoop(libc);
  const turns = setInterval(() => loop.runRound(0), 1);
  t.teardown(() => {
    // After the listeners of the test are destroyed.
    setTimeout(() => {
      clearInterval(turns);
      loop.runRound(0);
      loop.close();
    }, 50);
  });
  return { loop, streams: nativeStreams({ libc, loop, openssl }) };
}

/** By their names. */
export const TLS_PATHS: Readonly<Record<string, TlsPath>> = {
  'node:tls': {
    skip: false,
    listener: (_t, parts, credentials) => tlsListener(parts, credentials),
    withStreams: (_t, use) => use(nodeStreams(undefined)),
    withStreamsForHttps: (_t, use) => use(nodeStreams(undefined)),
  },
  OpenSSL: {
    skip: 'unavailable' in libc ? libc.unavailable : 'unavailable' in openssl ? openssl.unavailable : false,
    listener(t, parts, credentials) {
      const { streams } = native(t, openssl);
      return listenerOver(streams, framedProtocol('tls', parts), parts, credentials);
    },
    withStreams: (t, use) => use(native(t, openssl).streams),
    withStreamsForHttps: (t, use) => use(native(t, opensslForHttps).streams),
  },
};
