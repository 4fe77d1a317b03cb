// Servers that do anything, at any time, over a network that changes: whatever happens, each question has one outcome
// in time, and nothing is left behind.

import fc from 'fast-check';
import t from 'tap';

import type { Mode } from '../../src/base/overview.js';
import type { DialTarget } from '../../src/base/ports.js';
import type { Policy } from '../../src/upstream/selection.js';
import type { ServerSpec } from '../../src/upstream/server.js';
import { FLAG } from '../../src/wire/header.js';
import { framed } from '../../src/wire/frame.js';
import { responseTo, type ResponseParts } from '../fixtures/messages.js';
import type { FakeStream, Reaction } from '../fixtures/network.js';
import { type AskedQuestion, setUp, wordOf } from '../fixtures/pool.js';

const A = 'x.example. 60 A 192.0.2.1';
const NOERROR: ResponseParts = { answers: A };
const KEEPALIVE_0 = { code: 11, data: Buffer.from([0, 0]) };
/** After this long, a question has an outcome: the deadline, and the steps of the timer wheel. */
const LATEST_MS = 4600;
/** The most streams to one port of one address, those included that are being closed. */
const MOST_STREAMS = 16;
/** The dialer gives up after this time. */
const DIAL_MS = 4000;

/** What an address does. */
type Behaviour =
  | { readonly at: 'answers' | 'silent' | 'refuses' | 'blocked' | 'hangs up' | 'keepalive 0' | 'truncates' }
  | { readonly at: 'slow' | 'connects slowly'; readonly ms: number }
  | { readonly at: 'closes after'; readonly answers: number }
  | { readonly at: 'fails' | 'blames EDNS' | 'fails without question' | 'wrong ids' | 'trickles' }
  /** Answers names of odd length only. */
  | { readonly at: 'half' };

const behaviours: fc.Arbitrary<Behaviour> = fc.oneof(
  fc.constantFrom<Behaviour[]>(
    { at: 'answers' },
    { at: 'silent' },
    { at: 'refuses' },
    { at: 'blocked' },
    { at: 'hangs up' },
    { at: 'keepalive 0' },
    { at: 'truncates' },
    { at: 'fails' },
    { at: 'blames EDNS' },
    { at: 'fails without question' },
    { at: 'wrong ids' },
    { at: 'trickles' },
    { at: 'half' },
  ),
  fc.record({
    at: fc.constantFrom('slow' as const, 'connects slowly' as const),
    ms: fc.integer({ min: 1, max: 6000 }),
  }),
  fc.record({ at: fc.constant('closes after' as const), answers: fc.integer({ min: 1, max: 5 }) }),
);

/** One step of a run. */
type Step =
  | { readonly at: 'ask'; readonly count: number; readonly kind: 'n' | 'dead' | 'hang' }
  | { readonly at: 'wait'; readonly ms: number }
  | { readonly at: 'behave'; readonly address: number; readonly behaviour: Behaviour }
  | { readonly at: 'network' | 'resume' | 'prepare' | 'break' }
  | { readonly at: 'configure'; readonly from: number; readonly mode: Mode };

const modes = fc.constantFrom<Mode[]>('off', 'opportunistic', 'encrypted', 'strict');
const policies = fc.constantFrom<Policy[]>('ordered', 'fastest', 'round_robin', 'random', 'sharded');

const asks = fc.record({
  at: fc.constant('ask' as const),
  count: fc.oneof(fc.integer({ min: 1, max: 5 }), fc.integer({ min: 1, max: 150 })),
  kind: fc.constantFrom('n' as const, 'n' as const, 'n' as const, 'dead' as const, 'hang' as const),
});
const waits = fc.record({
  at: fc.constant('wait' as const),
  ms: fc.oneof(
    fc.integer({ min: 1, max: 60 }),
    fc.integer({ min: 100, max: 3000 }),
    fc.integer({ min: 1, max: 15_000 }),
  ),
});
const behaves = fc.record({ at: fc.constant('behave' as const), address: fc.nat({ max: 7 }), behaviour: behaviours });
const events: fc.Arbitrary<Step> = fc.oneof(
  fc.record({ at: fc.constantFrom('network' as const, 'resume' as const, 'prepare' as const, 'break' as const) }),
  fc.record({ at: fc.constant('configure' as const), from: fc.nat({ max: 3 }), mode: modes }),
);
const stepsOf = (...more: fc.WeightedArbitrary<Step>[]): fc.Arbitrary<Step[]> =>
  fc.array(fc.oneof({ arbitrary: asks, weight: 4 }, { arbitrary: waits, weight: 4 }, ...more), {
    minLength: 4,
    maxLength: 14,
  });

/** The shape of the servers: how many addresses each has; 0: one that is looked up. */
const shapes = fc.record({
  addresses: fc.array(fc.integer({ min: 0, max: 2 }), { minLength: 1, maxLength: 4 }),
  https: fc.boolean(),
  first: fc.array(behaviours, { minLength: 8, maxLength: 8 }),
  latencies: fc.array(fc.integer({ min: 0, max: 80 }), { minLength: 8, maxLength: 8 }),
});
type Shape = typeof shapes extends fc.Arbitrary<infer S> ? S : never;

const BOOTSTRAP = '192.0.2.250';
const addressOf = (index: number): string => `192.0.2.${index + 1}`;
const indexOf = (address: string): number => Number(address.split('.')[3]) - 1;
const nameOf = (query: Buffer): string =>
  query
    .subarray(13, 13 + (query[12] ?? 0))
    .toString('latin1')
    .toLowerCase();
const hasEdns = (query: Buffer): boolean => query[11] === 1;

/** The servers of a shape; the server n has the addresses 2n and 2n + 1. */
const serversOf = ({ addresses, https }: Shape): ServerSpec[] =>
  addresses.map((count, n) => ({
    label: `s${n}.example`,
    name: `s${n}.example`,
    addresses: Array.from({ length: count }, (_, i) => ({ address: addressOf(2 * n + i), port: 853 })),
    port: 853,
    pins: [],
    pinPolicy: 'pin_and_pkix',
    discover: false,
    origin: 'configured',
    ...(https ? { https: { host: undefined, port: 443, path: '/dns-query' } } : {}),
  }));

/** A pool over servers that behave as they are told. */
class World {
  readonly questions: { readonly name: string; readonly asked: AskedQuestion; readonly atMs: number }[] = [];
  /** How often each name was received. */
  readonly sends = new Map<string, number>();
  readonly behaviour: Behaviour[];
  readonly rig: ReturnType<typeof setUp>;
  /** The most streams to one port of one address at a time. */
  mostStreams = 0;
  private readonly servers: ServerSpec[];
  private readonly streams = new Map<DialTarget, FakeStream>();
  private readonly taken = new Map<DialTarget, number>();
  /** Requests over HTTP/2 are answered in their order, so that after one without an answer there are no others. */
  private readonly mute = new Set<DialTarget>();

  constructor(
    private readonly shape: Shape,
    readonly mode: Mode,
    private readonly policy: Policy,
  ) {
    this.behaviour = [...shape.first];
    this.servers = serversOf(shape);
    this.rig = setUp(this.servers, this.specOf(this.servers, mode), async (name, address, query) =>
      this.datagram(name.slice(0, -1), address, query),
    );
    const { network } = this.rig;
    network.connects = target => this.dialled(target, network.last);
    network.serve = (_, target) => this.asked(target);
    network.reads = query => {
      this.count(nameOf(query));
      this.query = query;
      return undefined;
    };
  }

  /** The query that is being received. */
  private query: Buffer = Buffer.alloc(0);

  private specOf(servers: readonly ServerSpec[], mode: Mode) {
    return {
      mode,
      policy: this.policy,
      servers,
      bootstrapServers: () => [{ address: BOOTSTRAP, port: 53 }],
    };
  }

  async step(step: Step): Promise<void> {
    const { tested, clock, network } = this.rig;
    switch (step.at) {
      case 'ask':
        for (let i = 0; i < step.count; i++) {
          const name = `${step.kind}${this.questions.length}`;
          this.questions.push({ name, asked: this.rig.ask(`${name}.example`), atMs: clock.monotonicMs() });
        }
        return;
      case 'wait':
        return clock.advance(step.ms);
      case 'behave':
        this.behaviour[step.address] = step.behaviour;
        return;
      case 'network':
      case 'resume': {
        tested.networkChanged(step.at);
        return;
      }
      case 'prepare': {
        tested.prepare();
        return;
      }
      case 'break':
        for (const each of network.streams) each.finish(true);
        return;
      case 'configure': {
        const { servers } = this;
        const turned = [...servers.slice(step.from), ...servers.slice(0, step.from)].slice(0, 1 + (step.from % 4));
        tested.configure(this.specOf(turned, step.mode));
        return;
      }
    }
  }

  /** Waits until all questions must have an outcome, and checks that each has one. */
  async settle(): Promise<void> {
    await this.rig.clock.advance(LATEST_MS);
    const wrong = this.questions.filter(({ asked }) => asked.outcomes !== 1);
    if (wrong.length > 0)
      throw new Error(`outcomes: ${wrong.map(each => `${each.name} ${each.asked.outcomes}`).join(', ')}`);
  }

  private count(name: string): void {
    this.sends.set(name, (this.sends.get(name) ?? 0) + 1);
  }

  private at({ address }: DialTarget): Behaviour {
    return this.behaviour[indexOf(address)] ?? { at: 'answers' };
  }

  private dialled(target: DialTarget, stream: FakeStream): false {
    this.streams.set(target, stream);
    const open = this.rig.network.streams.filter(
      each => !each.closed && each.target.address === target.address && each.target.port === target.port,
    );
    this.mostStreams = Math.max(this.mostStreams, open.length);
    const behaviour = this.at(target);
    const { clock } = this.rig;
    const latencyMs = this.shape.latencies[indexOf(target.address)] ?? 0;
    if (behaviour.at === 'refuses') clock.after(latencyMs, () => stream.refuse());
    else if (behaviour.at === 'blocked' || (behaviour.at === 'connects slowly' && behaviour.ms > DIAL_MS))
      clock.after(DIAL_MS, () => stream.refuse('connect_timeout'));
    else clock.after(behaviour.at === 'connects slowly' ? behaviour.ms : latencyMs, () => stream.accept());
    return false;
  }

  /** A query over a stream. */
  private asked(target: DialTarget): Reaction {
    const { query } = this;
    const stream = this.streams.get(target);
    if (stream === undefined || this.mute.has(target)) return 'silence';
    const taken = (this.taken.get(target) ?? 0) + 1;
    this.taken.set(target, taken);
    const reaction = this.reaction(query, this.at(target), taken, stream);
    if (target.alpn === 'h2') {
      if (reaction === 'silence') this.mute.add(target);
      return reaction;
    }
    const latencyMs = this.shape.latencies[indexOf(target.address)] ?? 0;
    if (typeof reaction === 'string' || latencyMs === 0) return reaction;
    this.rig.clock.after(latencyMs, () => {
      stream.send(responseTo(query, reaction));
      if (reaction.closes === true) stream.finish();
    });
    return 'silence';
  }

  private reaction(query: Buffer, behaviour: Behaviour, taken: number, stream: FakeStream): Reaction {
    const name = nameOf(query);
    const isHttps = stream.target.alpn === 'h2';
    if (name.startsWith('dead') && !isHttps) return 'silence';
    switch (behaviour.at) {
      case 'silent':
      case 'blocked':
        return 'silence';
      case 'hangs up':
        return name.startsWith('hang') ? 'close' : NOERROR;
      case 'keepalive 0':
        return { ...NOERROR, options: [KEEPALIVE_0] };
      case 'truncates':
        return { flags: FLAG.TC };
      case 'slow':
        if (isHttps) return NOERROR;
        this.rig.clock.after(behaviour.ms, () => stream.send(responseTo(query, NOERROR)));
        return 'silence';
      case 'closes after':
        // It reads no more than it answers.
        return taken > behaviour.answers ? 'silence' : { ...NOERROR, closes: taken === behaviour.answers };
      case 'fails':
        return { rcode: 2 };
      case 'blames EDNS':
        return hasEdns(query) ? { rcode: 1, edns: false } : NOERROR;
      case 'fails without question':
        return { rcode: 2, question: false };
      case 'wrong ids': {
        const other = Buffer.from(query);
        other[0] = (other[0] ?? 0) ^ 255;
        if (!isHttps) stream.send(responseTo(other, NOERROR));
        return 'silence';
      }
      case 'trickles': {
        if (isHttps) return NOERROR;
        const octets = framed(responseTo(query, NOERROR));
        const trickle = (at: number): void => {
          stream.trickle(octets.subarray(at, at + 3));
          if (at + 3 < octets.length && !stream.closed) this.rig.clock.after(250, () => trickle(at + 3));
        };
        trickle(0);
        return 'silence';
      }
      case 'half':
        return name.length % 2 === 1 || isHttps ? NOERROR : 'silence';
      case 'answers':
      case 'refuses':
      case 'connects slowly':
        return NOERROR;
    }
  }

  /** A query over UDP. */
  private async datagram(name: string, address: string, query: Buffer): Promise<ResponseParts | undefined> {
    if (address === BOOTSTRAP) {
      const n = Number(/^s(\d)/.exec(name)?.[1]);
      return { answers: `s${n}.example. 60 A ${addressOf(2 * n)}` };
    }
    const label = nameOf(query);
    this.count(label);
    const behaviour = this.behaviour[indexOf(address)] ?? { at: 'answers' };
    if (label.startsWith('dead')) return undefined;
    switch (behaviour.at) {
      case 'answers':
      case 'connects slowly':
      case 'keepalive 0':
      case 'closes after':
      case 'hangs up':
        return NOERROR;
      case 'truncates':
        return { flags: FLAG.TC };
      case 'fails':
        return { rcode: 2 };
      case 'blames EDNS':
        return hasEdns(query) ? { rcode: 1, edns: false } : NOERROR;
      case 'fails without question':
        return { rcode: 2, question: false };
      case 'slow':
      case 'silent':
      case 'refuses':
      case 'blocked':
      case 'wrong ids':
      case 'trickles':
      case 'half':
        await new Promise<void>(resolve => this.rig.clock.after(1000, resolve));
        return undefined;
    }
  }
}

/** How many runs of each kind. */
const RUNS = 50;

await t.test('whatever happens: one outcome for each question, in time, and nothing is left behind', async t => {
  const more = [
    { arbitrary: behaves as fc.Arbitrary<Step>, weight: 2 },
    { arbitrary: events, weight: 2 },
  ];
  await fc.assert(
    fc.asyncProperty(
      shapes,
      modes,
      policies,
      stepsOf(...more),
      fc.constantFrom('close' as const, 'destroy' as const, 'idle' as const),
      async (shape, mode, policy, steps, end) => {
        const world = new World(shape, mode, policy);
        const { tested, clock, network } = world.rig;
        for (const each of steps) await world.step(each);
        if (end === 'close') tested.close();
        if (end === 'destroy') tested.destroy();
        const [streams, datagrams] = [network.streams.length, network.datagrams.length];
        await world.settle();
        if (world.mostStreams > MOST_STREAMS) throw new Error(`${world.mostStreams} streams to one port`);
        const most = Math.max(0, ...[...world.sends].flatMap(([name, count]) => (name === '' ? [] : [count])));
        const wakes = 1 + steps.filter(({ at }) => ['network', 'resume', 'configure'].includes(at)).length;
        if (most > 64 * wakes) throw new Error(`a question was sent ${most} times`);
        // Searches for addresses that failed are repeated.
        await clock.advance(600_000);
        if (clock.pending > 0) throw new Error(`${clock.pending} timers run`);
        const open = network.streams.filter(({ closed }) => !closed);
        if (open.length > 0) throw new Error(`${open.length} streams are open`);
        if (end === 'idle') return;
        if (network.streams.length > streams) throw new Error('dialled after the end');
        if (network.datagrams.length > datagrams) throw new Error('sent after the end');
      },
    ),
    { numRuns: RUNS },
  );
  t.end();
});

await t.test('one address always answers: so does every question in strict mode', async t => {
  await fc.assert(
    fc.asyncProperty(
      shapes,
      policies,
      fc.nat({ max: 3 }),
      stepsOf({ arbitrary: behaves, weight: 2 }),
      async (shape, policy, place, steps) => {
        // One server, of perhaps two addresses, does anything. With more, a question may use up its sends.
        const bad = place % shape.addresses.length;
        const isBad = (address: number): boolean => shape.addresses.length > 1 && address >> 1 === bad;
        const first = shape.first.map((each, i): Behaviour => (isBad(i) ? each : { at: 'answers' }));
        const world = new World({ ...shape, first }, 'strict', policy);
        world.rig.tested.prepare();
        await world.rig.clock.advance(5000);
        for (const each of steps) {
          // Names that make a server hang up may use up the sends of others in flight there (hang-ups.test.ts).
          if (each.at === 'ask' && each.kind === 'hang') continue;
          if (each.at !== 'behave' || isBad(each.address)) await world.step(each);
        }
        await world.settle();
        const lost = world.questions.filter(
          ({ name, asked }) =>
            name.startsWith('n') && (asked.outcome?.at !== 'reply' || asked.outcome.scan.rcode !== 0),
        );
        if (lost.length > 0)
          throw new Error(`lost: ${lost.map(each => `${each.name} ${wordOf(each.asked) ?? ''}`).join(', ')}`);
      },
    ),
    { numRuns: RUNS },
  );
  t.end();
});

await t.test('where all servers answer, no question is sent twice, over few connections', async t => {
  await fc.assert(
    fc.asyncProperty(shapes, modes, policies, stepsOf(), async (shape, mode, policy, steps) => {
      const addresses = shape.addresses.map(count => Math.max(1, count));
      const world = new World({ ...shape, addresses, first: [] }, mode, policy);
      world.rig.tested.prepare();
      await world.rig.clock.advance(1000);
      for (const each of steps) await world.step(each);
      await world.settle();
      for (const { name, asked } of world.questions) {
        const sends = world.sends.get(name) ?? 0;
        if (!name.startsWith('dead') && (asked.outcome?.at !== 'reply' || sends !== 1))
          throw new Error(`${name}: ${wordOf(asked) ?? ''}, sent ${sends} times`);
        if (sends > 6) throw new Error(`${name}: sent ${sends} times`);
      }
      if (world.mostStreams > 4) throw new Error(`${world.mostStreams} streams`);
    }),
    { numRuns: RUNS },
  );
  t.end();
});
