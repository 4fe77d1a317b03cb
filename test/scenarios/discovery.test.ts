// What clients are told about the listener for DNS over TLS (RFC 9462), from the real daemon, and what changes it.

import { mkdirSync } from 'node:fs';

import t, { type Test } from 'tap';

import { certificate, type Identity } from '../fixtures/certificates.js';
import { ask } from '../fixtures/client.js';
import { freePort } from '../fixtures/free-port.js';
import { eventually, type Json, Rig } from '../fixtures/rig.js';

async function serving(t: Test, names: readonly string[], ips: readonly string[] = ['127.0.0.1']) {
  const rig = await Rig.make(t);
  const server = await rig.server('dns.test');
  const port = await freePort();
  mkdirSync(rig.path('live'));
  const put = (made: Identity): Json => ({
    certificate: rig.file('live/cert.pem', made.cert),
    key: rig.file('live/key.pem', made.key),
  });
  const made = (of: readonly string[], addresses: readonly string[] = ips, notAfter?: Date): Identity =>
    certificate({
      ...{ common: 'x', names: of, ips: addresses, issuer: rig.ca },
      ...(notAfter === undefined ? {} : { notAfter }),
    });
  const config = (more: Json = {}): Json => ({
    upstream: { servers: [server.entry] },
    listen_tls: { addresses: [`127.0.0.1:${port}`], ...put(made(names)), ...more },
  });
  await rig.start(config());
  const told = async (name = '_dns.resolver.arpa', type = 'SVCB'): Promise<string> =>
    rig.answer(name, { type, retryTruncated: false });
  return { rig, port, put, made, config, told, server };
}

await t.test('name, port and address of the listener are told, in both forms of the question', async t => {
  const { rig, port, told, server } = await serving(t, ['*.home.test', 'Dns.Home.Test']);
  const svcb = `NOERROR 1 dns.home.test. alpn=dot port=${port} ipv4hint=127.0.0.1`;
  t.equal(await told(), svcb);
  t.equal(await told('_DNS.resolver.ARPA'), svcb);
  t.equal(await told('_dns.dns.home.test'), svcb);
  const { text } = await ask(rig.at, '_dns.resolver.arpa', { type: 'SVCB', dnssec: true });
  t.match(text.additional, [{ name: 'dns.home.test', type: 'A', data: '127.0.0.1' }]);
  t.notOk(text.flags.includes('ad'));
  t.equal(await told('_dns.resolver.arpa', 'A'), 'NOERROR', 'other types have no data');
  t.equal(await told('resolver.arpa', 'SVCB'), 'NOERROR');
  t.equal(await told('x.resolver.arpa'), 'NOERROR');
  t.same(
    server.asked.filter(name => name.includes('resolver') || name.includes('home.test')),
    [],
    'nobody else is asked',
  );
  const explained = await rig.command('explain', ['_dns.resolver.arpa', 'SVCB']);
  t.match(explained, `answer    made here: clients are told of dns.home.test: DNS over TLS at port ${port}`);
  t.match(await rig.command('status'), /discovery +clients are told of dns\.home\.test: DNS over TLS at port/);
});

await t.test(
  'an address that the certificate does not hold is named, because clients that verify fail there',
  async t => {
    const { rig } = await serving(t, ['dns.home.test'], ['192.168.1.1']);
    t.match(
      await rig.command('status'),
      /the certificate does not hold 127\.0\.0\.1, which they ask \(RFC 9462 §4\.2\)/,
    );
    t.match(await rig.command('explain', ['_dns.resolver.arpa', 'SVCB']), /does not hold 127\.0\.0\.1/);
  },
);

await t.test('a reload and a new certificate change what is told at once', async t => {
  const { rig, port, put, made, config, told } = await serving(t, ['one.test']);
  const svcb = (name: string, at = port): string => `NOERROR 1 ${name}. alpn=dot port=${at} ipv4hint=127.0.0.1`;
  t.equal(await told(), svcb('one.test'));
  await rig.reload(config({ announce: false }));
  t.equal(await told(), 'NOERROR');
  t.match(await rig.command('explain', ['_dns.resolver.arpa', 'SVCB']), /told of no listener: the configuration/);
  await rig.reload(config());
  t.equal(await told(), svcb('one.test'));
  const other = await freePort();
  await rig.reload(config({ addresses: [`127.0.0.1:${other}`] }));
  t.equal(await told(), svcb('one.test', other));
  put(made(['two.test']));
  t.equal(await eventually(told, svcb('two.test', other)), svcb('two.test', other));
  t.not(await told('_dns.one.test'), svcb('two.test', other), 'the name of before is a name like any other');
  await rig.reload({ ...config(), listen_tls: { addresses: [] } });
  t.equal(await told(), 'NOERROR', 'without a listener there is nothing to tell');
  t.match(await rig.command('explain', ['_dns.resolver.arpa', 'SVCB']), /none is configured \(listen_tls\)/);
});

await t.test('nothing is told of a listener whose certificate has expired or has no name', async t => {
  const { rig, put, made, config, told } = await serving(t, []);
  t.equal(await told(), 'NOERROR');
  t.match(await rig.command('status'), /discovery +clients are told of no listener: the certificate has no DNS name/);
  const next = config();
  put(made(['late.test'], ['127.0.0.1'], new Date(Date.now() - 1000)));
  await rig.reload(next);
  t.equal(await told(), 'NOERROR');
  t.match(await rig.command('status'), /discovery +clients are told of no listener: the certificate is not valid now/);
});
