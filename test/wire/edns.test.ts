import t from 'tap';

import { edeOption, extendedErrors, findOption, OPTION, readOpt, writeOpt } from '../../src/wire/edns.js';

const read = (opt: Buffer) => readOpt(opt, 1);

await t.test('an OPT that is written can be read', t => {
  const opt = writeOpt({ rcode: 16, dnssecOk: true, options: [{ code: OPTION.NSID, data: Buffer.from('me') }] });
  t.match(read(opt), { udpSize: 1232, extendedRcode: 1, version: 0, dnssecOk: true });
  const parsed = read(opt);
  t.same(parsed && findOption(parsed, OPTION.NSID), Buffer.from('me'));
  t.equal(parsed && findOption(parsed, OPTION.COOKIE), undefined);
  t.end();
});

await t.test('RFC 8467 §4.1: the padded message is a multiple of the block', t => {
  for (let before = 12; before < 400; before++) {
    const opt = writeOpt({ dnssecOk: false, options: [] }, [before, 128]);
    t.equal((before + opt.length) % 128, 0, `${before}`);
    if (read(opt) === undefined) t.fail('unreadable');
  }
  t.end();
});

await t.test('RFC 6891 §6.2.3: sizes below 512 count as 512', t => {
  const opt = writeOpt({ dnssecOk: false, options: [] });
  opt.writeUInt16BE(100, 3);
  t.equal(read(opt)?.udpSize, 512);
  t.end();
});

await t.test('RFC 8914: an error and its text; a long text is cut between characters', t => {
  const opt = writeOpt({
    dnssecOk: false,
    options: [edeOption({ infoCode: 22, text: 'why' }), edeOption({ infoCode: 23, text: 'ü'.repeat(300) })],
  });
  const parsed = read(opt);
  const [first, second, ...rest] = parsed === undefined ? [] : extendedErrors(parsed, 8);
  t.same(first, { infoCode: 22, text: 'why' });
  t.equal(second?.text, 'ü'.repeat(100));
  t.same(rest, []);
  t.end();
});
