// The HTTP server of `dotstub phone`: one page and its profiles, under a path that nobody guesses, for the clients that may
// ask the daemon, and for some minutes.

import { randomBytes } from 'node:crypto';

import type { Cancel, Clock } from '../base/ports.js';
import { type HttpReply, plainText } from '../observe/http-connection.js';
import type { HttpRequest } from '../observe/http-head.js';
import { COMMON_FIELDS, type HttpListener, openHttp } from '../observe/http-server.js';
import type { Matcher } from '../policy/access.js';
import { PAGE_POLICY } from './phone-page.js';

/** For how long the page is there, ms. */
export const PAGE_MS = 10 * 60_000;

const TOKEN_BYTES = 16;
/** The phones of a household. */
const MOST_CONNECTIONS = 32;
/** The most lines about clients: there may be many addresses in a network. */
const MOST_TOLD = 100;

/** What is served. */
export interface Site {
  readonly page: string;
  /** By the name of its file, which the page leads to. */
  readonly profiles: ReadonlyMap<string, string>;
}

/** The parts that it uses. */
export interface PhoneSiteParts {
  readonly clock: Clock;
  readonly mayAsk: Matcher;
  /** Called with what clients do, a sentence each. */
  readonly tell: (words: string) => void;
}

/** The server. */
export class PhoneSite {
  private readonly token = randomBytes(TOKEN_BYTES).toString('base64url');
  /** What was told, so that each is told once. */
  private readonly told = new Set<string>();
  private listener: HttpListener | undefined;
  private cancel: Cancel = () => undefined;
  /** Resolves `over`. */
  private end: () => void = () => undefined;
  /** Until it is closed, which it is at the end of its time. */
  readonly over = new Promise<void>(resolve => (this.end = resolve));

  constructor(
    private readonly parts: PhoneSiteParts,
    private readonly site: Site,
  ) {}

  /**
   * Opens it. @returns the URL of the page @throws the system's error if the address cannot be bound
   * @param port 0: any
   */
  async open(address: string, port: number): Promise<string> {
    const { clock, mayAsk } = this.parts;
    this.listener = await openHttp(
      { address, port },
      {
        clock,
        admits: client => mayAsk(client) || this.refuse(client),
        // eslint-disable-next-line @typescript-eslint/require-await -- the server waits for others
        answer: async (request, client) => this.answer(request, client),
        fields: { ...COMMON_FIELDS, 'content-security-policy': PAGE_POLICY },
        maxConnections: MOST_CONNECTIONS,
        dropped: () => this.tell('A connection was closed: there are too many.'),
        failed: message => this.tell(`A connection was lost: ${message}.`),
      },
    );
    this.cancel = clock.after(PAGE_MS, () => this.close());
    const host = address.includes(':') ? `[${address}]` : address;
    return `http://${host}:${this.listener.port}/${this.token}/`;
  }

  close(): void {
    this.cancel();
    this.listener?.close();
    this.listener = undefined;
    this.end();
  }

  private answer({ method, path }: HttpRequest, client: string): HttpReply {
    if (method !== 'GET' && method !== 'HEAD') return plainText(405, 'only GET and HEAD');
    const start = `/${this.token}/`;
    if (!path.startsWith(start)) return plainText(404, 'nothing is here: scan the code again');
    const file = path.slice(start.length);
    if (file === '') {
      this.tell(`${client} has opened the page.`);
      return { status: 200, contentType: 'text/html; charset=utf-8', body: this.site.page };
    }
    const profile = this.site.profiles.get(file);
    if (profile === undefined) return plainText(404, 'nothing is here: scan the code again');
    this.tell(`${client} has taken the profile ${file}.`);
    return { status: 200, contentType: 'application/x-apple-aspen-config', body: profile };
  }

  private refuse(client: string): false {
    this.tell(`${client} was turned away: it is in no network of access.allow.`);
    return false;
  }

  private tell(words: string): void {
    if (this.told.has(words) || this.told.size >= MOST_TOLD) return;
    this.told.add(words);
    this.parts.tell(words);
  }
}
