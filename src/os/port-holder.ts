// Which program has a port.

import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';

/** A program with an open port. */
export interface PortHolder {
  readonly pid: number;
  /** Its name, as the kernel knows it. */
  readonly name: string;
  /** The unit of systemd that it belongs to; undefined: none is known. */
  readonly unit: string | undefined;
}

/** A socket that listens, as /proc/net shows it (proc(5)). */
interface Listening {
  readonly address: string;
  readonly inode: string;
}

/** TCP_LISTEN; sockets for UDP that are not connected have 07. */
const LISTENS: Readonly<Record<string, string>> = { udp: '07', udp6: '07', tcp: '0A', tcp6: '0A' };

/**
 * The addresses that the kernel's tables show, in the form that these have: words of 32 bits in the order of the
 * machine. All zeros stand for all addresses.
 */
const LOOPBACK: readonly string[] = ['0100007F', '00000000000000000000000001000000'];

/**
 * The programs that have `port` on 127.0.0.1 or ::1, or on all addresses. It takes root to see those of other users.
 * @returns undefined: no program has it
 */
export function loopbackHolders(port: number): readonly PortHolder[] | undefined {
  const taken = Object.entries(LISTENS).flatMap(([table, state]) =>
    listening(textOf(`/proc/self/net/${table}`), port, state).filter(
      ({ address }) => /^0+$/.test(address) || LOOPBACK.includes(address),
    ),
  );
  if (taken.length === 0) return undefined;
  const inodes = new Set(taken.map(({ inode }) => inode));
  return processes().flatMap(pid => (hasSocket(pid, inodes) ? [holder(pid)] : []));
}

/** The sockets of a table that listen on `port`. */
export function listening(table: string, port: number, state: string): Listening[] {
  const wanted = `:${port.toString(16).toUpperCase().padStart(4, '0')}`;
  return table
    .split('\n')
    .map(line => line.trim().split(/\s+/))
    .filter(([, local = '', , is]) => local.endsWith(wanted) && is === state)
    .map(([, local = '', , , , , , , , inode = '']) => ({ address: local.slice(0, -wanted.length), inode }));
}

const processes = (): number[] =>
  readdirSync('/proc')
    .map(Number)
    .filter(pid => Number.isInteger(pid) && pid > 0);

function hasSocket(pid: number, inodes: ReadonlySet<string>): boolean {
  const directory = join('/proc', String(pid), 'fd');
  try {
    return readdirSync(directory).some(fd =>
      inodes.has(/^socket:\[(\d+)\]$/.exec(readlinkSync(join(directory, fd)))?.[1] ?? ''),
    );
  } catch {
    // It has ended, or is not ours to look at.
    return false;
  }
}

function holder(pid: number): PortHolder {
  const of = (file: string): string => textOf(join('/proc', String(pid), file));
  return { pid, name: of('comm').trim(), unit: /\/([^/\n]+\.service)$/m.exec(of('cgroup'))?.[1] };
}

/** Empty: it cannot be read. */
function textOf(file: string): string {
  try {
    return readFileSync(file, 'latin1');
  } catch {
    return '';
  }
}
