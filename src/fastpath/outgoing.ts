// Replies from the main thread to clients whose queries came in batches. They are collected and sent in batches, too.

import { setTimeout as sleep } from 'node:timers/promises';

import { u16At } from '../base/octets.js';
import { AddressTexts, isAnyAddress, type OwnPlace } from '../base/address.js';
import type { Observer } from '../base/observer.js';
import type { Front } from '../front/front.js';
import { BATCH, destinationOf, Messages, ROUTE_NAME_AT } from '../os/datagrams.js';
import { Egress } from '../os/egress.js';
import { type Libc, LINUX } from '../os/libc.js';
import type { Client } from '../pipeline/query.js';
import { UDP_PAYLOAD_BYTES } from '../wire/edns.js';
import { Routes } from './routes.js';

/** How often a closing host checks whether all replies have left. */
const LOOK_MS = 5;

const NO_SOCKET = { fd: -1, at: { address: '', port: 0 } };

/**
 * The client that a route leads to.
 * @param at where the socket is bound
 * @param texts of addresses that have been met
 */
function clientOf(route: Buffer, at: OwnPlace, libc: Libc, texts: AddressTexts): Client {
  const six = route[ROUTE_NAME_AT] === LINUX.AF_INET6;
  const { port } = at;
  return {
    address: texts.of(route, ROUTE_NAME_AT + (six ? 8 : 4), six ? 16 : 4),
    port: u16At(route, ROUTE_NAME_AT + 2),
    family: six ? 6 : 4,
    transport: 'udp',
    at: isAnyAddress(at.address) ? { address: destinationOf(route, libc) ?? at.address, port } : at,
  };
}

/** Waits until `isDone`, for `graceMs` at most. */
export async function waitUntil(isDone: () => boolean, graceMs: number): Promise<void> {
  for (let waitedMs = 0; waitedMs < graceMs && !isDone(); waitedMs += LOOK_MS) await sleep(LOOK_MS);
}

/** Collects the replies of one turn of the event loop, and sends them in one call per socket. */
export class Outgoing {
  /** The routes of queries that wait. */
  readonly routes = new Routes();
  private readonly messages: Messages;
  private readonly texts = new AddressTexts();
  private readonly egress: Egress;
  /** How many replies leave at the next flush, */
  private filled = 0;
  /** and through which socket. */
  private fd = -1;
  /** Whether a flush is scheduled. */
  private scheduled = false;
  /** Queries that the front has taken and not yet answered. */
  pending = 0;
  /** The descriptors belong to another host now. */
  private closed = false;

  constructor(
    private readonly libc: Libc,
    private readonly front: Front,
    private readonly observer: Observer,
  ) {
    this.egress = new Egress(libc);
    this.messages = new Messages(libc, (UDP_PAYLOAD_BYTES + 3) & ~3);
  }

  /**
   * Answers a datagram that no ready reply answers; the reply leaves through the socket that it came to.
   * @param route of `routes`, to which it is given back
   */
  answer(socket: { readonly fd: number; readonly at: OwnPlace } | undefined, route: Buffer, message: Buffer): void {
    const { fd, at } = socket ?? NO_SOCKET;
    let waits = false;
    waits = this.front.handle(
      message,
      clientOf(route, at, this.libc, this.texts),
      reply => {
        if (waits) this.pending--;
        if (reply !== undefined) this.add(fd, route, reply);
        this.routes.give(route);
      },
      true,
    );
    if (waits) this.pending++;
  }

  /** Sends a reply soon. */
  add(fd: number, route: Buffer, reply: Buffer): void {
    if (this.closed) return;
    if (this.filled === BATCH || fd !== this.fd) this.send();
    this.fd = fd;
    this.messages.fill(this.filled++, route, reply);
    if (this.scheduled) return;
    this.scheduled = true;
    setImmediate(this.flush);
  }

  /** Sends nothing more through `fd`, which is about to be closed. */
  forget(fd: number): void {
    if (fd === this.fd) this.filled = 0;
    this.egress.forget(fd);
  }

  /** Waits for outstanding replies; nothing is sent after that. */
  async close(graceMs: number): Promise<void> {
    this.flush();
    await waitUntil(() => this.pending === 0 && this.filled === 0, graceMs);
    this.closed = true;
    this.filled = 0;
    this.egress.close();
  }

  /** Sends the waiting replies now. None stays behind: those that a socket has no room for are lost, and counted. */
  readonly flush = (): void => {
    this.scheduled = false;
    this.send();
  };

  private send(): void {
    const { fd, filled } = this;
    if (filled === 0) return;
    this.filled = 0;
    const lost = this.egress.send(fd, this.messages, filled);
    for (let i = 0; i < lost; i++) this.observer.dropped('socket_full');
  }
}
