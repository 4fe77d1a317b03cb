// RDATA as dig writes it: whoever compares the two sees the same text.

import { execFile, execFileSync } from 'node:child_process';
import { createSocket } from 'node:dgram';

import t from 'tap';

import { messageToText } from '../../src/wire/message.js';
import { responseTo } from '../fixtures/messages.js';

const hasDig = ((): boolean => {
  try {
    execFileSync('dig', ['-v'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
})();

const HOSTILE = Buffer.from('x\x1b[2J"\\\r\n\t;@ $.\x7f\x9b\u00e9', 'latin1');
const string = (octets: Buffer): Buffer => Buffer.concat([Buffer.from([octets.length]), octets]);
const NAME = Buffer.concat([string(HOSTILE), string(Buffer.from('example')), Buffer.from([0])]);

const RECORDS: readonly (readonly [type: string, rdata: Buffer])[] = [
  ['TXT', Buffer.concat([string(HOSTILE), string(Buffer.from('é')), string(Buffer.alloc(0))])],
  ['HINFO', Buffer.concat([string(HOSTILE), string(Buffer.from('a b'))])],
  ['CNAME', NAME],
  ['MX', Buffer.concat([Buffer.from([0, 10]), NAME])],
  ['SOA', Buffer.concat([NAME, NAME, Buffer.alloc(20)])],
  ['CAA', Buffer.concat([Buffer.from([0]), string(Buffer.from('issue')), HOSTILE])],
];

await t.test('RDATA and names', { skip: !hasDig && 'dig is not installed' }, async t => {
  for (const [type, rdata] of RECORDS) {
    const record = `${type} \\# ${rdata.length} ${rdata.toString('hex')}`;
    let ours: string | undefined;
    const server = createSocket('udp4', (query, from) => {
      const reply = responseTo(query, { answers: `x.example. 1 ${record}` });
      ours = messageToText(reply)?.answers[0]?.data;
      server.send(reply, from.port, from.address);
    });
    await new Promise<void>(resolve => server.bind(0, '127.0.0.1', resolve));
    const args = ['@127.0.0.1', '-p', String(server.address().port), '+short', '+tries=1', 'x.example', type];
    const theirs = await new Promise<string>(resolve => execFile('dig', args, (_error, stdout) => resolve(stdout)));
    server.close();
    t.equal(ours, theirs.trimEnd(), record);
  }
});
