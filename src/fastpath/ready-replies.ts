// Ready replies for the front: FastQuery reads the messages, PacketCache keeps the octets.

import type { AgeSec } from '../base/time.js';
import type { ReadyReplies, ReadyReply } from '../front/ready-replies.js';
import { UDP_PAYLOAD_BYTES } from '../wire/edns.js';
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

  constructor(
    private readonly packets: PacketCache,
    private readonly ageNow: () => AgeSec,
  ) {}

  read(message: Buffer, stream: boolean): boolean {
    return this.current.read(message, 0, message.length, stream);
  }

  get type(): number {
    return this.current.type;
  }

  query(message: Buffer): ClientQuery {
    return this.current.query(message);
  }

  find(message: Buffer, stream: boolean): Buffer | undefined {
    const { packets, current, out } = this;
    const ageNow = this.ageNow();
    if (!packets.find(current, ageNow)) return undefined;
    const { replyBytes } = packets;
    if (!stream && replyBytes > current.udpLimitBytes) return undefined;
    if (!packets.copyTo(out, 0, message, 0, current.questionBytes, ageNow)) return undefined;
    return Buffer.from(out.octets.subarray(0, replyBytes));
  }

  get epoch(): number {
    return this.packets.epoch;
  }

  get negative(): boolean {
    return this.packets.negative;
  }

  keep(query: ClientQuery, ready: ReadyReply): void {
    this.answered.recall(query);
    this.packets.put(this.answered, ready);
  }
}
