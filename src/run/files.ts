// Reads the files that a configuration names, and reports problems in words that say how to fix them.

import { createHash, X509Certificate } from 'node:crypto';
import { existsSync } from 'node:fs';
import { createSecureContext } from 'node:tls';

import { wordsFor } from '../base/system-error.js';
import { readRegularFile } from '../os/regular-file.js';
import { hybridGroups } from '../upstream/dial.js';
import type { FileContents, PlanFiles } from './plan.js';
import { StartError } from './start-error.js';

// Where distributions keep the system's trusted roots: Debian, Alpine and Arch; Fedora; SUSE; OpenWrt and BSD.
const SYSTEM_ROOTS = [
  '/etc/ssl/certs/ca-certificates.crt',
  '/etc/pki/tls/certs/ca-bundle.crt',
  '/etc/ssl/ca-bundle.pem',
  '/etc/ssl/cert.pem',
];

/** The roots of a system have less than 1 MiB. */
const LIMITS = { mostBytes: 1 << 24, mayBeLink: true } as const;

/** The files of this machine. */
export const systemFiles: PlanFiles = {
  systemRoots: () => SYSTEM_ROOTS.find(existsSync),
  read(path, option) {
    let octets: Buffer;
    try {
      octets = readRegularFile(path, LIMITS);
    } catch (error) {
      throw refusal(option, `${path} cannot be read (${wordsFor(error)})`);
    }
    return { path, octets, digest: digestOf(octets) };
  },
  checkRoots({ path, octets }, option) {
    // Only the first certificate: parsing all of them would double the time of a start. TLS skips those that it cannot
    // read.
    const [first = ''] =
      /-----BEGIN CERTIFICATE-----[\s\S]+?-----END CERTIFICATE-----/.exec(octets.toString('latin1')) ?? [];
    try {
      new X509Certificate(first);
    } catch {
      throw refusal(option, `${path} holds no PEM certificate`);
    }
  },
  checkPair({ certificate, key }, options) {
    usable(options.certificate, certificate.path, () => createSecureContext({ cert: certificate.octets }));
    usable(options.key, key.path, () => createSecureContext({ key: key.octets }));
    usable(options.key, `${key.path} with ${certificate.path}`, () =>
      createSecureContext({ cert: certificate.octets, key: key.octets }),
    );
  },
  checkPq(option) {
    if (hybridGroups().length > 0) return;
    const { node, openssl } = process.versions;
    throw refusal(
      option,
      `Node.js ${node} with OpenSSL ${openssl} has no post-quantum key exchange. Run dotstub with a Node.js that has OpenSSL 3.5 or newer, such as Node.js 24 LTS, or leave the option out`,
    );
  },
};

/** Runs what OpenSSL refuses if a file cannot be used. @throws StartError */
function usable(option: string, what: string, use: () => unknown): void {
  try {
    use();
  } catch (error) {
    throw refusal(option, `${what} cannot be used: ${wordsFor(error)}`);
  }
}

const refusal = (path: string, words: string): StartError => StartError.ofOptions([{ path, words }]);

const digestOf = (octets: Buffer): FileContents['digest'] => createHash('sha256').update(octets).digest('base64');
