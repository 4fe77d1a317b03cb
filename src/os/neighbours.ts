// The neighbour table of the kernel: which addresses the devices of the local network have, by their hardware addresses
// (rtnetlink(7)). Where system calls are not available, /proc/self/net/arp has those of IPv4.

import { readFileSync, writeSync } from 'node:fs';

import { addressText } from '../base/address.js';
import { isSystemError } from '../base/system-error.js';
import { KERNEL_GROUP, KernelMessages, routeSocket } from './kernel-messages.js';
import type { Libc } from './libc.js';

/** An address of a device. */
export interface Neighbour {
  /** Its hardware address: six octets, hexadecimal, with colons, lower case. */
  readonly mac: string;
  /** Its IP address, without a zone. */
  readonly address: string;
}

/** struct nlmsghdr: length u32, type u16, flags u16, sequence u32, port u32. */
const HEADER_BYTES = 16;
/** struct ndmsg: family u8, three octets, interface i32, state u16, flags u8, type u8. */
const NDMSG_BYTES = 12;
const STATE_AT = 8;
/** struct rtattr: length u16, type u16. */
const ATTRIBUTE_BYTES = 4;
const ALIGNED = 4;
const RTM = { NEWNEIGH: 28, GETNEIGH: 30 } as const;
const NLMSG = { ERROR: 2, DONE: 3 } as const;
const NLM_F_REQUEST = 0x1;
const NLM_F_DUMP = 0x300;
const NDA = { DST: 1, LLADDR: 2 } as const;
/** NUD_INCOMPLETE, NUD_FAILED, NUD_NOARP: such an entry says nothing about a device. */
const NO_DEVICE = 0x01 | 0x20 | 0x40;
const MAC_BYTES = 6;
/** The kernel sends the table in pieces of at most 32 KiB. */
const PIECE_BYTES = 1 << 15;
/** The most pieces that are read: some 200,000 neighbours. */
const MOST_PIECES = 512;
/** How often the table is looked at if there are no messages, ms. */
const LOOK_MS = 5000;
const ARP_TABLE = '/proc/self/net/arp';
const ARP_COMPLETE = 0x2;

const aligned = (length: number): number => (length + ALIGNED - 1) & ~(ALIGNED - 1);

/** Tells that the neighbour table has changed, until it is closed. */
export class NeighbourWatch {
  private readonly messages: KernelMessages | undefined;
  private readonly timer: NodeJS.Timeout | undefined;

  /** @param changed called after each change, and perhaps without one */
  constructor(
    private readonly libc: Libc | undefined,
    changed: () => void,
  ) {
    this.messages = libc && KernelMessages.open(libc, KERNEL_GROUP.neighbours, changed);
    if (this.messages === undefined) this.timer = setInterval(changed, LOOK_MS).unref();
  }

  /** The table at present. */
  read(): readonly Neighbour[] {
    return (this.libc && tableOf(this.libc)) ?? arpTable();
  }

  /** Stops watching. */
  close(): void {
    clearInterval(this.timer);
    this.messages?.close();
  }
}

/** The whole table; undefined: the kernel does not tell it. */
function tableOf(libc: Libc): readonly Neighbour[] | undefined {
  const fd = routeSocket(libc, 0);
  if (fd < 0) return undefined;
  try {
    const request = Buffer.alloc(HEADER_BYTES + NDMSG_BYTES);
    request.writeUInt32LE(request.length, 0);
    request.writeUInt16LE(RTM.GETNEIGH, 4);
    request.writeUInt16LE(NLM_F_REQUEST | NLM_F_DUMP, 6);
    writeSync(fd, request);
    const all: Neighbour[] = [];
    const piece = Buffer.alloc(PIECE_BYTES);
    for (let i = 0; i < MOST_PIECES; i++) {
      // The kernel fills the next piece when one is read, so there is nothing to wait for.
      const length = libc.receive(fd, piece);
      if (length <= 0) return undefined;
      if (takeNeighbours(piece.subarray(0, length), all)) return all;
    }
    return all;
  } catch (error) {
    if (!isSystemError(error)) throw error;
    return undefined;
  } finally {
    libc.close(fd);
  }
}

/** Reads the messages of one piece into `all`. Returns whether it is the last one. */
export function takeNeighbours(piece: Buffer, all: Neighbour[]): boolean {
  for (let at = 0; at + HEADER_BYTES <= piece.length;) {
    const length = piece.readUInt32LE(at);
    const type = piece.readUInt16LE(at + 4);
    if (type === NLMSG.DONE || type === NLMSG.ERROR || length < HEADER_BYTES) return true;
    const message = piece.subarray(at + HEADER_BYTES, at + length);
    const found = type === RTM.NEWNEIGH ? neighbourIn(message) : undefined;
    if (found !== undefined) all.push(found);
    at += aligned(length);
  }
  return false;
}

function neighbourIn(message: Buffer): Neighbour | undefined {
  if (message.length < NDMSG_BYTES || (message.readUInt16LE(STATE_AT) & NO_DEVICE) !== 0) return undefined;
  let address: Buffer | undefined;
  let mac: Buffer | undefined;
  for (let at = NDMSG_BYTES; at + ATTRIBUTE_BYTES <= message.length;) {
    const length = message.readUInt16LE(at);
    if (length < ATTRIBUTE_BYTES) break;
    const value = message.subarray(at + ATTRIBUTE_BYTES, at + length);
    const type = message.readUInt16LE(at + 2);
    if (type === NDA.DST) address = value;
    else if (type === NDA.LLADDR) mac = value;
    at += aligned(length);
  }
  if (address === undefined || mac?.length !== MAC_BYTES) return undefined;
  if (address.length !== 4 && address.length !== 16) return undefined;
  return { mac: macText(mac), address: addressText(address, 0, address.length) };
}

const macText = (octets: Buffer): string => octets.toString('hex').replace(/..(?=.)/g, '$&:');

/** Lines such as `192.168.1.9 0x1 0x2 aa:bb:cc:dd:ee:ff * eth0`, after one with headings. */
function arpTable(): readonly Neighbour[] {
  try {
    return readFileSync(ARP_TABLE, 'latin1')
      .split('\n')
      .slice(1)
      .flatMap(line => {
        const [address, , flags, mac] = line.split(/\s+/);
        if (address === undefined || mac === undefined || (Number(flags) & ARP_COMPLETE) === 0) return [];
        return [{ mac: mac.toLowerCase(), address }];
      });
  } catch (error) {
    if (!isSystemError(error)) throw error;
    return [];
  }
}
