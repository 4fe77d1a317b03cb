// Ready replies for the front: FastQuery reads the messages, PacketCache keeps the octets.

import type { AgeSec } from '../base/time.js';
import { Beginnings } from '../base/octets.js';
import type { ReadyReplies, ReadyReply } from '../front/ready-replies.js';
import { paddedCopy, PADDING_BLOCK, UDP_PAYLOAD_BYTES } from '../wire/edns.js';
import type { ClientQuery } from '../wire/query.js';
import { FastQuery } from './fast-query.js';
import { type PacketCache, room } from './packet-cache.js';

/**
 * The only writer of a packet cache. On the main thread it answers queries that front threads do not handle: TCP and
 * TLS.
 */
export class PacketReplies implements ReadyReplies {
  /** The message that was read last. */
  private readonly current = new FastQuery();
  /** For the key of a reply to be stored: by then, another message was read last. */
  private readonly answered = new FastQuery();
  private readonly out = room(UDP_PAYLOAD_BYTES + 4);
  private readonly lent = new Beginnings(this.out.octets);

  /**
   * @param wallSec seconds since 1970, as of the last call of `ageNow`
   */
  constructor(
    private readonly packets: PacketCache,
    private readonly ageNow: () => AgeSec,
    private readonly wallSec: () => number,
  ) {}

  read(octets: Buffer, stream: boolean, clientClass: number, from = 0, to = octets.length): boolean {
    if (!this.current.read(octets, from, to - from, stream)) return false;
    this.current.ofClass(clientClass);
    return true;
  }

  get epoch(): number {
    return this.packets.epoch;
  }

  get type(): number {
    return this.current.type;
  }

  query(message: Buffer): ClientQuery {
    return this.current.query(message);
  }

  find(octets: Buffer, stream: boolean, pads: boolean, from = 0): Buffer | undefined {
    const { packets, current, out } = this;
    const ageNow = this.ageNow();
    if (!packets.holdsAt(this.wallSec()) || !packets.find(current, ageNow)) return undefined;
    const { replyBytes } = packets;
    if (!stream && replyBytes > current.udpLimitBytes) return undefined;
    const mustPad = pads && current.isPadded;
    if (mustPad && !packets.canBePadded) return undefined;
    if (!packets.copyTo(out, 0, octets, from, current.questionBytes, ageNow)) return undefined;
    const reply = this.lent.of(replyBytes);
    return mustPad ? paddedCopy(reply, PADDING_BLOCK.response) : reply;
  }

  get negative(): boolean {
    return this.packets.negative;
  }

  keep(query: ClientQuery, clientClass: number, ready: ReadyReply): void {
    this.answered.recall(query, clientClass);
    this.packets.put(this.answered, ready);
  }
}
