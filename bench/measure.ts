// Loads and measures a server: dnsperf runs on one core and the server on the other. CPU time is the kernel's account of the
// whole process.

import { execFile, spawn } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';

import { program } from '../test/fixtures/servers.js';

/** The CPU for the server under test, and the one for everything else. */
export const SERVER_CPU = '0';
export const LOAD_CPU = '1';

/** Pins a process with all its threads to a CPU. */
export async function pin(pid: number, cpu: string): Promise<void> {
  await new Promise(resolve =>
    spawn('taskset', ['-a', '-p', '-c', cpu, String(pid)], { stdio: 'ignore' }).once('close', resolve),
  );
}

/** The CPU time of a process, all threads, in microseconds. */
export function cpuMicroseconds(pid: number): number {
  // Nanoseconds per thread if the kernel has them, else ticks of 10 ms for the process.
  try {
    return readdirSync(`/proc/${pid}/task`).reduce(
      (sum, thread) => sum + Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'utf8').split(' ')[0]) / 1000,
      0,
    );
  } catch {
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
      .replace(/^.*\) /, '')
      .split(' ');
    return (Number(fields[11]) + Number(fields[12])) * 10_000;
  }
}

/** The server to load, and the queries. */
export interface Target {
  readonly port: number;
  readonly pid: number;
}

/** The result of one run of dnsperf. */
export interface Load {
  readonly sent: number;
  readonly lost: number;
  /** Replies that were not NOERROR. */
  readonly failed: number;
  readonly perSecond: number;
  readonly cpuMicrosecondsPerQuery: number;
  /** Seconds, sorted; only with `verbose`. */
  readonly latencies: readonly number[];
}

/** How dnsperf sends. */
export interface LoadOptions {
  /** How many times the file is sent. */
  readonly times?: number;
  /** The most queries that wait for an answer at one time. */
  readonly outstanding?: number;
  readonly tcp?: boolean;
  readonly clients?: number;
  /** The most queries per second. */
  readonly perSecond?: number;
  /** For how many seconds to send, instead of `times`. */
  readonly forSeconds?: number;
  /** Whether to set DO. */
  readonly dnssec?: boolean;
  /** Lets it run on all CPUs. */
  readonly anywhere?: boolean;
  /** Records the latency of every query. This costs CPU time of dnsperf, so use it only with a bounded rate. */
  readonly verbose?: boolean;
}

/** Sends the queries of a file. */
export async function load({ port, pid }: Target, names: string, options: LoadOptions = {}): Promise<Load> {
  const {
    times = 1,
    outstanding = 200,
    tcp = false,
    clients,
    perSecond,
    forSeconds,
    dnssec = false,
    anywhere = false,
    verbose = false,
  } = options;
  const before = cpuMicroseconds(pid);
  const out = await new Promise<string>((resolve, reject) => {
    execFile(
      'taskset',
      [
        '-c',
        anywhere ? `${SERVER_CPU},${LOAD_CPU}` : LOAD_CPU,
        program('dnsperf') ?? 'dnsperf',
        '-s',
        '127.0.0.1',
        '-p',
        String(port),
        '-d',
        names,
        '-q',
        String(outstanding),
        ...(forSeconds === undefined ? ['-n', String(times)] : ['-l', String(forSeconds)]),
        ...(tcp ? ['-m', 'tcp'] : []),
        ...(clients === undefined ? [] : ['-c', String(clients)]),
        ...(perSecond === undefined ? [] : ['-Q', String(perSecond)]),
        ...(dnssec ? ['-D'] : []),
        ...(verbose ? ['-v'] : []),
      ],
      { maxBuffer: 1 << 28 },
      (error, stdout) => (error === null ? resolve(stdout) : reject(new Error('dnsperf failed', { cause: error }))),
    );
  });
  const used = cpuMicroseconds(pid) - before;
  const number = (pattern: RegExp): number => Number(pattern.exec(out)?.[1] ?? 0);
  const sent = number(/Queries sent:\s+(\d+)/);
  const lost = number(/Queries lost:\s+(\d+)/);
  return {
    sent,
    lost,
    failed: sent - lost - number(/NOERROR (\d+) \(/),
    perSecond: number(/Queries per second:\s+([\d.]+)/),
    cpuMicrosecondsPerQuery: used / sent,
    latencies: [...out.matchAll(/^> \S+ \S+ \S+ ([\d.]+)$/gm)]
      .map(([, seconds]) => Number(seconds))
      .sort((a, b) => a - b),
  };
}

/** The middle value. */
export const median = (values: readonly number[]): number =>
  quantile(
    [...values].sort((a, b) => a - b),
    0.5,
  );

/** The quantile `q` (0 to 1) of sorted values. */
export const quantile = (sorted: readonly number[], q: number): number =>
  sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))] ?? NaN;

/** Rows as aligned columns. */
export function table(rows: readonly (readonly string[])[]): string {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map(row => row[column]?.length ?? 0)));
  return rows
    .map(row =>
      row
        .map((cell, i) => (i === 0 ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0)))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}
