// The files that a configuration names: read at start, with words for whoever has to mend them.

import { X509Certificate } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { createSecureContext } from 'node:tls';

import type { Config } from './config/schema.js';
import { wordsFor } from './os/system-error.js';

/** Why the daemon can't start, in one sentence that says what to do. */
export class StartError extends Error {
  /** @param exitCode 2 where the configuration is at fault, 1 where the system is */
  constructor(
    message: string,
    readonly exitCode: 1 | 2,
  ) {
    super(message);
  }
}

// Where distributions keep the system's trusted roots: Debian, Alpine and Arch; Fedora; SUSE; OpenWrt and BSD.
const SYSTEM_ROOTS = [
  '/etc/ssl/certs/ca-certificates.crt',
  '/etc/pki/tls/certs/ca-bundle.crt',
  '/etc/ssl/ca-bundle.pem',
  '/etc/ssl/cert.pem',
];

/** PEM of the trusted roots; undefined: the ones that Node.js brings along. */
export function trustedRoots({ upstream }: Config): string | undefined {
  const file = upstream.ca_file ?? SYSTEM_ROOTS.find(existsSync);
  if (file === undefined) return undefined;
  const pem = readOrFail(file, 'upstream.ca_file').toString('latin1');
  // Only the first: to parse a whole store would double the time to start. TLS itself skips what it can't read.
  const [first = ''] = /-----BEGIN CERTIFICATE-----[\s\S]+?-----END CERTIFICATE-----/.exec(pem) ?? [];
  try {
    new X509Certificate(first);
  } catch {
    throw new StartError(`upstream.ca_file: ${file} holds no PEM certificate`, 2);
  }
  return pem;
}

/** A certificate chain and its key, PEM. */
export interface Credentials {
  readonly cert: Buffer;
  readonly key: Buffer;
}

/** For DNS over TLS towards clients; undefined: not configured. */
export function listenerCredentials({ listen_tls: { certificate, key } }: Config): Credentials {
  const read = credentials('listen_tls', 'certificate', certificate, 'key', key);
  // That they go with listen_tls.addresses is the configuration's to check.
  if (read === undefined)
    throw new StartError(
      'the socket unit has a socket for DNS over TLS: set listen_tls.certificate and listen_tls.key, or disable that socket',
      2,
    );
  return read;
}

/** Our own towards servers; undefined: none. */
export const clientCredentials = ({
  upstream: { client_certificate: certificate, client_key: key },
}: Config): Credentials | undefined => credentials('upstream', 'client_certificate', certificate, 'client_key', key);

function credentials(
  section: string,
  certificateOption: string,
  certificate: string | undefined,
  keyOption: string,
  key: string | undefined,
): Credentials | undefined {
  if (certificate === undefined || key === undefined) return undefined;
  const read = {
    cert: readOrFail(certificate, `${section}.${certificateOption}`),
    key: readOrFail(key, `${section}.${keyOption}`),
  };
  try {
    createSecureContext(read);
  } catch (error) {
    throw new StartError(`${section}: ${certificate} and ${key} can not be used: ${wordsFor(error)}`, 2);
  }
  return read;
}

function readOrFail(file: string, option: string): Buffer {
  try {
    return readFileSync(file);
  } catch (error) {
    throw new StartError(`${option}: ${file} can not be read (${wordsFor(error)})`, 2);
  }
}
