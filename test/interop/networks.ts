// Runs in separate namespaces (see networks.test.ts). It starts resolvers on 127.0.0.2 and 127.0.0.3, each in cleartext on port 53
// and over TLS on 853, a firewall that can drop port 853, and the program. The argument names the situation. It prints its findings
// as JSON.

import { execFileSync } from 'node:child_process';
import { createSocket, type Socket } from 'node:dgram';
import { writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

import { messageToText } from '../../src/wire/message.js';
import { authority, certificate, type Identity } from '../fixtures/certificates.js';
import { type At, REPORT, tryAsk } from '../fixtures/client.js';
import { answering } from '../fixtures/daemon.js';
import { dotServer, type DotServer } from '../fixtures/dot-server.js';
import { answerOver, httpsServer } from '../fixtures/https-server.js';
import { responseTo } from '../fixtures/messages.js';
import { startDotstub, temporaryDirectory } from '../fixtures/program.js';

const [situation = '', resolvConf = ''] = process.argv.slice(2);
const directory = temporaryDirectory();
const ca = authority();
const caFile = join(directory.path, 'ca.pem');
writeFileSync(caFile, ca.cert);
const AT: At = { address: '127.0.0.1', port: 5300 };

const sh = (command: string): void =>
  void execFileSync('sh', ['-c', command], { stdio: ['ignore', 'ignore', 'inherit'] });
const block = (): void =>
  sh('iptables -A INPUT -p tcp --dport 853 -j DROP; iptables -A INPUT -p tcp --sport 853 -j DROP');
const unblock = (): void => sh('iptables -F INPUT');

const identityOf = (address: string): Identity =>
  certificate({ common: 'x', names: ['dns.test'], ips: [address], issuer: ca });

/** Starts a resolver at an address. It records queries in cleartext. */
async function resolver(
  address: string,
): Promise<{ readonly inCleartext: string[]; tls: DotServer; close(): Promise<void> }> {
  const inCleartext: string[] = [];
  const plain: Socket = createSocket('udp4');
  plain.on('message', (query, from) => {
    const { name: asked = '?', type = '?' } = messageToText(query)?.question ?? {};
    // Names in cleartext come in random letter case.
    const name = asked.toLowerCase();
    inCleartext.push(name);
    plain.send(
      responseTo(
        query,
        type === 'A' ? { answers: `${name} 0 A ${name === 'probe.example.' ? address : '192.0.2.53'}` } : {},
      ),
      from.port,
      from.address,
    );
  });
  await new Promise<void>(resolve => plain.bind(53, address, () => resolve()));
  const tls = await dotServer({
    identity: identityOf(address),
    handler: answering(),
    address,
    port: 853,
  });
  return { inCleartext, tls, close: async () => (plain.close(), tls.close()) };
}

let asked = 0;
/** Queries a new name, and returns the result, the protocol and the duration. */
async function query(): Promise<{ rcode: string; protocol: string; ms: number }> {
  const told = await tryAsk(AT, `n${asked++}.wild.example`, { options: [REPORT] });
  return {
    rcode: told?.text.rcode ?? 'none',
    protocol: told?.report.get('protocol') ?? '',
    ms: Math.round(told?.ms ?? 0),
  };
}

const one = await resolver('127.0.0.2');
const two = await resolver('127.0.0.3');
const strict = `upstream: { mode: strict, ca_file: ${caFile}, servers: [{ name: dns.test, addresses: [127.0.0.2] }] }\n`;
const automatic = `upstream: { ca_file: ${caFile} }\naccess: { per_client: 0 }\n`;
const result: Record<string, unknown> = {};
const control = join(directory.path, 'control.sock');
/** What `dotstub status` says about the daemon. */
const status = (): Readonly<Record<string, unknown>> => {
  const text = execFileSync(process.execPath, ['dist/cli.js', 'status', '--json', '--socket', control], {
    encoding: 'utf8',
  });
  return (JSON.parse(text) as { readonly data: Readonly<Record<string, unknown>> }).data;
};

switch (situation) {
  case 'strict, 853 blocked': {
    const daemon = await startDotstub(strict);
    result['before'] = await query();
    block();
    const untilMs = Date.now() + Number(process.env['BLOCKED_S'] ?? 8) * 1000;
    let failed = 0;
    const all: Promise<unknown>[] = [];
    while (Date.now() < untilMs) {
      all.push(query().then(({ rcode }) => void (failed += rcode === 'SERVFAIL' ? 1 : 0)));
      await sleep(20);
    }
    unblock();
    const openAtMs = Date.now();
    for (;;) {
      const { rcode } = await query();
      if (rcode === 'NOERROR') break;
      if (Date.now() - openAtMs > 20_000) break;
      await sleep(20);
    }
    result['backAfterMs'] = Date.now() - openAtMs;
    await Promise.all(all);
    result['failed'] = failed;
    result['asked'] = asked;
    result['inCleartext'] = [...one.inCleartext, ...two.inCleartext];
    await daemon.stop();
    break;
  }
  case 'three addresses swallow packets': {
    const dead = ['127.0.0.11', '127.0.0.12', '127.0.0.13'];
    for (const each of dead) sh(`iptables -A INPUT -d ${each} -j DROP`);
    const found: Record<string, readonly [answered: number, worstMs: number]> = {};
    for (const policy of ['ordered', 'fastest', 'round_robin', 'random', 'sharded']) {
      const addresses = [...dead, '127.0.0.2'].join(', ');
      const daemon = await startDotstub(
        `upstream: { mode: strict, policy: ${policy}, ca_file: ${caFile}, servers: [{ name: dns.test, addresses: [${addresses}] }] }\n`,
      );
      const all: Promise<{ rcode: string; ms: number }>[] = [];
      for (let i = 0; i < 100; i++) {
        all.push(query());
        await sleep(60);
      }
      const answers = await Promise.all(all);
      const worstMs = Math.max(...answers.map(({ ms }) => ms));
      found[policy] = [answers.filter(({ rcode }) => rcode === 'NOERROR').length, worstMs];
      await daemon.stop();
    }
    result['found'] = found;
    break;
  }
  case 'opportunistic, one private server of two': {
    const answer = answering();
    await two.tls.close();
    writeFileSync(resolvConf, 'nameserver 127.0.0.3\nnameserver 127.0.0.2\n');
    one.tls.handler = (message, session) => {
      const name = messageToText(message)?.question?.name ?? '';
      if (name.startsWith('dead')) return;
      if (name.startsWith('fail')) session.reply(responseTo(message, { rcode: 2 }));
      else if (name.startsWith('slow')) setTimeout(() => answer(message, session), 2000);
      else answer(message, session);
    };
    const daemon = await startDotstub(automatic);
    await query();
    await sleep(500);
    const before = [one.inCleartext.length, two.inCleartext.length] as const;
    const rcodes = new Map<string, number>();
    const all: Promise<unknown>[] = [];
    const kinds = ['dead', 'fail', 'slow'];
    for (let i = 0; i < 10_000; i++) {
      const kind = i % 10 === 0 ? (kinds[(i / 10) % 3] ?? '') : 'good';
      all.push(
        tryAsk(AT, `${kind}${i}.wild.example`).then(told => {
          const key = `${kind} ${told?.text.rcode ?? 'none'}`;
          rcodes.set(key, (rcodes.get(key) ?? 0) + 1);
        }),
      );
      if (i % 20 === 19) await sleep(25);
    }
    await Promise.all(all);
    result['answers'] = Object.fromEntries([...rcodes].sort());
    result['inCleartext'] = [...one.inCleartext.slice(before[0]), ...two.inCleartext.slice(before[1])];
    await daemon.stop();
    break;
  }
  case 'opportunistic, everything down for a while': {
    const daemon = await startDotstub(automatic);
    await query();
    await sleep(300);
    result['before'] = await query();
    sh('iptables -A INPUT -d 127.0.0.2 -j DROP; iptables -A INPUT -s 127.0.0.2 -j DROP');
    const untilMs = Date.now() + 25_000;
    const all: Promise<unknown>[] = [];
    while (Date.now() < untilMs) {
      all.push(query());
      await sleep(500);
    }
    unblock();
    const openAtMs = Date.now();
    let last = await query();
    result['first'] = last;
    while (last.protocol !== 'dot' && Date.now() - openAtMs < 60_000) {
      await sleep(100);
      last = await query();
    }
    result['overTlsAfterMs'] = Date.now() - openAtMs;
    await Promise.all(all);
    await daemon.stop();
    break;
  }
  case 'strict with https, 853 blocked': {
    const https = await httpsServer(
      identityOf('127.0.0.2'),
      (octets, stream) => {
        const { name = '', type = '' } = messageToText(octets)?.question ?? {};
        answerOver(stream, responseTo(octets, type === 'A' ? { answers: `${name} 0 A 192.0.2.99` } : {}));
      },
      { address: '127.0.0.2', port: 443 },
    );
    // Every packet to port 53, whoever it is for, except those to the daemon itself.
    sh('iptables -A OUTPUT -p udp --dport 53; iptables -A OUTPUT -p tcp --dport 53');
    const daemon = await startDotstub(strict.replace('addresses:', 'https: /dns-query, addresses:'));
    result['before'] = await query();
    block();
    const blockedAtMs = Date.now();
    let firstMs: number | undefined;
    const answers: string[] = [];
    const all: Promise<unknown>[] = [];
    while (Date.now() - blockedAtMs < Number(process.env['BLOCKED_S'] ?? 8) * 1000) {
      all.push(
        query().then(({ rcode, protocol }) => {
          if (protocol === 'https') firstMs ??= Date.now() - blockedAtMs;
          answers.push(`${rcode} ${protocol}`);
        }),
      );
      await sleep(20);
    }
    unblock();
    const openAtMs = Date.now();
    while ((await query()).protocol !== 'dot' && Date.now() - openAtMs < 60_000) await sleep(100);
    result['backAfterMs'] = Date.now() - openAtMs;
    await Promise.all(all);
    result['firstMs'] = firstMs;
    result['answers'] = [...new Set(answers)];
    result['asked'] = answers.length;
    result['https'] = https.requests;
    result['packets'] = execFileSync('iptables', ['-L', 'OUTPUT', '-n', '-v', '-x'])
      .toString()
      .split('\n')
      .flatMap(line => (/dpt:53\b/.test(line) ? [Number(/^\s*(\d+)/.exec(line)?.[1])] : []));
    result['inCleartext'] = [...one.inCleartext, ...two.inCleartext];
    result['log'] = daemon
      .log()
      .split('\n')
      .filter(line => /over HTTPS|works again/.test(line));
    await daemon.stop();
    break;
  }
  case 'opportunistic, 853 blocked then opened': {
    block();
    const daemon = await startDotstub(automatic);
    result['blocked'] = await query();
    unblock();
    // Another address on the machine is a network change, after which TLS is tried again at once.
    sh('ip address add 192.0.2.200/24 dev veth0');
    await sleep(1100);
    await query();
    await sleep(300);
    result['opened'] = await query();
    await daemon.stop();
    break;
  }
  case 'the system gets another resolver': {
    const daemon = await startDotstub(automatic);
    await query();
    await sleep(300);
    result['before'] = await query();
    writeFileSync(resolvConf, 'nameserver 127.0.0.3\n');
    await sleep(1500);
    result['first'] = await query();
    result['firstWasAsked'] = two.inCleartext.length + two.tls.queries;
    await sleep(300);
    const [before, plain] = [one.tls.queries + one.inCleartext.length, two.inCleartext.length];
    result['after'] = await query();
    result['oldWasAsked'] = one.tls.queries + one.inCleartext.length - before;
    result['inCleartext'] = two.inCleartext.length - plain;
    await daemon.stop();
    break;
  }
  case 'frozen': {
    const daemon = await startDotstub(strict);
    result['before'] = await query();
    daemon.child.kill('SIGSTOP');
    await sleep(300);
    // While it was frozen, all its connections were lost without notice.
    block();
    for (const session of one.tls.sessions) session.socket.destroy();
    await sleep(11_000);
    unblock();
    daemon.child.kill('SIGCONT');
    result['after'] = await query();
    await daemon.stop();
    break;
  }
  case 'started without a network': {
    await one.close();
    const daemon = await startDotstub(strict);
    result['without'] = await query();
    const again = await resolver('127.0.0.2');
    const startedAtMs = Date.now();
    while ((await query()).rcode !== 'NOERROR' && Date.now() - startedAtMs < 20_000) await sleep(20);
    result['backAfterMs'] = Date.now() - startedAtMs;
    await daemon.stop();
    result['inCleartext'] = again.inCleartext;
    break;
  }
  case 'a portal': {
    block();
    const daemon = await startDotstub(`${strict}control: { socket: ${join(directory.path, 'control.sock')} }\n`);
    const portal = (...args: string[]): void =>
      sh(`${process.execPath} dist/cli.js portal ${args.join(' ')} --socket ${join(directory.path, 'control.sock')}`);
    const ask = async (name: string): Promise<string> => (await tryAsk(AT, name))?.text.rcode ?? 'none';
    result['before'] = await ask('captive.apple.com');
    portal('start', '5m', 'login.hotel.example');
    result['listed'] = await ask('captive.apple.com');
    result['own'] = await ask('login.hotel.example');
    result['other'] = await ask('private.example');
    portal('stop');
    result['after'] = await ask('captive.apple.com');
    result['inCleartext'] = one.inCleartext;
    await daemon.stop();
    break;
  }
  case 'a portal that is detected': {
    block();
    const web = { isPortal: true };
    const server = createServer((_request, response) =>
      web.isPortal
        ? response.writeHead(302, { location: 'http://login.hotel.example/?<script>' }).end('sign in')
        : response.writeHead(204).end(),
    );
    await new Promise<void>(resolve => void server.listen(80, '127.0.0.2', resolve));
    const detect = 'portal: { detect: "http://probe.example/generate_204", names: [captive.apple.com] }';
    const daemon = await startDotstub(`${strict}${detect}\ncontrol: { socket: ${control} }\n`);
    const isOpen = async (wanted: boolean): Promise<number> => {
      const from = Date.now();
      while ((status()['portal'] !== undefined) !== wanted && Date.now() - from < 30_000) await sleep(100);
      return Date.now() - from;
    };
    const ask = async (name: string): Promise<string> => (await tryAsk(AT, name))?.text.rcode ?? 'none';
    result['openedAfterMs'] = await isOpen(true);
    result['status'] = status()['portal'];
    result['listed'] = await ask('captive.apple.com');
    result['page'] = await ask('login.hotel.example');
    result['other'] = await ask('private.example');
    web.isPortal = false;
    unblock();
    result['closedAfterMs'] = await isOpen(false);
    const before = one.inCleartext.length;
    await query();
    await sleep(300);
    result['after'] = await query();
    result['inCleartext'] = [...new Set(one.inCleartext.slice(0, before))];
    result['inCleartextAfter'] = one.inCleartext.slice(before);
    result['log'] = daemon.log();
    await daemon.stop();
    break;
  }
  case 'an announced resolver': {
    const ADDRESS = '192.0.2.200';
    const LINK = '/run/systemd/netif/links/2';
    await one.tls.close();
    sh(`ip address add ${ADDRESS}/24 dev veth0; mkdir -p /run/systemd/netif/links`);
    const announced = await dotServer({
      identity: certificate({ common: 'x', names: ['dns.test'], issuer: ca }),
      handler: answering(),
      address: ADDRESS,
      port: 853,
    });
    writeFileSync(LINK, `OPER_STATE=routable\nDNS=${ADDRESS}#dns.test 127.0.0.2\nDOMAINS=\n`);
    const daemon = await startDotstub(`${automatic}control: { socket: ${control} }\n`);
    await query();
    await sleep(500);
    let before = one.inCleartext.length;
    const answers = await Promise.all(Array.from({ length: 50 }, query));
    result['overTls'] = answers.filter(({ protocol }) => protocol === 'dot').length;
    result['inCleartext'] = one.inCleartext.length - before;
    result['upstreams'] = status()['upstreams'];
    // Now the network announces a name that the server cannot prove.
    const served = announced.queries;
    writeFileSync(LINK, `DNS=${ADDRESS}#other.test 127.0.0.2\n`);
    await sleep(1500);
    before = one.inCleartext.length;
    result['wrongName'] = await query();
    result['wrongNameInCleartext'] = one.inCleartext.length - before;
    result['wrongNameServed'] = announced.queries - served;
    result['log'] = daemon.log();
    await daemon.stop();
    break;
  }
  default:
    throw new Error(`no such situation: ${situation}`);
}
console.log(JSON.stringify(result));
directory.remove();
process.exit(0);
