// Copies of lists that come over HTTPS: in state_directory, fetched when they are due, and kept where a fetch fails.

import { createHash } from 'node:crypto';
import { rename, rm } from 'node:fs/promises';
import { join } from 'node:path';

import type { Clock, Random } from '../base/ports.js';
import { isSystemError, wordsFor } from '../base/system-error.js';
import { ageAfter, type AgeSec, type WallMs, wallMs } from '../base/time.js';
import type { Download } from '../os/download.js';
import type { StateStore } from '../os/state-store.js';
import { MOST_LIST_BYTES } from '../policy/lists/rule.js';

/** The parts that it uses. */
export interface ListCopiesParts {
  readonly clock: Clock;
  /** Refreshes are due by it, because lists grow old while the machine sleeps, too. */
  readonly ageNow: () => AgeSec;
  readonly random: Random;
  readonly store: StateStore;
  readonly directory: string;
  readonly download: Download;
  /** The addresses of a host; empty: none. */
  readonly addressesOf: (host: string) => Promise<readonly string[]>;
  /** The trusted roots, PEM; undefined: those of Node.js. */
  readonly roots: () => string | undefined;
}

/** Says why a file that was downloaded is no list; undefined: it is one. */
export type WhyNoList = (url: string, path: string) => Promise<string | undefined>;

/** What is known about a copy. */
interface Copy {
  readonly url: string;
  readonly etag: string | undefined;
  readonly lastModified: string | undefined;
  /** When the server last said that it is current; undefined: never, and there is no copy. */
  readonly currentAt: WallMs | undefined;
}

/** The state of a copy in this process. */
interface Due {
  readonly at: AgeSec;
  readonly failures: number;
  /** Why the last fetch failed. */
  readonly problem: string | undefined;
}

const FILE = 'lists.json';
const LOST = 'after a restart, lists are fetched as a whole';
const STILL_THERE = 'it takes up space, and is not used any more';
const MOST_FILE_BYTES = 1 << 20;
const MOST_REDIRECTS = 5;
/** After a failure: this long, then twice as long each time, up to the time of a refresh. */
const FIRST_RETRY_MS = 60_000;
/** Refreshes are spread over a tenth of their time, so that not all daemons ask at once. */
const JITTER = 0.1;
/** A server that hangs must not keep the lists of others waiting. */
const MOST_AT_ONCE = 8;

/** Copies of lists. */
export class ListCopies {
  private readonly copies = new Map<string, Copy>();
  private readonly due = new Map<string, Due>();
  /** Fetches that have not ended, by URL. */
  private readonly fetches = new Map<string, Promise<boolean>>();
  /** How many of them have begun; the others wait in `queue`. */
  private running = 0;
  private readonly queue: (() => void)[] = [];

  constructor(
    private readonly parts: ListCopiesParts,
    private readonly whyNoList: WhyNoList,
  ) {
    for (const copy of readCopies(parts.store.read(FILE, MOST_FILE_BYTES))) this.copies.set(copy.url, copy);
  }

  /** The file with the copy of a URL. It need not be there. */
  pathOf(url: string): string {
    return join(this.parts.directory, fileOf(url));
  }

  /** Whether there was a copy when this process last had to do with it. */
  has(url: string): boolean {
    return this.copies.get(url)?.currentAt !== undefined;
  }

  /** When the server last said that the copy is current. */
  currentAt(url: string): WallMs | undefined {
    return this.copies.get(url)?.currentAt;
  }

  /** Why the last fetch failed. */
  problemOf(url: string): string | undefined {
    return this.due.get(url)?.problem;
  }

  /** Whether a fetch has not ended. */
  isFetching(url: string): boolean {
    return this.fetches.has(url);
  }

  /** Milliseconds until a URL is due; Infinity: it is being fetched. */
  dueInMs(url: string, refreshMs: number): number {
    const { clock, ageNow } = this.parts;
    if (this.isFetching(url)) return Infinity;
    const due = this.due.get(url)?.at;
    if (due !== undefined) return 1000 * (due - ageNow());
    const current = this.copies.get(url)?.currentAt;
    // A clock that was set back must not put it off for ever.
    return current === undefined ? 0 : Math.min(refreshMs, current + refreshMs - clock.wallMs());
  }

  /** Fetches a URL, or waits for the fetch that has not ended. @returns whether its copy has changed */
  async fetch(url: string, refreshMs: number): Promise<boolean> {
    let fetch = this.fetches.get(url);
    if (fetch === undefined) {
      fetch = this.inTurn(async () => this.fetchNow(url, refreshMs)).finally(() => this.fetches.delete(url));
      this.fetches.set(url, fetch);
    }
    return fetch;
  }

  private async inTurn(fetch: () => Promise<boolean>): Promise<boolean> {
    if (this.running < MOST_AT_ONCE) this.running++;
    else await new Promise<void>(resolve => this.queue.push(resolve));
    try {
      return await fetch();
    } finally {
      const next = this.queue.shift();
      if (next === undefined) this.running--;
      else next();
    }
  }

  private async fetchNow(url: string, refreshMs: number): Promise<boolean> {
    const { clock, ageNow, random, store } = this.parts;
    const before = this.copies.get(url);
    const downloaded = await this.follow(url, before);
    const isNew = typeof downloaded !== 'string' && downloaded.at === 'new';
    const result = (isNew ? await this.replace(url) : undefined) ?? downloaded;
    const now = ageNow();
    if (typeof result === 'string') {
      const failures = (this.due.get(url)?.failures ?? 0) + 1;
      const waitMs = Math.min(refreshMs, FIRST_RETRY_MS * 2 ** Math.min(failures - 1, 20));
      this.due.set(url, { at: ageAfter(now, waitMs / 1000), failures, problem: result });
      return false;
    }
    const jitter = 1 - (JITTER * random.below(1000)) / 1000;
    this.due.set(url, { at: ageAfter(now, (refreshMs * jitter) / 1000), failures: 0, problem: undefined });
    const tags = result.at === 'new' ? result : before;
    const copy = { url, etag: tags?.etag, lastModified: tags?.lastModified, currentAt: clock.wallMs() };
    this.copies.set(url, copy);
    store.write(FILE, JSON.stringify({ version: 1, copies: [...this.copies.values()] }), LOST);
    return result.at === 'new';
  }

  /** Puts what was downloaded in the place of the copy, if it is a list. @returns why that is not done */
  private async replace(url: string): Promise<string | undefined> {
    const path = this.pathOf(url);
    const next = nextTo(path);
    try {
      const why = await this.whyNoList(url, next);
      if (why === undefined) {
        this.parts.store.leave(fileOf(url));
        await rename(next, path);
      } else await rm(next, { force: true });
      return why;
    } catch (error) {
      if (!isSystemError(error)) throw error;
      return wordsFor(error);
    }
  }

  /** What has failed is due at once: the network is another one, or there again. */
  networkChanged(): void {
    for (const [url, { problem }] of this.due)
      if (problem !== undefined) this.due.set(url, { at: this.parts.ageNow(), failures: 0, problem });
  }

  /** The copy could not be read: it is fetched as a whole. */
  lost(url: string): void {
    this.copies.delete(url);
    this.due.delete(url);
  }

  /** Removes the copies of all other URLs. */
  keepOnly(urls: ReadonlySet<string>): void {
    for (const url of [...this.copies.keys()]) {
      if (urls.has(url)) continue;
      this.lost(url);
      this.parts.store.remove(fileOf(url), STILL_THERE);
    }
  }

  /** Downloads a file from where a URL leads. Text: why there is none. */
  private async follow(from: string, before: Copy | undefined) {
    const { addressesOf, roots, download } = this.parts;
    let url = new URL(from);
    for (let redirects = 0; redirects <= MOST_REDIRECTS; redirects++) {
      const host = url.hostname.replace(/^\[(.*)\]$/, '$1');
      const isAddress = host.includes(':') || /^[\d.]+$/.test(host);
      const addresses = isAddress ? [host] : await addressesOf(host);
      if (addresses.length === 0) return `there is no address for ${host}`;
      let why = '';
      for (const address of addresses.slice(0, MOST_ADDRESSES)) {
        const { etag, lastModified } = this.has(from) ? (before ?? NO_TAGS) : NO_TAGS;
        const to = { path: nextTo(this.pathOf(from)), mostBytes: MOST_LIST_BYTES };
        const result = await download({ address, url, roots: roots(), etag, lastModified, ...to });
        if (result.at === 'new' || result.at === 'same') return result;
        if (result.at === 'moved') {
          const next = URL.canParse(result.to, url.href) ? new URL(result.to, url) : undefined;
          if (next?.protocol !== 'https:') return `${host} leads elsewhere, and not over HTTPS`;
          url = next;
          why = '';
          break;
        }
        why = `${host}: ${result.why}`;
      }
      if (why !== '') return why;
    }
    return 'there are too many redirects';
  }
}

/** How many addresses of a host are tried. */
const MOST_ADDRESSES = 4;
const NO_TAGS = { etag: undefined, lastModified: undefined };

/** Where something is until it is known to be a list: some servers send an error with status 200. */
const nextTo = (path: string): string => `${path}.next`;

const fileOf = (url: string): string => `list-${createHash('sha256').update(url).digest('hex').slice(0, 32)}`;

/** Reads the file about copies. What cannot be used is left out. */
function readCopies(text: string): Copy[] {
  let read: unknown;
  try {
    read = JSON.parse(text === '' ? '{}' : text);
  } catch {
    return [];
  }
  if (typeof read !== 'object' || read === null || !('copies' in read) || !Array.isArray(read.copies)) return [];
  return read.copies.flatMap((each: unknown): Copy[] => {
    if (typeof each !== 'object' || each === null || !('url' in each) || typeof each.url !== 'string') return [];
    const textOf = (key: string): string | undefined => {
      const value: unknown = Object.entries(each).find(([name]) => name === key)?.[1];
      return typeof value === 'string' && /^[\x20-\x7e]{1,1000}$/.test(value) ? value : undefined;
    };
    const currentAt =
      'currentAt' in each && Number.isFinite(each.currentAt) ? wallMs(Number(each.currentAt)) : undefined;
    return [{ url: each.url, etag: textOf('etag'), lastModified: textOf('lastModified'), currentAt }];
  });
}
