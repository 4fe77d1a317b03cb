// How a server is loaded and measured: dnsperf on one core, the server on the other, CPU time from the kernel's
// accounting of the whole process.

import { execFile } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';

import { program } from '../test/fixtures/servers.js';

/** CPU that servers under test run on, and the one for everything else. */
export const SERVER_CPU = '0';
export const LOAD_CPU = '1';

/** CPU time of a process so far, all threads, in microseconds. */
export function cpuMicroseconds(pid: number): number {
  // Nanoseconds per thread where the kernel gives them, else ticks of 10 ms for the process.
  try {
    return readdirSync(`/proc/${pid}/task`).reduce((sum, thread) =>
      sum + Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'utf8').split(' ')[0]) / 1000, 0);
  } catch {
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').replace(/^.*\) /, '').split(' ');
    return (Number(fields[11]) + Number(fields[12])) * 10_000;
  }
}

/** Resident memory of a process, in bytes. */
export const residentBytes = (pid: number): number =>
  Number(/^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) * 1024;

/** What one run of dnsperf over a file of names found. */
export interface Load {
  readonly sent: number;
  readonly lost: number;
  readonly failed: number;
  readonly perSecond: number;
  readonly cpuMicrosecondsPerQuery: number;
}

/** Sends every line of `names` once, `outstanding` at a time, to a server whose process is `pid`. */
export async function load(port: number, pid: number, names: string, outstanding: number, extra: readonly string[] = []): Promise<Load> {
  const before = cpuMicroseconds(pid);
  const out = await new Promise<string>((resolve, reject) => {
    execFile('taskset', ['-c', LOAD_CPU, program('dnsperf') ?? 'dnsperf', '-s', '127.0.0.1', '-p', String(port), '-d', names, '-n', '1', '-q', String(outstanding), ...extra],
      { maxBuffer: 1 << 24 }, (error, stdout) => (error === null ? resolve(stdout) : reject(new Error('dnsperf failed', { cause: error }))));
  });
  const used = cpuMicroseconds(pid) - before;
  const number = (pattern: RegExp): number => Number(pattern.exec(out)?.[1] ?? 0);
  const sent = number(/Queries sent:\s+(\d+)/);
  return {
    sent,
    lost: number(/Queries lost:\s+(\d+)/),
    failed: sent - number(/Queries lost:\s+(\d+)/) - number(/NOERROR (\d+)/),
    perSecond: number(/Queries per second:\s+([\d.]+)/),
    cpuMicrosecondsPerQuery: used / sent,
  };
}

/** The middle value. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? NaN;
}

/** Rows as aligned columns. */
export function table(rows: readonly (readonly string[])[]): string {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map(row => row[column]?.length ?? 0)));
  return rows.map(row => row.map((cell, i) => (i === 0 ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0))).join('  ')).join('\n');
}
