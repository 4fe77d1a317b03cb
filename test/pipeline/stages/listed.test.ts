// What clients get for names on lists, and for answers that lead to them.

import t from 'tap';

import type { Outcome } from '../../../src/pipeline/answer.js';
import { mayStillBeGiven } from '../../../src/pipeline/stages/listed.js';
import { messageToText } from '../../../src/wire/message.js';
import { FLAG, writeHeader } from '../../../src/wire/header.js';
import { TYPE } from '../../../src/wire/rrtype.js';
import { queryMessage } from '../../fixtures/client.js';
import { listsOf, type TestList } from '../../fixtures/lists.js';
import { responseTo } from '../../fixtures/messages.js';
import { records, wireName } from '../../fixtures/records.js';
import { resolving, type Asking, type Resolving } from '../../fixtures/resolving.js';
import { world } from '../../fixtures/world.js';

const ZONE = `
  example.            3600 SOA   ns.example. hostmaster.example. 1 7200 3600 1209600 300
  www.example.         300 A     192.0.2.80
  ads.example.         300 A     192.0.2.66
  cloaked.example.     300 CNAME x.tracker.example.
  x.tracker.example.   300 A     192.0.2.67
  served.example.      300 TYPE65 \\# 21 0000017807747261636b6572076578616d706c6500
  good.example.        300 CNAME fine.tracker.example.
  fine.tracker.example. 300 A    192.0.2.68
  evil.example.        300 A     203.0.113.5
  zone.example.        300 NS    a.ns.evil.
  hints.example.       300 TYPE65 \\# 15 000100 00040008c0000250cb007105
`;

function house(...all: readonly TestList[]): Resolving {
  const answer = world(records(ZONE));
  const made = resolving(query => answer(query) ?? 'waits');
  made.lists.take(listsOf(all), [{ group: undefined, lists: 0x7fffffff, schedule: undefined }]);
  return made;
}

/** An outcome in a few words: rcode, data, extended errors. */
function words(outcome: Outcome | undefined): string {
  if (outcome === undefined) return 'nothing yet';
  if (outcome.at === 'failure') return outcome.code;
  const { octets, rcode, answers, authority, additional, extendedErrors } = outcome.entry;
  const whole = Buffer.from(octets);
  writeHeader(whole, 0, FLAG.QR | (rcode & 15), { questions: 1, answers, authority, additional });
  const text = messageToText(whole);
  const shown = [text?.rcode ?? '', ...(text?.answers ?? []).map(({ data }) => data)];
  return [...shown, ...extendedErrors.map(({ infoCode, text: why }) => `${infoCode} ${why}`)].join(' | ');
}

const told = (made: Resolving, name: string, asking?: Asking): string => words(made.ask(name, asking)[0]);

await t.test('each action answers as it says, with EDE 15 and a TTL, and asks nobody', async t => {
  const actions = {
    nxdomain: 'NXDOMAIN | 15 on the list ads',
    nodata: 'NOERROR | 15 on the list ads',
    null: 'NOERROR | 0.0.0.0 | 15 on the list ads',
    refused: 'REFUSED | 15 on the list ads',
    allow: 'NOERROR | 192.0.2.66',
  } as const;
  for (const [action, expected] of Object.entries(actions) as [keyof typeof actions, string][]) {
    const made = house({ text: 'ads.example', name: 'ads', action });
    t.equal(told(made, 'ads.example'), expected, action);
    t.equal(made.upstream.asked.length, action === 'allow' ? 1 : 0);
    t.equal(told(made, 'www.example'), 'NOERROR | 192.0.2.80');
  }
  const made = house({ text: 'ads.example', name: 'ads', action: 'null' });
  t.equal(told(made, 'ads.example', { type: 'AAAA' }), 'NOERROR | :: | 15 on the list ads');
  t.equal(told(made, 'ads.example', { type: 'HTTPS' }), 'NOERROR | 15 on the list ads', 'no record is a denial');
});

await t.test('a denial has a SOA of the name above, so that it can be cached', async t => {
  const [outcome] = house({ text: 'ads.example' }).ask('ads.example');
  t.match(outcome, { at: 'answer', origin: 'list', entry: { rcode: 3, authority: 1, verdict: 'unchecked' } });
});

await t.test('a group has EDE 17: it is filtered for these clients', async t => {
  const made = house({ text: 'ads.example' });
  made.lists.take(listsOf([{ text: 'ads.example' }]), [{ group: 'kids', lists: 1, schedule: undefined }]);
  t.equal(told(made, 'ads.example'), 'NXDOMAIN | 17 on the list list0');
});

await t.test(
  'an alias of a listed name is caught, also in an answer from the cache, and an exception of the name counts',
  async t => {
    const made = house({ text: '||tracker.example^\n@@||good.example^', name: 'ads' });
    const expected = 'NXDOMAIN | 15 its alias x.tracker.example. is on the list ads';
    t.equal(told(made, 'cloaked.example'), expected);
    t.equal(told(made, 'cloaked.example'), expected);
    t.equal(made.upstream.asked.length, 1, 'what is cached is what the server said');
    t.equal(told(made, 'served.example', { type: 'HTTPS' }), expected);
    t.match(told(made, 'good.example'), '192.0.2.68');
    t.equal(made.recorder.count('listed', 'ads', 'nxdomain'), 3);
  },
);

await t.test('RPZ: an address in the answer is caught, and local data is answered, its alias followed', async t => {
  const text = `$TTL 60\n@ SOA a. b. 1 2 3 4 5\n24.0.113.0.203.rpz-ip CNAME *.\nads.example A 192.0.2.1\n  TXT hello\nx.ads.example CNAME www.example.\n`;
  const made = house({ text, name: 'rpz' });
  t.equal(told(made, 'evil.example'), 'NOERROR | 15 its address is on the list rpz');
  const hinted = told(made, 'hints.example', { type: 'HTTPS' });
  t.equal(hinted, 'NOERROR | 15 its address hint is on the list rpz', 'clients connect to it all the same');
  t.equal(told(made, 'ads.example'), 'NOERROR | 192.0.2.1 | 15 on the list rpz');
  t.equal(told(made, 'ads.example', { type: 'MX' }), 'NOERROR | 15 on the list rpz');
  t.match(told(made, 'x.ads.example'), /NOERROR \| www\.example.* \| 192\.0\.2\.80 \| 15 on the list rpz/);
});

await t.test(
  'RPZ: a wildcard target is below the name that was asked for, and nothing is led on from there',
  async t => {
    const far = Array.from({ length: 4 }, () => 'a'.repeat(60)).join('.');
    const text = `$TTL 60\n@ SOA a. b. 1 2 3 4 5\nads.example CNAME *.garden.\n* CNAME *.garden.\nfar.example CNAME *.${far}.\n*.led CNAME www.led.\n`;
    const made = house({ text, name: 'rpz' });
    made.upstream.says = (query, name) => responseTo(query, { answers: `${name} 300 A 203.0.113.5` });
    const led = 'NOERROR | ads.example.garden. | 203.0.113.5 | 15 on the list rpz';
    t.equal(told(made, 'ads.example'), led);
    t.equal(
      told(made, 'www.test.example'),
      led.replace('ads', 'www.test'),
      'not once more: its target is met by the rule, too',
    );
    t.equal(told(made, 'far.example'), 'YXDOMAIN | 15 on the list rpz');
    t.equal(told(made, 'a.led'), 'NOERROR | www.led. | 203.0.113.5 | 15 on the list rpz');
    t.equal(told(made, 'www.led'), 'NOERROR | 203.0.113.5', 'it is where the rule leads');
  },
);

await t.test('RPZ: a name server in the answer is caught', async t => {
  const rules = '$TTL 60\n@ SOA a. b. 1 2 3 4 5\n*.ns.evil.rpz-nsdname CNAME .\n';
  const expected = 'NXDOMAIN | 15 its name server a.ns.evil. is on the list rpz';
  const made = house({ text: rules, name: 'rpz' });
  t.equal(told(made, 'zone.example', { type: 'NS' }), expected);
  t.equal(told(made, 'www.example'), 'NOERROR | 192.0.2.80');
  const parts = { answers: 'www.example. 300 A 192.0.2.80', authority: 'example. 300 NS a.ns.evil.' };
  const beside = resolving(query => responseTo(query, parts));
  beside.lists.take(listsOf([{ text: rules, name: 'rpz' }]), [{ group: undefined, lists: 1, schedule: undefined }]);
  t.equal(
    told(beside, 'www.example'),
    'NOERROR | 192.0.2.80',
    'what stands beside an answer is nothing that was asked for',
  );
});

await t.test('a reply may still be given if no rule in force keeps it from its clients', async t => {
  const made = house({ text: 'other.example' });
  const isGiven = (name: string, list: TestList, lists = 0x7fffffff): boolean => {
    const message = queryMessage(name, { type: name.startsWith('served') || name.startsWith('hints') ? 'HTTPS' : 'A' });
    const reply = world(records(ZONE))(message);
    if (reply === undefined) throw new Error(`nobody answers ${name}`);
    made.lists.take(listsOf([list]), [{ group: undefined, lists, schedule: undefined }]);
    return mayStillBeGiven(made.lists, 0, reply);
  };
  const zone = (line: string): TestList => ({ text: `$TTL 60\n@ SOA a. b. 1 1 1 1 1\n${line}\n` });
  t.ok(isGiven('www.example', { text: 'ads.example' }));
  t.notOk(isGiven('ads.example', { text: 'ads.example' }), 'by its name');
  t.notOk(isGiven('ADS.example', { text: 'ads.example' }), 'in any letter case');
  t.ok(isGiven('ads.example', { text: 'ads.example' }, 0), 'for clients without lists');
  t.notOk(isGiven('cloaked.example', { text: '||tracker.example^' }), 'by its alias');
  t.notOk(isGiven('cloaked.example', { text: '||tracker.example^\n@@||cloaked.example^' }), 'it rests on an exception');
  t.notOk(isGiven('served.example', { text: '||tracker.example^' }), 'by the target of a service');
  t.notOk(isGiven('evil.example', zone('24.0.113.0.203.rpz-ip CNAME .')), 'by its address');
  t.notOk(isGiven('hints.example', zone('24.0.113.0.203.rpz-ip CNAME .')), 'by an address hint');
  t.ok(isGiven('www.example', zone('24.0.113.0.203.rpz-ip CNAME .')));
  t.notOk(isGiven('www.example', zone('a.ns.evil.rpz-nsdname CNAME .')), 'replies do not show all name servers');
  t.notOk(mayStillBeGiven(made.lists, 0, Buffer.alloc(20, 0xff)), 'what cannot be read is not given');
});

await t.test(
  'a reply for a local name is not kept by an exception for it: the name that it leads to is judged',
  async t => {
    const made = house({ text: '@@||lan^' });
    const rdata = wireName('ads.example');
    made.settings.localNames.addRecord({ owner: wireName('tv.lan'), type: TYPE.CNAME, ttlSec: 60, rdata });
    t.match(told(made, 'tv.lan'), /192\.0\.2\.66$/);
    const reply = responseTo(queryMessage('tv.lan'), {
      answers: 'tv.lan. 60 CNAME ads.example.\nads.example. 300 A 192.0.2.66',
    });
    made.lists.take(listsOf([{ text: '@@||lan^\n||ads.example^' }]), [
      { group: undefined, lists: 0x7fffffff, schedule: undefined },
    ]);
    t.match(told(made, 'tv.lan'), /^NXDOMAIN/);
    t.notOk(mayStillBeGiven(made.lists, 0, reply));
  },
);

await t.test('without RD a listed name has the same answer, and the portal window comes first', async t => {
  const made = house({ text: 'ads.example\nportal' });
  t.equal(told(made, 'ads.example', { flags: 0 }), 'NXDOMAIN | 15 on the list list0');
  made.portal.start(60_000, [], { by: 'command' });
  made.ask('portal');
  t.same(made.network.asked, ['portal.']);
});

await t.test('while a class has no list, or a pause, nothing is looked at; the end of the pause ends that', async t => {
  const made = house({ text: 'ads.example' });
  made.lists.pause(undefined, 60_000);
  t.equal(told(made, 'ads.example'), 'NOERROR | 192.0.2.66');
  t.match(made.lists.paused, [{ group: undefined, leftMs: 60_000 }]);
  await made.clock.advance(60_000);
  t.ok(made.lists.look());
  t.equal(told(made, 'ads.example'), 'NXDOMAIN | 15 on the list list0', 'although the answer is cached');
  t.notOk(made.lists.isTimed);
});
