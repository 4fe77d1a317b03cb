// The certificates that listeners show. Their files are followed whatever `reload_on_change` says: programs such as certbot
// renew them without telling anybody. Key and certificate change at different moments, so a pair that does not fit is
// waited for. One that cannot be used does not come into force, and the one before stays.

import type { CertificateOverview } from '../base/overview.js';
import type { Cancel, Clock, Log } from '../base/ports.js';
import { type MonoMs, monoAfter } from '../base/time.js';
import { visible } from '../base/visible.js';
import { type FileWatch, watchFiles } from '../os/file-watch.js';
import {
  type CertificateFacts,
  certificateFacts,
  datesWords,
  dayText,
  isInForce,
  subjectsWords,
  validityOf,
} from '../policy/server-certificate.js';
import { LISTENER_PAIRS, type ListenerPair, withPair } from './listener-pairs.js';
import type { Plan } from './plan.js';
import type { CertificatePair, PlanFiles } from './plan-files.js';
import type { Reload } from './reload.js';
import { StartError } from './start-error.js';

/** How long a pair that cannot be used may be one that is being written, ms. */
const PATIENCE_MS = 4000;
/** While one is waited for, its files are read this often, ms. */
const AGAIN_MS = 500;
/** How often the dates are looked at, ms. The files are read then, too: some file systems tell of no changes. */
const DATES_MS = 3_600_000;

/** The parts that they use. */
export interface CertificatesParts {
  readonly clock: Clock;
  readonly log: Log;
  readonly files: PlanFiles;
  readonly reload: Reload;
}

/** One listener's. */
class Followed {
  /** Why what its files hold cannot be used, and since when that is so; undefined: they hold what is in force. */
  unusable: { readonly problem: string; readonly since: MonoMs } | undefined;
  /** The same, once it has lasted. */
  refused: string | undefined;
  /** What was logged last about its dates. */
  dates = '';
  /** What the pair in force says, and the digest that this was read from. */
  private facts: { readonly digest: string; readonly value: CertificateFacts } | undefined;

  constructor(readonly pair: ListenerPair) {}

  /** What the pair in force says. */
  factsOf({ certificate: { digest, octets } }: CertificatePair): CertificateFacts {
    if (this.facts?.digest !== digest) this.facts = { digest, value: certificateFacts(octets) };
    return this.facts.value;
  }
}

/** Follows them. */
export class Certificates {
  private readonly followed = LISTENER_PAIRS.map(each => new Followed(each));
  private watch: FileWatch | undefined;
  private cancelAgain: Cancel = () => undefined;
  private cancelDates: Cancel = () => undefined;
  /** The look that is under way, or was last. */
  private last: Promise<void> = Promise.resolve();
  private closed = false;

  constructor(private readonly parts: CertificatesParts) {}

  /** To be called when a plan has come into force, the first one included. */
  follow(): void {
    const pairs = LISTENER_PAIRS.flatMap(each => each.of(this.plan) ?? []);
    if (pairs.length === 0) {
      this.unwatch();
      return;
    }
    this.watch ??= watchFiles([], {
      changed: () => this.lookSoon(),
      lost: () => this.lookSoon(),
      trouble: (directory, { message }) => {
        const words = 'certificates in it are looked at every minute';
        this.parts.log.warn({ directory }, `${directory} is not watched for changes (${message}): ${words}`);
      },
    });
    this.watch.follow(pairs.flatMap(({ certificate, key }) => [certificate.path, key.path]));
    // They may have changed since the plan was made.
    this.lookSoon();
  }

  /** What the listeners show, for the overview. */
  get overview(): readonly CertificateOverview[] {
    const nowMs = this.parts.clock.wallMs();
    return this.followed.flatMap(each => {
      const { pair, refused } = each;
      const inForce = pair.of(this.plan);
      if (inForce === undefined) return [];
      const facts = each.factsOf(inForce);
      const { path } = inForce.certificate;
      const leftMs = facts.endsMs - nowMs;
      return [{ listener: pair.listener, path, ...facts, validity: validityOf(facts, nowMs), leftMs, refused }];
    });
  }

  /** Stops, and waits for what is under way. */
  async close(): Promise<void> {
    this.closed = true;
    this.unwatch();
    await this.last;
  }

  private get plan(): Plan {
    return this.parts.reload.plan;
  }

  private unwatch(): void {
    this.watch?.close();
    this.watch = undefined;
    this.cancelAgain();
    this.cancelDates();
  }

  private lookSoon(): void {
    this.last = this.last.then(async () => this.look());
  }

  private async look(): Promise<void> {
    this.cancelAgain();
    this.cancelDates();
    for (const each of this.followed) if (!this.closed) await this.renew(each);
    if (this.closed || this.watch === undefined) return;
    for (const each of this.followed) this.tellDates(each);
    const { clock } = this.parts;
    if (this.followed.some(({ unusable, refused }) => unusable?.problem !== refused))
      this.cancelAgain = clock.after(AGAIN_MS, () => this.lookSoon());
    this.cancelDates = clock.after(DATES_MS, () => this.lookSoon());
  }

  /** Takes what the files hold now, if that is something else and can be used. */
  private async renew(followed: Followed): Promise<void> {
    const { pair } = followed;
    const inForce = pair.of(this.plan);
    if (inForce === undefined) {
      this.settled(followed);
      return;
    }
    try {
      const next = this.read(pair, inForce);
      if (isSame(inForce, next)) {
        this.settled(followed);
        return;
      }
      this.checkDates(pair, followed.factsOf(inForce), next);
      // A reload that was under way may have named other files.
      await this.parts.reload.amend(plan => {
        const now = pair.of(plan);
        return now !== undefined && hasSameFiles(now, next) ? withPair(plan, pair, next) : plan;
      });
      this.taken(followed);
    } catch (error) {
      if (!(error instanceof StartError)) throw error;
      this.unusable(followed, error.problems.map(({ words }) => words).join('; '));
    }
  }

  /** @throws StartError */
  private read({ options }: ListenerPair, { certificate, key }: CertificatePair): CertificatePair {
    const { files } = this.parts;
    const next = {
      certificate: files.read(certificate.path, options.certificate),
      key: files.read(key.path, options.key),
    };
    files.checkPair(next, options);
    return next;
  }

  /** Nothing is gained by a certificate that clients refuse, while they accept the one in force. @throws StartError */
  private checkDates({ options }: ListenerPair, inForce: CertificateFacts, { certificate }: CertificatePair): void {
    const nowMs = this.parts.clock.wallMs();
    const facts = certificateFacts(certificate.octets);
    if (isInForce(facts, nowMs) || !isInForce(inForce, nowMs)) return;
    const words = `${certificate.path} ${datesWords(facts, nowMs)}`;
    throw StartError.ofOptions([{ path: options.certificate, words }]);
  }

  private taken(followed: Followed): void {
    const { pair } = followed;
    const inForce = pair.of(this.plan);
    followed.unusable = undefined;
    followed.refused = undefined;
    if (inForce === undefined) return;
    const facts = followed.factsOf(inForce);
    const { path } = inForce.certificate;
    const words = `the new certificate of ${path} is in force: for ${subjectsWords(facts)}, until ${dayText(facts.endsMs)}`;
    this.parts.log.info({ listener: pair.listener, file: path }, visible(words));
  }

  private settled(followed: Followed): void {
    const { refused, pair } = followed;
    followed.unusable = undefined;
    followed.refused = undefined;
    if (refused !== undefined)
      this.parts.log.info({ listener: pair.listener }, `this is over: ${keptWords(pair, refused)}`);
  }

  private unusable(followed: Followed, problem: string): void {
    const { clock, log } = this.parts;
    const now = clock.monotonicMs();
    // While files are written, they have one problem after the other.
    if (followed.unusable?.problem !== problem) followed.unusable = { problem, since: now };
    if (now < monoAfter(followed.unusable.since, PATIENCE_MS) || followed.refused === problem) return;
    followed.refused = problem;
    log.error({ listener: followed.pair.listener }, visible(keptWords(followed.pair, problem)));
  }

  /** Logs once that a certificate ends soon, has ended, or begins later. */
  private tellDates(followed: Followed): void {
    const { clock, log } = this.parts;
    const inForce = followed.pair.of(this.plan);
    if (inForce === undefined) return;
    const nowMs = clock.wallMs();
    const facts = followed.factsOf(inForce);
    const validity = validityOf(facts, nowMs);
    const { path, digest } = inForce.certificate;
    const told = validity === 'valid' ? '' : `${validity} ${digest}`;
    if (followed.dates === told) return;
    followed.dates = told;
    if (validity !== 'valid')
      log.warn({ listener: followed.pair.listener, file: path }, `the certificate ${path} ${datesWords(facts, nowMs)}`);
  }
}

const isSame = (a: CertificatePair, b: CertificatePair): boolean =>
  a.certificate.digest === b.certificate.digest && a.key.digest === b.key.digest;

const hasSameFiles = (a: CertificatePair, b: CertificatePair): boolean =>
  a.certificate.path === b.certificate.path && a.key.path === b.key.path;

const keptWords = ({ options }: ListenerPair, problem: string): string =>
  `the new ${options.certificate} is not used, and the one before is in force: ${problem}`;
