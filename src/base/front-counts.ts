// Counters of the threads that answer from ready replies, as numbers in memory that the main thread reads. Each memory
// has one writer. A reader may miss the latest query, which does not matter for metrics.

import { STREAM_DROPS, type StreamDrop, type Transport } from './observer.js';

/** Upper bounds in octets of the buckets for the sizes of queries and replies. One more bucket is for larger ones. */
export const SIZE_BUCKETS: readonly number[] = [64, 128, 256, 512, 1232, 4096, 16384, 65535];
/** Upper bounds in seconds of the buckets for durations, 0.25 ms to 8.2 s. One more bucket is for longer ones. */
export const DURATION_BUCKETS: readonly number[] = Array.from({ length: 16 }, (_, i) => 0.00025 * 2 ** i);

/** Types up to 255 have a counter each; one more is for all other types. */
const TYPES = 257;
const RCODES = 16;
// The offsets of counters and histograms. A histogram has a number for each bound, one for the last bucket, and the
// sum.
const QUERIES_AT = 0;
const RCODES_AT = 2 * TYPES;
const POSITIVE_AT = RCODES_AT + RCODES;
const NEGATIVE_AT = POSITIVE_AT + 1;
const REQUESTS_AT = NEGATIVE_AT + 1;
const RESPONSES_AT = REQUESTS_AT + SIZE_BUCKETS.length + 2;
const DURATIONS_AT = RESPONSES_AT + SIZE_BUCKETS.length + 2;
const DROPPED_AT = DURATIONS_AT + DURATION_BUCKETS.length + 2;
const UNSENT_AT = DROPPED_AT + 1;
const LIMITED_AT = UNSENT_AT + 1;
const TRUNCATED_AT = LIMITED_AT + 1;
const UNPROVEN_AT = TRUNCATED_AT + 1;
const FOREIGN_AT = UNPROVEN_AT + 1;
const CLOSED_AT = FOREIGN_AT + 1;
const LENGTH = CLOSED_AT + STREAM_DROPS.length;

/** The number of the bucket that `value` belongs to; `bounds.length` if it is above all bounds. */
export function bucketOf(bounds: readonly number[], value: number): number {
  let bucket = 0;
  while (bucket < bounds.length && value > (bounds[bucket] ?? Infinity)) bucket++;
  return bucket;
}

/** A histogram. */
export interface CountedHistogram {
  /** Values per bucket, not cumulative. */
  readonly counts: Float64Array;
  /** The sum of all values. */
  readonly sum: number;
}

/** The counters of one thread. */
export class FrontCounts {
  /** All counters, at the offsets above. */
  private readonly numbers: Float64Array;

  /**
   * @param memory made by `FrontCounts.memory()`, shared with the thread that reads
   * @param transport over which the queries come
   */
  constructor(
    memory: ArrayBufferLike,
    readonly transport: Transport = 'udp',
  ) {
    this.numbers = new Float64Array(memory);
  }

  /** Makes memory for the counters of one thread. */
  static memory(): SharedArrayBuffer {
    return new SharedArrayBuffer(8 * LENGTH);
  }

  /**
   * Counts a query that was answered with a ready reply.
   * @param six whether it came over IPv6
   * @param negative whether the reply is NXDOMAIN or NODATA
   */
  hit(six: boolean, type: number, rcode: number, negative: boolean, queryBytes: number, replyBytes: number): void {
    this.add(QUERIES_AT + (six ? TYPES : 0) + Math.min(type, TYPES - 1), 1);
    this.add(RCODES_AT + rcode, 1);
    this.add(negative ? NEGATIVE_AT : POSITIVE_AT, 1);
    this.observe(REQUESTS_AT, SIZE_BUCKETS, queryBytes, 1);
    this.observe(RESPONSES_AT, SIZE_BUCKETS, replyBytes, 1);
  }

  /** Counts a query that was dropped because the main thread had no room for it. */
  dropped(): void {
    this.add(DROPPED_AT, 1);
  }

  /** Counts a query over access.rate_limit, which gets an empty reply with TC set, or none; or one that lacks a cookie. */
  limited(what: 'truncate' | 'drop' | 'unproven'): void {
    this.add(what === 'truncate' ? TRUNCATED_AT : what === 'drop' ? LIMITED_AT : UNPROVEN_AT, 1);
  }

  /** Counts a query from outside access.allow that gets no reply: there are too many of them. */
  foreign(): void {
    this.add(FOREIGN_AT, 1);
  }

  /** Counts a connection that is closed, or a message over one that gets no reply. */
  closed(reason: StreamDrop): void {
    this.add(CLOSED_AT + STREAM_DROPS.indexOf(reason), 1);
  }

  /** Counts replies that were lost because the socket had no room for them. */
  unsent(replies: number): void {
    if (replies > 0) this.add(UNSENT_AT, replies);
  }

  /** Counts the duration of each of `hits` queries, which were answered in one batch. */
  took(seconds: number, hits: number): void {
    this.observe(DURATIONS_AT, DURATION_BUCKETS, seconds, hits);
  }

  /** Queries of one type; `otherType` gives those of all types without a counter. */
  queries(family: 4 | 6, type: number): number {
    return this.numbers[QUERIES_AT + (family === 6 ? TYPES : 0) + type] ?? 0;
  }
  /** Stands for all types without a counter of their own. */
  static readonly otherType = TYPES - 1;
  /** Replies with this RCODE. */
  replies(rcode: number): number {
    return this.numbers[RCODES_AT + rcode] ?? 0;
  }
  /** Replies by kind. */
  hits(kind: 'positive' | 'negative'): number {
    return this.numbers[kind === 'positive' ? POSITIVE_AT : NEGATIVE_AT] ?? 0;
  }
  /** Queries that were dropped. */
  get drops(): number {
    return this.numbers[DROPPED_AT] ?? 0;
  }
  /** Queries over access.rate_limit. */
  limits(what: 'dropped' | 'truncated'): number {
    return this.numbers[what === 'truncated' ? TRUNCATED_AT : LIMITED_AT] ?? 0;
  }
  /** Queries without a cookie from networks of access.require_cookie. */
  get unproven(): number {
    return this.numbers[UNPROVEN_AT] ?? 0;
  }
  /** Queries from outside access.allow that got no reply. */
  get foreigners(): number {
    return this.numbers[FOREIGN_AT] ?? 0;
  }
  /** Connections that were closed, and messages over them that got no reply. */
  closes(reason: StreamDrop): number {
    return this.numbers[CLOSED_AT + STREAM_DROPS.indexOf(reason)] ?? 0;
  }
  /** Replies that were lost. */
  get unsentReplies(): number {
    return this.numbers[UNSENT_AT] ?? 0;
  }
  /** Sizes of queries, in octets. */
  get requestSizes(): CountedHistogram {
    return this.histogram(REQUESTS_AT, SIZE_BUCKETS);
  }
  /** Sizes of replies, in octets. */
  get responseSizes(): CountedHistogram {
    return this.histogram(RESPONSES_AT, SIZE_BUCKETS);
  }
  /** Durations of queries, in seconds. */
  get durations(): CountedHistogram {
    return this.histogram(DURATIONS_AT, DURATION_BUCKETS);
  }

  private add(at: number, by: number): void {
    this.numbers[at] = (this.numbers[at] ?? 0) + by;
  }

  private observe(at: number, bounds: readonly number[], value: number, times: number): void {
    this.add(at + bucketOf(bounds, value), times);
    this.add(at + bounds.length + 1, value * times);
  }

  private histogram(at: number, bounds: readonly number[]): CountedHistogram {
    return {
      counts: this.numbers.subarray(at, at + bounds.length + 1),
      sum: this.numbers[at + bounds.length + 1] ?? 0,
    };
  }
}

/** Makes a function that returns what a thread has counted since the function was last called. */
export function countedSince(memory: SharedArrayBuffer, transport: Transport = 'udp'): () => FrontCounts {
  const now = new Float64Array(memory);
  const before = new Float64Array(LENGTH);
  return () => {
    const difference = new Float64Array(LENGTH);
    for (let i = 0; i < LENGTH; i++) {
      const value = now[i] ?? 0;
      difference[i] = value - (before[i] ?? 0);
      before[i] = value;
    }
    return new FrontCounts(difference.buffer, transport);
  };
}
