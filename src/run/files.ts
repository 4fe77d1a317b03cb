// Reads the files that a configuration names, and reports problems in words that say how to fix them.

import { createHash, createPrivateKey, X509Certificate } from 'node:crypto';
import { existsSync, type Stats } from 'node:fs';
import { createSecureContext } from 'node:tls';

import { wordsFor } from '../base/system-error.js';
import { type ReadLimits, readRegularFile } from '../os/regular-file.js';
import { hybridGroups } from '../upstream/dial.js';
import type { FileContents, PlanFiles } from './plan-files.js';
import { StartError } from './start-error.js';

// Where distributions keep the system's trusted roots: Debian, Alpine and Arch; Fedora; SUSE; OpenWrt and BSD.
const SYSTEM_ROOTS = [
  '/etc/ssl/certs/ca-certificates.crt',
  '/etc/pki/tls/certs/ca-bundle.crt',
  '/etc/ssl/ca-bundle.pem',
  '/etc/ssl/cert.pem',
];

/** The roots of a system have less than 1 MiB. */
const LIMITS: ReadLimits = { mostBytes: 1 << 24, mayBeLink: true };
/** A key or a password. */
const SECRET_LIMITS: ReadLimits = { mostBytes: 4096, mayBeLink: true, problemOf: stats => secretProblem(stats) };

/**
 * Certificates and keys that can be used together, by their digests. To find that out takes ten milliseconds, and most
 * reloads change neither.
 */
const usablePairs = new Set<string>();
/** A configuration names three at most. */
const MOST_USABLE_PAIRS = 16;

/** The files of this machine. */
export const systemFiles: PlanFiles = {
  systemRoots: () => SYSTEM_ROOTS.find(existsSync),
  read: (path, option) => contentsOf(path, option, LIMITS),
  readSecret: (path, option) => contentsOf(path, option, SECRET_LIMITS),
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
    const digests = `${certificate.digest} ${key.digest}`;
    if (usablePairs.has(digests)) return;
    usable(options.certificate, certificate.path, () => createSecureContext({ cert: certificate.octets }));
    usable(options.key, key.path, () => createSecureContext({ key: key.octets }));
    usable(options.key, `${key.path} with ${certificate.path}`, () => {
      createSecureContext({ cert: certificate.octets, key: key.octets });
      // A key of another kind than the certificate's is taken, and no handshake succeeds.
      if (!new X509Certificate(certificate.octets).checkPrivateKey(createPrivateKey(key.octets)))
        throw new Error('it is the key of another certificate');
    });
    if (usablePairs.size === MOST_USABLE_PAIRS) usablePairs.clear();
    usablePairs.add(digests);
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

/** @throws StartError */
function contentsOf(path: string, option: string, limits: ReadLimits): FileContents {
  try {
    const octets = readRegularFile(path, limits);
    return { path, octets, digest: digestOf(octets) };
  } catch (error) {
    throw refusal(option, `${path} cannot be read (${wordsFor(error)})`);
  }
}

/** Others must not read a secret, and nobody but its owner may change it. A group may read it: systemd and Kubernetes do that. */
const MUST_NOT = 0o037;

function secretProblem({ uid, mode }: Stats): string | undefined {
  const own = process.getuid?.();
  // Root checks the configuration of a service that has an account of its own.
  if (own !== 0 && uid !== 0 && uid !== own) return 'it belongs to another user';
  if ((mode & MUST_NOT) === 0) return undefined;
  return `others have access to it (mode ${(mode & 0o777).toString(8)}): make that 600, or 640 for a group`;
}

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
