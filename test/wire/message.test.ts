import t from 'tap';

import { messageToText } from '../../src/wire/message.js';
import { typeFromText, typeToText } from '../../src/wire/rrtype.js';
import { queryMessage } from '../fixtures/client.js';
import { responseTo } from '../fixtures/messages.js';

const shown = (line: string): string | undefined =>
  messageToText(responseTo(queryMessage('x.example'), { answers: line }))?.answers[0]?.data;

await t.test('records are written as in a zone file', t => {
  t.equal(shown('x.example. 1 A 192.0.2.1'), '192.0.2.1');
  t.equal(shown('x.example. 1 AAAA 2001:db8::1'), '2001:db8::1');
  t.equal(shown('x.example. 1 CNAME a\\.b.example.'), 'a\\.b.example.');
  t.equal(shown('x.example. 1 MX 10 mail.example.'), '10 mail.example.');
  t.equal(shown('x.example. 1 SOA a.example. b.example. 1 2 3 4 5'), 'a.example. b.example. 1 2 3 4 5');
  t.equal(shown('x.example. 1 TXT "one" "two words"'), '"one" "two words"');
  t.equal(shown('x.example. 1 CAA \\# 16 000569737375656c6574736e63727970'), '0 issue "letsncryp"');
  t.equal(shown('x.example. 1 DS \\# 24 4f660802' + '00'.repeat(20)), '20326 8 2 ' + '00'.repeat(20));
  t.equal(shown('x.example. 1 TLSA \\# 5 03010199aa'), '3 1 1 99aa');
  t.equal(shown('x.example. 1 SRV \\# 15 00010002003503646e7303666f6f00'), '1 2 53 dns.foo.');
  t.end();
});

await t.test('RFC 9460: HTTPS and SVCB', t => {
  t.equal(shown('x.example. 1 HTTPS \\# 17 0001000001000302683200040004c0000250'), '1 . alpn=h2 ipv4hint=192.0.2.80');
  t.equal(
    shown('x.example. 1 SVCB \\# 27 000103646f7403666f6f000001000403646f74000300020355fde80000'),
    '1 dot.foo. alpn=dot port=853 key65000',
  );
  t.equal(shown('x.example. 1 HTTPS \\# 5 0001000001'), '\\# 5 0001000001', 'malformed: as octets');
  t.end();
});

await t.test('RFC 3597: unknown types and malformed RDATA are shown as octets', t => {
  t.equal(shown('x.example. 1 TYPE65280 \\# 3 abcdef'), '\\# 3 abcdef');
  t.equal(shown('x.example. 1 TYPE65280 \\# 0'), '\\# 0');
  t.equal(shown('x.example. 1 MX \\# 1 00'), '\\# 1 00');
  t.equal(typeFromText('type65280'), 65280);
  t.equal(typeFromText('TYPE65536'), undefined);
  t.equal(typeFromText('aaaa'), 28);
  t.equal(typeToText(65280), 'TYPE65280');
  t.end();
});
