// The listeners: UDP, TCP, DNS over TLS and DNS over HTTPS, at the addresses of the plan, or at sockets that are open already.

import { setTimeout as sleep } from 'node:timers/promises';

import { isAnyAddress, isLoopback } from '../base/address.js';
import type { FrontCounts } from '../base/front-counts.js';
import type { Observer, Transport } from '../base/observer.js';
import type { Overview } from '../base/overview.js';
import type { Clock, Log } from '../base/ports.js';
import { type AgeSec, monoAfter, type MonoMs } from '../base/time.js';
import { type DatagramHost, openDatagramHost, threadsNeeded } from '../fastpath/datagram-host.js';
import { fullWildcards, isOutdated } from '../fastpath/places.js';
import type { FrontWorkers } from '../fastpath/threads.js';
import type { Front } from '../front/front.js';
import { Memory } from '../listen/memory.js';
import { nodeStreams } from '../listen/node-streams.js';
import { SessionTable, type StreamTransport } from '../listen/sessions.js';
import {
  framedProtocol,
  type ListenerParts,
  streamListener,
  type StreamProtocol,
  tcpListener,
} from '../listen/stream.js';
import { Turns } from '../listen/turns.js';
import type { PassedSocket, PassedSockets } from '../os/activation.js';
import { systemClock } from '../os/clock.js';
import type { Libc } from '../os/libc.js';
import { type ListenAddress, listenText, withScope } from '../os/listen-address.js';
import { type Capacity, checkRoomFor } from './capacity.js';
import type { Clients } from './clients.js';
import { HttpsRules } from './https.js';
import { dependsOnMachine, type Follower, isServed } from './following.js';
import { type AddressesPlan, httpsPair, type ListenersPlan, type Plan } from './plan.js';
import type { CertificatePair } from './plan-files.js';
import type { Prepared } from './reload.js';
import { type TableBounds, THREAD_TRANSPORTS, type ThreadTransport } from './session-messages.js';
import type { SessionThreads } from './session-threads.js';
import { listening, StartError } from './start-error.js';
import { Streams } from './streams.js';
import { absentWords, fullWords, unopenedWords } from './unserved.js';

/** The parts that they are made from. */
export interface ListenersParts {
  readonly clock: Clock;
  readonly log: Log;
  readonly observer: Observer;
  readonly ageNow: () => AgeSec;
  readonly libc: Libc | undefined;
  readonly front: Front;
  readonly clients: Clients;
  /** The memory of the PacketCache. */
  readonly packets: SharedArrayBuffer;
  /** Used instead of the plan's addresses. */
  readonly sockets?: PassedSockets | undefined;
  /** Threads that were started ahead, for the first plan. */
  readonly workers: FrontWorkers;
  /** The threads of sessions over TLS and HTTPS; they were started ahead if the first plan needs them. */
  readonly sessionThreads: SessionThreads;
  /** The most sessions of clients over each transport. */
  readonly maxSessions: Capacity;
  /** Called when what they show or where they listen may be something else now. */
  readonly changed: () => void;
}

/** The addresses of a plan, replaced by sockets that are open already. */
interface Addresses {
  readonly udp: readonly ListenAddress[];
  readonly tcp: readonly ListenAddress[];
  readonly tls: readonly ListenAddress[];
  readonly https: readonly ListenAddress[];
}

/** The listeners. */
export class Listeners implements Follower {
  static readonly options = [
    'listen',
    'listen_tls.addresses',
    'listen_tls.certificate',
    'listen_tls.key',
    'listen_tls.announce',
    'listen_https.addresses',
    'listen_https.path',
    'listen_https.certificate',
    'listen_https.key',
    'listen_https.proxies',
    'front.threads',
    'front.io',
  ];
  readonly options = Listeners.options;
  private udp: DatagramHost | undefined;
  private udpText = '';
  /** The turns of all sessions of the main thread, and of what session threads hand over. */
  private readonly turns = new Turns();
  /** The plan that is prepared for, or was last. */
  private preparing: AddressesPlan | undefined;
  private readonly tcp: Streams;
  private readonly tls: Streams;
  private readonly https: Streams;
  private readonly httpsRules: HttpsRules;
  /** One transport must not take the sessions of another. */
  private readonly tables: Readonly<Record<StreamTransport, SessionTable>>;
  /** Hosts that were replaced, until their last reply has left. */
  private readonly retiring = new Set<DatagramHost>();
  /** The front threads of the plan in force. */
  private threads = 0;
  /** What hosts that are closed counted last. */
  private rest: FrontCounts[] = [];
  /** The first host, if it has less threads than the plan says. */
  private lacking: DatagramHost | undefined;
  /** Threads that were started ahead, until the first host takes them. */
  private workers: FrontWorkers | undefined;

  constructor(private readonly parts: ListenersParts) {
    const { front, observer, libc, clients, clock } = parts;
    this.workers = parts.workers;
    const table = (transport: StreamTransport) => new SessionTable({ observer, clock, ...this.bounds(transport) });
    this.tables = { tcp: table('tcp'), tls: table('tls'), https: table('https') };
    const mayAsk = (address: string) => clients.mayAsk(address);
    const sendsProxyHeader = (address: string) => clients.sendsProxyHeader(address);
    const { turns } = this;
    const streams = { turns, memory: new Memory(), front, observer, clock, mayAsk, sendsProxyHeader, libc };
    const overTcp = { ...streams, table: this.tables.tcp };
    const overTls = { ...streams, table: this.tables.tls };
    const rules = new HttpsRules(clients);
    this.httpsRules = rules;
    const overHttps = { ...streams, ...rules.forConnections, table: this.tables.https };
    this.tcp = new Streams('tcp', 'listen', () => tcpListener(overTcp));
    this.tls = this.secured('tls', 'listen_tls.addresses', overTls, () => framedProtocol('tls', overTls));
    this.https = this.secured('https', HTTPS_OPTION, overHttps, async () => rules.protocol(nodeStreams(libc), streams));
  }

  /** Sessions that are in a thread of their own if there is one. */
  private secured(
    transport: ThreadTransport,
    option: string,
    parts: ListenerParts,
    protocol: () => StreamProtocol | Promise<StreamProtocol>,
  ): Streams {
    return new Streams(
      transport,
      option,
      async credentials => streamListener(await protocol(), parts, credentials),
      async credentials =>
        (await this.opensThread(transport)) ? this.parts.sessionThreads[transport].listener(credentials) : undefined,
    );
  }

  /** Whether the listener of a transport is opened in its session thread, which then has its work. */
  private async opensThread(transport: ThreadTransport): Promise<boolean> {
    const { parts, preparing } = this;
    const { libc, sessionThreads, packets, clients } = parts;
    if (libc === undefined || preparing === undefined) return false;
    if (!Listeners.sessionThreadsFor(preparing, parts.sockets).includes(transport)) return false;
    const { path, proxies } = preparing.https;
    return sessionThreads[transport].open(
      { ...parts, libc, turns: this.turns },
      {
        packets,
        admission: clients.memory,
        table: this.bounds(transport),
        rules: { path, proxies },
        age: parts.ageNow(),
        at: systemClock.wallMs(),
      },
    );
  }

  /** The bounds of the table of sessions over a transport. */
  private bounds(transport: StreamTransport): TableBounds {
    const { [transport]: max, perClient } = this.parts.maxSessions;
    return { max, maxPerClient: mostPerClient(max, perClient) };
  }

  /** How many front threads a plan needs. */
  static threadsFor(plan: AddressesPlan, sockets: PassedSockets | undefined): number {
    return threadsNeeded({ addresses: addressesOf(plan, sockets).udp, io: plan.io, threads: plan.threads });
  }

  /** How many of them the first host needs: one without threads answers much earlier, and they take over its sockets. */
  static threadsAtStart(plan: AddressesPlan, sockets: PassedSockets | undefined): number {
    // On the main thread, a wildcard is bound in another way (fastpath/datagram-host).
    return addressesOf(plan, sockets).udp.some(({ address }) => isAnyAddress(address))
      ? Listeners.threadsFor(plan, sockets)
      : 0;
  }

  /** The session threads that a plan needs: with front threads, handshakes must not keep the main thread. */
  static sessionThreadsFor(plan: AddressesPlan, sockets: PassedSockets | undefined): readonly ThreadTransport[] {
    if (Listeners.threadsFor(plan, sockets) === 0) return [];
    const addresses = addressesOf(plan, sockets);
    return THREAD_TRANSPORTS.filter(each => addresses[each].length > 0);
  }

  /** Opens the first ones. */
  async start(plan: Plan): Promise<this> {
    const prepared = await this.prepare(plan);
    prepared.commit();
    await prepared.settled?.();
    return this;
  }

  /** Where they listen, for the overview: addresses that this machine does not have now are left out. */
  get listening(): Overview['listening'] {
    return this.byTransport.flatMap(({ transport, bound }) =>
      bound.filter(at => this.isServed(at)).map(({ address, port }) => ({ transport, address, port })),
    );
  }

  /** Whether the first host is still in force, and waits for its threads. */
  get lacksThreads(): boolean {
    return this.udp !== undefined && this.lacking === this.udp;
  }

  get trouble(): string | undefined {
    return this.lacksThreads ? 'front threads cannot take over, and UDP stays on the main thread' : undefined;
  }

  get follows(): boolean {
    return this.waits || this.byTransport.some(({ bound }) => bound.some(dependsOnMachine));
  }

  get waits(): boolean {
    return this.byTransport.some(({ unopened }) => unopened.length > 0);
  }

  get unserved(): readonly string[] {
    const sentences = this.byTransport.flatMap(({ transport, option, bound, unopened }) => [
      ...bound.filter(at => at.wildcard === undefined && !this.isServed(at)).map(at => absentWords(at, option)),
      ...unopened.map(each => unopenedWords(each, transport.toUpperCase(), option)),
    ]);
    const full = this.udp === undefined ? [] : fullWildcards(this.udp).map(fullWords);
    // Mostly the same for UDP and TCP.
    return [...new Set([...sentences, ...full])].filter(words => words !== undefined);
  }

  async isOutdated({ listeners: plan }: Plan): Promise<boolean> {
    const { udp, tcp, tls, https } = this.addresses(plan);
    if (this.tcp.isOutdated(tcp) || this.tls.isOutdated(tls) || this.https.isOutdated(https)) return true;
    return this.udp === undefined || this.lacksThreads || isOutdated(this.udp, udp, this.parts.libc);
  }

  /** Open sessions of clients, by transport. */
  get sessions(): Overview['sessions'] {
    const { tables, parts } = this;
    const { sessionThreads: threads } = parts;
    return {
      tcp: tables.tcp.open,
      tls: tables.tls.open + threads.tls.sessions,
      https: tables.https.open + threads.https.sessions,
    };
  }

  /** How long an idle session stays open now. */
  idleMs(transport: StreamTransport): number {
    const inThread = transport === 'tcp' ? undefined : this.parts.sessionThreads[transport].idleMs;
    return inThread ?? this.tables[transport].idleMs;
  }

  /** Queries that wait for an answer. */
  get inflight(): number {
    return this.parts.front.inflight;
  }

  /** What threads have counted since the last call. */
  counted(): readonly FrontCounts[] {
    const rest = this.rest;
    this.rest = [];
    return [...rest, ...(this.udp?.counted() ?? []), ...this.parts.sessionThreads.counted()];
  }

  async prepare({ listeners: plan }: Plan): Promise<Prepared> {
    const addresses = await listening('UDP', 'listen', () => this.addresses(plan));
    checkCertificates(plan, addresses);
    const { libc, log, maxSessions, sockets } = this.parts;
    const threads = libc === undefined ? 0 : Listeners.threadsFor(plan, sockets);
    const lack = this.udp && checkRoomFor(this.threads, threads, maxSessions);
    this.httpsRules.takeFirst(plan.https);
    this.preparing = plan;
    const streams = await this.prepareStreams(plan, addresses);
    const { udp } = addresses;
    const udpText = JSON.stringify([udp, plan.threads, plan.io]);
    const before = this.udp;
    const nextUdp = await this.nextUdp(plan, udp, udpText).catch(async (error: unknown) => {
      await abandonAll(streams);
      throw error;
    });
    return {
      commit: () => {
        const { path, proxies } = plan.https;
        this.httpsRules.take(plan.https);
        this.parts.sessionThreads.https.setRules({ path, proxies });
        for (const each of streams) each.commit();
        this.udp = nextUdp;
        this.udpText = udpText;
        this.threads = threads;
        if (lack !== undefined) log.warn(lack.fields, lack.words);
        if (before !== undefined && nextUdp !== before) this.retire(before);
        this.parts.changed();
      },
      settled: async () => {
        for (const each of streams) await each.settled?.();
        // Replies of meanwhile may say where session threads do not listen any more.
        this.parts.changed();
      },
      abandon: async () => {
        await abandonAll(streams);
        if (nextUdp !== before) this.retire(nextUdp);
      },
    };
  }

  private async prepareStreams(plan: ListenersPlan, { tcp, tls, https }: Addresses): Promise<readonly Prepared[]> {
    const prepared: Prepared[] = [];
    try {
      prepared.push(await this.tcp.prepare(tcp, undefined));
      prepared.push(await this.tls.prepare(tls, credentialsOf(plan.certificate)));
      prepared.push(await this.https.prepare(https, credentialsOf(httpsPair(plan))));
    } catch (error) {
      await abandonAll(prepared);
      throw error;
    }
    return prepared;
  }

  /**
   * Accepts nothing new, and waits some time for the queries in flight; those that take longer get the failure
   * `shutdown`. In sockets that were passed, all others wait for the next process meanwhile.
   */
  async finish(): Promise<void> {
    const { front, clock, sockets } = this.parts;
    await this.udp?.leave();
    front.stop();
    this.tcp.finish();
    this.tls.finish();
    this.https.finish();
    const now = clock.monotonicMs();
    if (sockets !== undefined) {
      await this.answered(monoAfter(now, FINISH_PASSED_MS));
      front.giveUp(({ transport }) => isPassedTransport(sockets, transport));
    }
    await this.answered(monoAfter(now, FINISH_MS));
    front.giveUp(() => true);
    await this.answered(monoAfter(clock.monotonicMs(), FINISH_PASSED_MS));
    // Replies of the last turn are still on their way to the sockets.
    await sleep(FINISH_LOOK_MS);
  }

  /** Waits until all queries are answered, and session threads have the replies. */
  private async answered(until: MonoMs): Promise<void> {
    const { front, clock, sessionThreads: threads } = this.parts;
    while (front.inflight + threads.waiting > 0 && clock.monotonicMs() < until) await sleep(FINISH_LOOK_MS);
  }

  /** Closes all. */
  async close(): Promise<void> {
    this.tcp.destroy();
    this.tls.destroy();
    this.https.destroy();
    await this.parts.sessionThreads.close();
    await Promise.all([...this.retiring].map(async each => each.close()));
    await this.udp?.close();
  }

  /** What is bound and what waits, by transport. */
  private get byTransport() {
    const none: readonly ListenAddress[] = [];
    return [
      { transport: 'udp', option: 'listen', bound: this.udp?.bound ?? none, unopened: this.udp?.unopened ?? [] },
      { transport: 'tcp', option: 'listen', bound: this.tcp.bound, unopened: this.tcp.unopened },
      { transport: 'tls', option: 'listen_tls.addresses', bound: this.tls.bound, unopened: this.tls.unopened },
      { transport: 'https', option: HTTPS_OPTION, bound: this.https.bound, unopened: this.https.unopened },
    ] as const;
  }

  private isServed(at: ListenAddress): boolean {
    const { libc } = this.parts;
    return libc === undefined || isServed(libc, at);
  }

  /** The addresses of a plan, with the present indexes of the interfaces that they name. */
  private addresses(plan: AddressesPlan): Addresses {
    const { libc, sockets } = this.parts;
    const { udp, tcp, tls, https } = addressesOf(plan, sockets);
    const placed = (all: readonly ListenAddress[]): readonly ListenAddress[] => all.map(at => withScope(at, libc));
    return { udp: placed(udp), tcp: placed(tcp), tls: placed(tls), https: placed(https) };
  }

  /** The host in force, or another one if it would serve something else. */
  private async nextUdp(plan: ListenersPlan, addresses: readonly ListenAddress[], text: string): Promise<DatagramHost> {
    const { udp } = this;
    const opening = async (): Promise<DatagramHost> => {
      const stays =
        udp !== undefined &&
        !this.lacksThreads &&
        text === this.udpText &&
        !(await isOutdated(udp, addresses, this.parts.libc));
      return stays ? udp : this.openUdp(plan, addresses);
    };
    return listening('UDP', 'listen', opening);
  }

  private async openUdp(plan: ListenersPlan, addresses: readonly ListenAddress[]): Promise<DatagramHost> {
    const { parts, workers } = this;
    this.workers = undefined;
    const isFirst = this.udp === undefined;
    const threads = isFirst ? Listeners.threadsAtStart(plan, parts.sockets) : plan.threads;
    const host = await openDatagramHost({
      ...parts,
      admission: parts.clients.memory,
      addresses,
      io: plan.io,
      threads,
      monotonicMs: () => parts.clock.monotonicMs(),
      wallSec: () => Math.floor(parts.clock.wallMs() / 1000),
      workers,
      replaces: this.udp,
    });
    const wanted = parts.libc === undefined ? threads : Listeners.threadsFor(plan, parts.sockets);
    if (isFirst && threads < wanted) this.lacking = host;
    return host;
  }

  /** Closes a host that is not needed any more, once it has answered what it has read. */
  private retire(host: DatagramHost): void {
    this.retiring.add(host);
    const closed = host.close(FINISH_MS).then(
      () => this.rest.push(...host.counted()),
      (error: unknown) => this.parts.log.error({}, `a UDP listener could not be closed: ${String(error)}`),
    );
    void closed.finally(() => this.retiring.delete(host));
  }
}

/** In any case all of them. */
async function abandonAll(prepared: readonly Prepared[]): Promise<void> {
  for (const each of prepared) await each.abandon();
}

/** One client must not take all sessions, however few there are. */
const mostPerClient = (max: number, wanted: number): number =>
  Math.max(1, Math.min(wanted === 0 ? max : wanted, max >> 1));

const HTTPS_OPTION = 'listen_https.addresses';

/** How long queries in flight are waited for at the end. */
const FINISH_MS = 5000;
/** The same where everybody else waits for the next process: one name that no server answers must not keep them. */
const FINISH_PASSED_MS = 200;
const FINISH_LOOK_MS = 5;

const NO_CERTIFICATE =
  'the socket unit has a socket for DNS over TLS: set listen_tls.certificate and listen_tls.key, or disable that socket';

const NO_HTTPS_CERTIFICATE =
  'the socket unit has a socket for DNS over HTTPS: set listen_https.certificate and listen_https.key, or listen_https.proxies, or disable that socket';

/** The check of the configuration does not see the sockets of the service manager. @throws StartError */
function checkCertificates(plan: ListenersPlan, { tls, https }: Addresses): void {
  if (tls.length > 0 && plan.certificate === undefined) throw new StartError(NO_CERTIFICATE, 2);
  const isCleartext = httpsPair(plan) === undefined && plan.https.proxies.length === 0;
  if (isCleartext && !https.every(({ address }) => isLoopback(address))) throw new StartError(NO_HTTPS_CERTIFICATE, 2);
}

const credentialsOf = (
  pair: CertificatePair | undefined,
): { readonly cert: Buffer; readonly key: Buffer } | undefined =>
  pair && { cert: pair.certificate.octets, key: pair.key.octets };

/** Sockets that are open already count in place of the addresses of a plan. */
function addressesOf(plan: AddressesPlan, sockets: PassedSockets | undefined): Addresses {
  const tls: readonly ListenAddress[] = taken(sockets?.tls, plan.tlsAddresses);
  const https: readonly ListenAddress[] = taken(sockets?.https, plan.https.addresses);
  if (sockets === undefined || sockets.udp.length + sockets.tcp.length === 0)
    return { udp: plan.addresses, tcp: plan.addresses, tls, https };
  const wildcard = sockets.udp.find(({ address }) => isAnyAddress(address));
  if (wildcard !== undefined && plan.io === 'dgram') {
    const why = 'where replies could leave from another address than was asked';
    const mend = 'name addresses there (ListenDatagram=), or leave front.io out';
    throw new StartError(
      `${listenText(wildcard)} (UDP) of the socket unit cannot be served with front.io dgram, ${why}: ${mend}`,
      2,
    );
  }
  return { udp: sockets.udp, tcp: sockets.tcp, tls, https };
}

/** Whether its sockets were passed: those of UDP and TCP only together replace addresses of the plan. */
const isPassedTransport = (sockets: PassedSockets, transport: Transport): boolean =>
  transport === 'udp' || transport === 'tcp'
    ? sockets.udp.length + sockets.tcp.length > 0
    : sockets[transport].length > 0;

const taken = (
  sockets: readonly PassedSocket[] | undefined,
  addresses: readonly ListenAddress[],
): readonly ListenAddress[] => (sockets === undefined || sockets.length === 0 ? addresses : sockets);
