// Addresses of UDP hosts that cannot be opened.

import t from 'tap';

import { SystemError } from '../../src/base/system-error.js';
import { openEach } from '../../src/fastpath/places.js';
import { LINUX } from '../../src/os/libc.js';
import type { ListenAddress } from '../../src/os/listen-address.js';

const at = (address: string, wildcard?: string): ListenAddress => ({
  address,
  port: 53,
  ...(wildcard === undefined ? {} : { wildcard }),
});

/** Opens all but those that fail with an errno; returns the addresses of those that wait. */
async function opened(addresses: readonly ListenAddress[], failing: Record<string, number>): Promise<string[]> {
  const unopened = await openEach(addresses, each => {
    const errno = failing[each.address];
    if (errno !== undefined) throw new SystemError('bind', -errno, each);
  });
  return unopened.map(each => each.at.address);
}

await t.test('an address that the machine does not have waits, written or not', async t => {
  const codes = [LINUX.EADDRNOTAVAIL, LINUX.ENODEV, LINUX.EAFNOSUPPORT];
  for (const errno of codes) {
    t.same(await opened([at('::1'), at('127.0.0.1')], { '::1': errno }), ['::1']);
    t.same(await opened([at('fd00::1', '::')], { 'fd00::1': errno }), ['fd00::1'], 'the only one of a wildcard');
  }
  t.same(await opened([at('fe80::1%eth0')], { 'fe80::1%eth0': LINUX.EINVAL }), ['fe80::1%eth0'], 'no such interface');
});

await t.test('a written address that cannot be opened for another reason is an error', async t => {
  for (const errno of [LINUX.EADDRINUSE, LINUX.EACCES, LINUX.EINVAL])
    await t.rejects(opened([at('127.0.0.1'), at('127.0.0.2')], { '127.0.0.2': errno }), { message: /^bind E/ });
});

await t.test(
  'one that a wildcard stands for waits whatever the reason, and the wildcard fails with the last',
  async t => {
    const both = [at('127.0.0.1', '0.0.0.0'), at('192.0.2.1', '0.0.0.0'), at('::1', '::')];
    t.same(await opened(both, { '192.0.2.1': LINUX.EADDRINUSE }), ['192.0.2.1']);
    const inUse = { '127.0.0.1': LINUX.EADDRINUSE, '192.0.2.1': LINUX.EADDRINUSE };
    await t.rejects(opened(both, inUse), { code: 'EADDRINUSE', address: '0.0.0.0', port: 53 });
    // Nothing is wrong with the wildcard if one is not ready.
    t.same(await opened(both, { '::1': LINUX.EADDRNOTAVAIL }), ['::1']);
  },
);

await t.test('without descriptors nothing waits: what is served now must go on', async t => {
  for (const errno of [LINUX.EMFILE, LINUX.ENFILE, LINUX.ENOBUFS, LINUX.ENOMEM])
    await t.rejects(opened([at('127.0.0.1', '0.0.0.0'), at('192.0.2.1', '0.0.0.0')], { '192.0.2.1': errno }));
});

await t.test('a broken invariant is nothing that waits', async t => {
  await t.rejects(
    openEach([at('127.0.0.1', '0.0.0.0')], () => {
      throw new TypeError('a bug');
    }),
    TypeError,
  );
});
