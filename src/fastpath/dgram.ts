// UDP listeners over node:dgram.

import { createSocket, type Socket } from 'node:dgram';
import { isIPv6 } from 'node:net';

import type { Observer } from '../base/observer.js';
import type { Front } from '../front/front.js';
import { expand, isWildcard, type ListenAddress, listenText } from '../os/listen-address.js';

/** Open UDP sockets. */
export interface UdpListener {
  /** Where it really listens (port 0 in the configuration means any). */
  readonly bound: readonly ListenAddress[];
  close(): void;
}

/** How often wildcard listeners look for addresses that came or went. */
const RESCAN_MS = 5000;
// Room for bursts of a household; the kernel cuts it to net.core.rmem_max.
const SOCKET_BUFFER_BYTES = 1 << 20;

/**
 * Binds every address.
 * @param onTrouble told when an address that came later can not be bound, or a socket reports an error
 * @throws the system's error, if an address of the configuration itself can not be bound
 */
export async function listenUdp(
  addresses: readonly ListenAddress[],
  front: Front,
  observer: Observer,
  onTrouble: (address: ListenAddress, error: Error) => void,
): Promise<UdpListener> {
  const sockets = new Map<string, { readonly socket: Socket; readonly at: ListenAddress }>();
  let closed = false;

  async function open(at: ListenAddress): Promise<void> {
    const socket = createSocket({
      type: isIPv6(at.address) ? 'udp6' : 'udp4',
      ipv6Only: isIPv6(at.address),
      recvBufferSize: SOCKET_BUFFER_BYTES,
      sendBufferSize: SOCKET_BUFFER_BYTES,
    });
    await new Promise<void>((resolve, reject) => {
      socket.once('error', reject);
      const bound = (): void => {
        socket.off('error', reject);
        resolve();
      };
      if (at.fd !== undefined) socket.bind({ fd: at.fd }, bound);
      else socket.bind(at.port, at.address, bound);
    });
    const port = socket.address().port;
    const family = isIPv6(at.address) ? 6 : 4;
    sockets.set(listenText(at), { socket, at: { address: at.address, port } });
    // What the kernel reports on a bound socket concerns one datagram, or passes (an interface that is down): the
    // socket stays.
    socket.on('error', error => onTrouble(at, error));
    socket.on('message', (message, from) => {
      // Nobody can receive at port 0; and our own address as the source would be a loop.
      if (from.port === 0 || (from.port === port && from.address === at.address))
        return observer.dropped('source_port');
      front.handle(message, { address: from.address, port: from.port, family, transport: 'udp' }, reply => {
        // A client that has gone is no news; what the kernel has no room for is lost as any datagram may be.
        if (!closed) socket.send(reply, from.port, from.address, () => undefined);
      });
    });
  }

  function closeAll(): void {
    closed = true;
    clearInterval(rescan);
    for (const { socket } of sockets.values()) socket.close();
    sockets.clear();
  }

  async function follow(): Promise<void> {
    const wanted = addresses.filter(({ address }) => isWildcard(address)).flatMap(expand);
    const wantedTexts = new Set(
      [...addresses.filter(({ address }) => !isWildcard(address)), ...wanted].map(listenText),
    );
    for (const [text, { socket }] of sockets) {
      if (wantedTexts.has(text)) continue;
      sockets.delete(text);
      socket.close();
    }
    for (const at of wanted) {
      if (closed || sockets.has(listenText(at))) continue;
      try {
        await open(at);
      } catch (error) {
        onTrouble(at, error instanceof Error ? error : new Error(String(error)));
      }
    }
  }

  const rescan = addresses.some(({ address }) => isWildcard(address))
    ? setInterval(() => void follow(), RESCAN_MS).unref()
    : undefined;
  try {
    for (const at of addresses.flatMap(expand)) await open(at);
  } catch (error) {
    closeAll();
    throw error;
  }
  return {
    get bound() {
      return [...sockets.values()].map(({ at }) => at);
    },
    close: closeAll,
  };
}
