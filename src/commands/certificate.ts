// `dotstub certificate self-signed NAME…`: makes a certificate and its key, for trying a listener out.

import { rm, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';

import { isIP } from '../base/address.js';
import { DOT_PORT } from '../base/port-numbers.js';
import { isSystemError, wordsFor } from '../base/system-error.js';
import { hostName } from '../config/kinds.js';
import { parseArguments } from './arguments.js';
import { type Command, UsageError } from './command.js';
import { print, printProblem } from './print.js';
import { selfSigned } from './self-signed.js';

/** iPhones accept no server certificate that is valid for longer. */
const DEFAULT_DAYS = 825;
const MOST_DAYS = 3650;
const MOST_NAMES = 20;
const DAY_MS = 86_400_000;
/** The clocks of clients may be late, ms. */
const EARLY_MS = 3_600_000;

/** The command. */
export const certificateCommand: Command = {
  name: 'certificate',
  usage: 'certificate self-signed NAME... [--address ADDRESS]... [--days N] [--out DIR]',
  summary: 'make a self-signed certificate for listen_tls, to try it out',
  details: `Makes a key (P-256) and a certificate that is signed with it, for the host names NAME and the addresses ADDRESS, and
says what to put into the configuration and what phones need. Files that exist are not replaced.

The certificate is its own authority, so that phones can install it. It can certify no other names and addresses.

Options:
  --address ADDRESS   an IP address at which clients ask; may be given several times. Clients that discover the listener
                      by themselves and verify it (RFC 9462) need it
  --days N            for how many days it is valid, 1 to ${MOST_DAYS}; ${DEFAULT_DAYS} if it is left out, the most that iPhones accept
  --out DIR           where certificate.pem and key.pem are written; the current directory if it is left out

Exit code: 0 made, 1 a file exists or cannot be written, 2 bad usage.`,
  words: ['self-signed'],
  async run(args) {
    const { names, addresses, days, directory } = read(args);
    const startsMs = Date.now() - EARLY_MS;
    const made = selfSigned({ names, addresses, startsMs, endsMs: startsMs + days * DAY_MS });
    const files = { certificate: join(directory, 'certificate.pem'), key: join(directory, 'key.pem') };
    const problem = await writeNew([
      { path: files.key, text: made.key, mode: 0o600 },
      { path: files.certificate, text: made.certificate, mode: 0o644 },
    ]);
    if (problem !== undefined) {
      printProblem(`dotstub certificate: ${problem}`);
      return 1;
    }
    print(told(files, names, addresses, days));
    return 0;
  },
};

interface Wanted {
  readonly names: readonly string[];
  readonly addresses: readonly string[];
  readonly days: number;
  readonly directory: string;
}

/** @throws UsageError */
function read(args: readonly string[]): Wanted {
  const options = {
    address: { type: 'string', multiple: true },
    days: { type: 'string' },
    out: { type: 'string' },
  } as const;
  const parsed = parseArguments(args, options, MOST_NAMES + 1);
  const [kind, ...names] = parsed.positionals;
  if (kind !== 'self-signed') throw new UsageError('certificate needs to know which: certificate self-signed NAME');
  if (names.length === 0) throw new UsageError('certificate self-signed needs a NAME, such as dns.home.arpa');
  const days = parsed.value('days') ?? String(DEFAULT_DAYS);
  if (!/^\d{1,4}$/.test(days) || Number(days) < 1 || Number(days) > MOST_DAYS)
    throw new UsageError(`--days ${JSON.stringify(days)} is not allowed: 1 to ${MOST_DAYS}`);
  const addresses = parsed.values('address');
  const wrong = addresses.find(each => isIP(each) === 0 || each.includes('%'));
  if (wrong !== undefined) throw new UsageError(`--address ${JSON.stringify(wrong)} is not an IP address`);
  return { names: names.map(nameFrom), addresses, days: Number(days), directory: resolve(parsed.value('out') ?? '.') };
}

function nameFrom(text: string): string {
  const name = hostName.read(text);
  if (!name.ok) throw new UsageError(`NAME ${JSON.stringify(text)} is not a host name; addresses go after --address`);
  return name.value.toLowerCase().replace(/\.$/, '');
}

interface NewFile {
  readonly path: string;
  readonly text: string;
  readonly mode: number;
}

/** Writes all files, or none. Returns why not. */
async function writeNew(files: readonly NewFile[]): Promise<string | undefined> {
  const written: string[] = [];
  for (const { path, text, mode } of files) {
    try {
      await writeFile(path, text, { mode, flag: 'wx' });
      written.push(path);
    } catch (error) {
      if (!isSystemError(error)) throw error;
      for (const each of written) await rm(each);
      if (error.code === 'EEXIST') return `${path} exists already, and is not replaced: choose another --out`;
      return `${path} cannot be written (${wordsFor(error)})`;
    }
  }
  return undefined;
}

function told(
  files: Readonly<Record<'certificate' | 'key', string>>,
  names: readonly string[],
  addresses: readonly string[],
  days: number,
): string {
  const [name = ''] = names;
  const listen = addresses.length === 0 ? ['192.168.1.2'] : addresses;
  const places = listen.map(each => `"${each.includes(':') ? `[${each}]` : each}:${DOT_PORT}"`);
  const discovery =
    addresses.length === 0
      ? ['No --address was given: clients that discover the listener by themselves and verify it will not use it.', '']
      : [];
  return [
    `${files.certificate}  the certificate, for ${[...names, ...addresses].join(', ')}, valid for ${days} days`,
    `${files.key}  its key; only you can read it`,
    '',
    'For the configuration:',
    '',
    'listen_tls:',
    `  addresses: [${places.join(', ')}]`,
    `  certificate: ${files.certificate}`,
    `  key: ${files.key}`,
    '',
    'The daemon must be able to read both. Nobody trusts the certificate yet:',
    '',
    ...discovery,
    'Android, Private DNS "Automatic": works as it is. The certificate is not checked.',
    `Android, Private DNS with the host name ${name}: takes a certificate of a public authority. One that is`,
    '  installed does not count there.',
    `iPhone, iPad, Mac: a configuration profile with DNSProtocol TLS and ServerName ${name}. Install the certificate, too,`,
    '  and switch it on in Settings, General, About, Certificate Trust Settings.',
    `Linux: kdig +tls-ca=${files.certificate} +tls-hostname=${name} @${listen[0] ?? ''} example.com`,
  ].join('\n');
}
