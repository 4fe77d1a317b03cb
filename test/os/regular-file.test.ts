// Reading whole files that may be anything.

import { execFileSync } from 'node:child_process';
import { chmodSync, chownSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import t from 'tap';

import { readRegularFile } from '../../src/os/regular-file.js';
import { systemFiles } from '../../src/run/files.js';
import { temporaryDirectory } from '../fixtures/program.js';

await t.test('what is no regular file is refused in words, and nothing is waited for', async t => {
  const directory = temporaryDirectory();
  t.teardown(() => directory.remove());
  const at = (name: string): string => join(directory.path, name);
  const limits = { mostBytes: 10, mayBeLink: true } as const;
  writeFileSync(at('fits'), '0123456789');
  writeFileSync(at('long'), '0123456789a');
  mkdirSync(at('directory'));
  symlinkSync('fits', at('link'));
  symlinkSync('fifo', at('link to a fifo'));
  execFileSync('mkfifo', [at('fifo')]);
  t.equal(readRegularFile(at('fits'), limits).toString(), '0123456789');
  t.equal(readRegularFile(at('link'), limits).toString(), '0123456789');
  t.throws(() => readRegularFile(at('link'), { ...limits, mayBeLink: false }), { code: 'ELOOP' });
  t.throws(() => readRegularFile(at('long'), limits), { message: 'it is larger than 10 octets' });
  t.throws(() => readRegularFile(at('directory'), limits), { message: 'it is a directory' });
  for (const path of [at('fifo'), at('link to a fifo'), '/dev/zero', '/dev/tty'])
    t.throws(() => readRegularFile(path, limits), /not a regular file|ENXIO/, path);

  // The same for the files that a configuration names.
  t.throws(() => systemFiles.read(at('fifo'), 'upstream.ca_file'), {
    message: `upstream.ca_file: ${at('fifo')} cannot be read (it is not a regular file)`,
    exitCode: 2,
  });
  t.throws(() => systemFiles.read('/dev/zero', 'listen_tls.key'), { message: /not a regular file/ });
  t.equal(systemFiles.read(at('link'), 'listen_tls.certificate').octets.length, 10, 'as Kubernetes makes them');
});

await t.test('a secret to which others have access is refused, with the mode that it should have', t => {
  const directory = temporaryDirectory();
  t.teardown(() => directory.remove());
  const path = join(directory.path, 'key');
  writeFileSync(path, 'secret');
  const option = 'cache.shared.key_file';
  for (const mode of [0o600, 0o400, 0o640, 0o440, 0o700]) {
    chmodSync(path, mode);
    t.equal(systemFiles.readSecret(path, option).octets.toString(), 'secret', mode.toString(8));
  }
  for (const mode of [0o644, 0o604, 0o660, 0o602, 0o601, 0o777]) {
    chmodSync(path, mode);
    const words = `others have access to it (mode ${mode.toString(8)}): make that 600, or 640 for a group`;
    t.throws(() => systemFiles.readSecret(path, option), {
      message: `${option}: ${path} cannot be read (${words})`,
      exitCode: 2,
    });
  }
  if (process.getuid?.() === 0) {
    chmodSync(path, 0o600);
    chownSync(path, 12_345, 12_345);
    t.equal(systemFiles.readSecret(path, option).octets.length, 6, 'root checks the files of services');
  }
  t.end();
});
