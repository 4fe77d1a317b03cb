// Certificates and keys that do not belong together. Programs that renew them write one file after the other.

import { generateKeyPairSync } from 'node:crypto';

import t from 'tap';

import { systemFiles } from '../../src/run/files.js';
import { StartError } from '../../src/run/start-error.js';
import { authority, certificate } from '../fixtures/certificates.js';

const OPTIONS = { certificate: 'listen_tls.certificate', key: 'listen_tls.key' };
const own = certificate({ common: 'a', names: ['a'], issuer: authority() });
const contents = (path: string, text: string) => ({ path, octets: Buffer.from(text), digest: text });

const problemOf = (key: string): string => {
  try {
    systemFiles.checkPair({ certificate: contents('cert.pem', own.cert), key: contents('key.pem', key) }, OPTIONS);
    return 'none';
  } catch (error) {
    if (!(error instanceof StartError)) throw error;
    return error.problems.map(({ path, words }) => `${path}: ${words}`).join();
  }
};

const pem = { format: 'pem', type: 'pkcs8' } as const;
const KEYS: Readonly<Record<string, string>> = {
  'of the same kind': generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export(pem).toString(),
  // OpenSSL has a place for each kind, so that it compares nothing.
  'of another kind': generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey.export(pem).toString(),
  'of a kind without parameters': generateKeyPairSync('ed25519').privateKey.export(pem).toString(),
};

await t.test('a key that is not that of the certificate is refused', t => {
  t.equal(problemOf(own.key), 'none');
  for (const [what, key] of Object.entries(KEYS))
    t.match(problemOf(key), /^listen_tls\.key: key\.pem with cert\.pem cannot be used: /, what);
  t.end();
});

await t.test('a pair in force is not examined at each reload', t => {
  t.equal(problemOf(own.key), 'none');
  const good = contents('cert.pem', own.cert);
  let looked = 0;
  const watched = {
    ...contents('key.pem', own.key),
    get octets() {
      looked++;
      return Buffer.from(own.key);
    },
  };
  systemFiles.checkPair({ certificate: good, key: watched }, OPTIONS);
  t.equal(looked, 0, 'its octets are those of before');
  t.equal(
    problemOf(KEYS['of the same kind'] ?? ''),
    problemOf(KEYS['of the same kind'] ?? ''),
    'a refusal is repeated',
  );
  t.not(problemOf(KEYS['of the same kind'] ?? ''), 'none');
  t.end();
});
