// Hosts files and leases that nobody should write: no exception, bounded time and memory, and every problem has its line.
// RUNS sets how many files are made.

import t from 'tap';

import { wallSec } from '../../src/base/time.js';
import { deviceNameFrom } from '../../src/policy/local/host-name.js';
import { readHosts } from '../../src/policy/local/hosts.js';
import { LEASE_FORMATS, readLeases } from '../../src/policy/local/leases.js';
import { MOST_LINE_OCTETS } from '../../src/policy/local/lines.js';
import { recordFrom } from '../../src/policy/local/record-text.js';
import { LocalTable, MOST_NAMES, MOST_RECORDS_OF_NAME } from '../../src/policy/local/table.js';
import { TYPE } from '../../src/wire/rrtype.js';
import { fakeRandom } from '../fixtures/clock.js';

const FILES = Number(process.env['RUNS'] ?? 4000);
const random = fakeRandom(17);

const GOOD = [
  '192.168.1.10 nas nas.lan',
  'fd00::10\tnas',
  '1893456000 aa:bb:cc:dd:ee:ff 192.168.1.10 nas 01:aa',
  'duid 00:01:00:01',
  '# br-lan 00010001aabb 1234 nas 1893456000 1a2 128 fd00::1a2/128',
  '# br-lan aabb ipv4 tv -1 0 32 192.168.1.9/32',
  'address,hwaddr,client_id,valid_lifetime,expire,subnet_id,fqdn_fwd,fqdn_rev,hostname,state,user_context',
  '192.168.1.10,aa,,3600,1893456000,1,0,0,nas.lan.,0,',
  'lease 192.168.1.10 {',
  '  ends 2 2030/01/01 00:00:00;',
  '  ends 9 9999/99/99 99:99:99;',
  '  ends epoch 99999999999999;',
  '  binding state active;',
  '  client-hostname "nas";',
  '}',
];
const BITS = [
  '{',
  '}',
  '#',
  '"',
  '\\',
  '\0',
  '\x1b[2J',
  '\xff',
  '*',
  '.',
  '..',
  '-',
  ',',
  ' ',
  '\t',
  '\r',
  '\n',
  '%',
  '::',
  '1',
];

const one = <T>(all: readonly T[]): T => all[random.below(all.length)] as T;

function line(): string {
  let text = one(GOOD);
  for (let changes = random.below(4); changes > 0; changes--) {
    const at = random.below(text.length + 1);
    const cut = random.below(6);
    const more = random.below(200) === 0 ? one(BITS).repeat(random.below(2 * MOST_LINE_OCTETS)) : one(BITS);
    text = text.slice(0, at) + more + text.slice(at + cut);
  }
  return text;
}

const file = (): Buffer =>
  random.below(20) === 0
    ? Buffer.from(Array.from({ length: random.below(400) }, () => random.below(256)))
    : Buffer.from(Array.from({ length: random.below(30) }, line).join('\n'), 'latin1');

await t.test(`${FILES} files: read in every format, into a table that answers`, t => {
  const wallNow = wallSec(1_800_000_000);
  for (let i = 0; i < FILES; i++) {
    const octets = file();
    const lines = octets.toString('latin1').split('\n').length;
    const table = new LocalTable(['\x03lan\0']);
    const steps = [...readHosts(octets), ...LEASE_FORMATS.flatMap(format => [...readLeases(octets, format)])];
    for (const step of steps) {
      if (step?.at === 'problem') {
        if (step.line < 1 || step.line > lines || step.words === '') t.fail(JSON.stringify(step));
      } else if (step?.at === 'host') table.addHost(step.address, step.names, 'hosts');
      else if (step?.host !== undefined) {
        const name = deviceNameFrom(step.host, one(['lan', undefined]));
        if (name !== undefined) table.addHost(step.address, [name], 'leases', step.until);
      }
    }
    for (const name of ['\x03nas\x03lan\0', '\x03nas\0', '\x03lan\0', '\x0210\x011\x03168\x03192\x07in-addr\x04arpa\0'])
      for (const type of [TYPE.A, TYPE.PTR, TYPE.SOA])
        table.find({ name, type, wallNow, zone: undefined, routeBytes: () => 0 });
  }
  t.end();
});

await t.test('records of the configuration, mutated', t => {
  const records = [
    'nas.lan. 300 A 192.168.1.10',
    'a.lan. TXT "a b" c',
    'a.lan. TYPE65280 \\# 2 0102',
    's.lan. SRV 1 2 3 t.',
  ];
  for (let i = 0; i < FILES; i++) {
    let text = one(records);
    for (let changes = random.below(4); changes > 0; changes--) {
      const at = random.below(text.length + 1);
      text = text.slice(0, at) + one(BITS) + text.slice(at + random.below(4));
    }
    const read = recordFrom(text);
    if (read.at === 'record') new LocalTable().addRecord(read.record);
    else if (read.words === '') t.fail(text);
  }
  t.end();
});

const OCTETS = 1 << 18;
/** A file of one kind of line. */
const whole = (text: (i: number) => string): Buffer => {
  const parts: string[] = [];
  for (let bytes = 0, i = 0; bytes < OCTETS; i++) {
    const each = text(i);
    parts.push(each);
    bytes += each.length;
  }
  return Buffer.from(parts.join('').slice(0, OCTETS), 'latin1');
};

await t.test('the reader may pause at every line of the worst kinds, and the table stays in its bounds', t => {
  const kinds: Readonly<Record<string, Buffer>> = {
    newlines: whole(() => '\n'),
    'one line': whole(() => 'x'),
    braces: whole(() => 'lease 1.1.1.1 {\n'),
    'spaces in a line': whole(() => `${' '.repeat(MOST_LINE_OCTETS - 2)}#\n`),
    'many names': whole(i => `10.${(i >> 16) & 255}.${(i >> 8) & 255}.${i & 255} h${i}.example\n`),
    'long names': whole(i => `10.0.${(i >> 8) & 255}.${i & 255} ${`${i % 7}.`.repeat(100)}h${i}\n`),
    'one name': whole(i => `10.${(i >> 16) & 255}.${(i >> 8) & 255}.${i & 255} nas\n`),
  };
  for (const [kind, octets] of Object.entries(kinds)) {
    const lines = octets.toString('latin1').replace(/\n$/, '').split('\n').length;
    for (const format of ['hosts', ...LEASE_FORMATS] as const) {
      const table = new LocalTable();
      let steps = 0;
      for (const step of format === 'hosts' ? readHosts(octets) : readLeases(octets, format)) {
        steps++;
        if (step?.at === 'host') table.addHost(step.address, step.names, 'hosts');
      }
      if (steps < lines) t.fail(`${kind}, ${format}: ${steps} steps for ${lines} lines`);
      const found = table.find({
        ...{ name: '\x03nas\0', type: TYPE.A, wallNow: wallSec(0), zone: undefined },
        routeBytes: () => 0,
      });
      if (found?.at === 'records' && found.answer.length > MOST_RECORDS_OF_NAME) t.fail(`${kind}: too many records`);
      if (table.names > MOST_NAMES) t.fail(`${kind}: too many names`);
    }
  }
  t.end();
});
