// What front threads count, as plain numbers in memory that the scraping thread reads. One writer each; a reader may
// be one query behind, which no graph shows.

/** Sizes in octets that queries and replies are counted by; the last bucket is for all above. */
export const SIZE_BUCKETS: readonly number[] = [64, 128, 256, 512, 1232, 4096, 16384, 65535];
/** 0.25 ms doubled 15 times: cached answers at one end, the client deadline well before the other. */
export const DURATION_BUCKETS: readonly number[] = Array.from({ length: 16 }, (_, i) => 0.00025 * 2 ** i);

const TYPES = 257;
const RCODES = 16;
const QUERIES_AT = 0;
const RCODES_AT = 2 * TYPES;
const POSITIVE_AT = RCODES_AT + RCODES;
const NEGATIVE_AT = POSITIVE_AT + 1;
const REQUESTS_AT = NEGATIVE_AT + 1;
const RESPONSES_AT = REQUESTS_AT + SIZE_BUCKETS.length + 2;
const DURATIONS_AT = RESPONSES_AT + SIZE_BUCKETS.length + 2;
const DROPPED_AT = DURATIONS_AT + DURATION_BUCKETS.length + 2;
const LENGTH = DROPPED_AT + 1;

/** The first bucket that `value` fits; `bounds.length` if none does. */
export function bucketOf(bounds: readonly number[], value: number): number {
  let bucket = 0;
  while (bucket < bounds.length && value > (bounds[bucket] ?? Infinity)) bucket++;
  return bucket;
}

/** A histogram's part of the numbers: counts per bucket (not cumulative), then the sum. */
export interface CountedHistogram {
  readonly counts: Float64Array;
  readonly sum: number;
}

/** One thread's counts. */
export class FrontCounts {
  private readonly numbers: Float64Array;

  /** @param memory from `memory()`, shared with the thread that reads */
  constructor(memory: ArrayBufferLike) {
    this.numbers = new Float64Array(memory);
  }

  static memory(): SharedArrayBuffer {
    return new SharedArrayBuffer(8 * LENGTH);
  }

  /** A query that was answered from ready replies, and its reply. */
  hit(six: boolean, type: number, rcode: number, negative: boolean, queryBytes: number, replyBytes: number): void {
    this.add(QUERIES_AT + (six ? TYPES : 0) + Math.min(type, TYPES - 1), 1);
    this.add(RCODES_AT + rcode, 1);
    this.add(negative ? NEGATIVE_AT : POSITIVE_AT, 1);
    this.observe(REQUESTS_AT, SIZE_BUCKETS, queryBytes, 1);
    this.observe(RESPONSES_AT, SIZE_BUCKETS, replyBytes, 1);
  }

  /** A query that the main thread had no room for. */
  dropped(): void {
    this.add(DROPPED_AT, 1);
  }

  /** How long a batch of hits took. */
  took(seconds: number, hits: number): void {
    this.observe(DURATIONS_AT, DURATION_BUCKETS, seconds, hits);
  }

  queries(family: 4 | 6, type: number): number {
    return this.numbers[QUERIES_AT + (family === 6 ? TYPES : 0) + type] ?? 0;
  }
  /** Types up to 255 have a number of their own; `otherType` stands for all above. */
  static readonly otherType = TYPES - 1;
  replies(rcode: number): number {
    return this.numbers[RCODES_AT + rcode] ?? 0;
  }
  hits(kind: 'positive' | 'negative'): number {
    return this.numbers[kind === 'positive' ? POSITIVE_AT : NEGATIVE_AT] ?? 0;
  }
  get drops(): number {
    return this.numbers[DROPPED_AT] ?? 0;
  }
  get requestSizes(): CountedHistogram {
    return this.histogram(REQUESTS_AT, SIZE_BUCKETS);
  }
  get responseSizes(): CountedHistogram {
    return this.histogram(RESPONSES_AT, SIZE_BUCKETS);
  }
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

/** Makes a function that gives what a thread has counted since its last call. */
export function countedSince(memory: SharedArrayBuffer): () => FrontCounts {
  const now = new Float64Array(memory);
  const before = new Float64Array(LENGTH);
  return () => {
    const difference = new Float64Array(LENGTH);
    for (let i = 0; i < LENGTH; i++) {
      const value = now[i] ?? 0;
      difference[i] = value - (before[i] ?? 0);
      before[i] = value;
    }
    return new FrontCounts(difference.buffer);
  };
}
