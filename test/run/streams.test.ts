// The listener of one transport, which may move to a thread: what becomes of those that are not needed.

import t from 'tap';

import { SystemError } from '../../src/base/system-error.js';
import type { StreamListener } from '../../src/listen/stream.js';
import type { ListenAddress } from '../../src/os/listen-address.js';
import { Streams } from '../../src/run/streams.js';

const HOST = '127.0.0.1';
const FIRST = [{ address: HOST, port: 853 }];
const BOTH = [...FIRST, { address: HOST, port: 854 }];
const EADDRINUSE = -98;

/** A listener that writes down what it is told, and may find its addresses in use. */
function listenerThat(state: { refuses: boolean }): StreamListener & { readonly told: string[] } {
  const told: string[] = [];
  let bound: readonly ListenAddress[] = [];
  return {
    told,
    get bound() {
      return bound;
    },
    unopened: [],
    async set(addresses) {
      await Promise.resolve();
      if (state.refuses) throw new SystemError('bind', EADDRINUSE, FIRST[0] ?? { address: HOST, port: 0 });
      bound = addresses;
    },
    keep: () => void told.push('keep'),
    setCredentials: () => undefined,
    close: () => void told.push('close'),
    destroy: () => void told.push('destroy'),
  };
}

function moving() {
  const [onMain, inThread] = [{ refuses: false }, { refuses: false }];
  const state = { hasThread: false };
  const main = listenerThat(onMain);
  const made: ReturnType<typeof listenerThat>[] = [];
  const makeInThread = async (): Promise<StreamListener | undefined> => {
    await Promise.resolve();
    if (!state.hasThread) return undefined;
    const listener = listenerThat(inThread);
    made.push(listener);
    return listener;
  };
  const streams = new Streams('tls', 'listen_tls.addresses', () => main, makeInThread);
  return { onMain, inThread, state, main, made, streams };
}

for (const where of ['onMain', 'inThread'] as const)
  void t.test(`a listener for a thread is given up if an address cannot be opened: ${where}`, async t => {
    const { state, made, streams, main, ...refusing } = moving();
    (await streams.prepare(FIRST, undefined)).commit();
    state.hasThread = true;
    refusing[where].refuses = true;
    for (let i = 0; i < 3; i++) await t.rejects(streams.prepare(BOTH, undefined), /in use/);
    t.same(
      made.map(({ told }) => told),
      [['destroy'], ['destroy'], ['destroy']],
    );
    refusing[where].refuses = false;
    const prepared = await streams.prepare(BOTH, undefined);
    await prepared.abandon();
    t.same(made[3]?.told, ['destroy'], 'or another part of the reload refuses');
    t.notOk(main.told.includes('close') || main.told.includes('destroy'));
  });

void t.test(
  'where it cannot listen again after a plan was refused: that is told, waits, and is tried again',
  async t => {
    const { onMain, streams } = moving();
    (await streams.prepare(FIRST, undefined)).commit();
    const prepared = await streams.prepare([{ address: HOST, port: 855 }], undefined);
    onMain.refuses = true;
    await prepared.abandon();
    t.same(streams.unopened, [], 'it has all of before');
    onMain.refuses = false;
    await streams.prepare(FIRST, undefined).then(({ commit }) => commit());
    const wildcard = await streams.prepare([{ address: '0.0.0.0', port: 853 }], undefined);
    onMain.refuses = true;
    await wildcard.abandon();
    t.match(streams.unopened, [{ at: { address: HOST, port: 853 }, error: { code: 'EADDRINUSE' } }]);
    t.ok(streams.isOutdated(FIRST), 'so that it is opened anew');
    onMain.refuses = false;
    (await streams.prepare(FIRST, undefined)).commit();
    t.same([streams.unopened, streams.isOutdated(FIRST), streams.bound], [[], false, FIRST]);
  },
);

void t.test('sessions of before end after their last reply when a thread takes over', async t => {
  const { state, made, streams, main } = moving();
  (await streams.prepare(FIRST, undefined)).commit();
  state.hasThread = true;
  (await streams.prepare(BOTH, undefined)).commit();
  t.same(main.told, ['keep', 'close']);
  t.same(made[0]?.told, ['keep']);
  t.same(streams.bound, BOTH);
  streams.finish();
  streams.destroy();
  t.same(main.told, ['keep', 'close', 'destroy']);
  t.same(made[0]?.told, ['keep', 'close', 'destroy']);
});
