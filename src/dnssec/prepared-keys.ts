// Keys that check many signatures. Most of what a check of P-256 takes is a multiplication of the key, which takes a seventh of the
// time if multiples of the key were computed before. To compute them takes as long as several hundred checks.

import type { Dnskey } from './dnskey.js';

/** A key whose multiples were computed. */
export interface PreparedKey {
  /**
   * Whether a signature over `data` was made with the key.
   * @param signature r and s, one after the other (RFC 6605 §4)
   * @returns undefined: it could not be computed
   */
  verifies(data: Buffer, signature: Buffer): boolean | undefined;
  /** It can check nothing afterwards. */
  free(): void;
}

/**
 * Prepares a key of P-256, while others run.
 * @param key the coordinates of its point (RFC 6605 §4)
 * @param done called with undefined if it cannot be done
 */
export type PrepareKey = (key: Buffer, done: (prepared: PreparedKey | undefined) => void) => void;

/** From then on, a key has probably as many checks before it as it has had: the preparation is worth its time. */
const WORTH_IT = 1000;
/** Each takes 150 KB. */
const MOST_PREPARED = 16;

interface Use {
  /** How many checks there were; among prepared keys, halved whenever one makes room. */
  checks: number;
  prepared: PreparedKey | undefined;
}

/** Checks signatures, and prepares the keys that are used most. */
export class PreparedKeys {
  /** By the data of their records: a zone's keys are read again and again. */
  private readonly prepared = new Map<string, Use>();
  private readonly uses = new WeakMap<Dnskey, Use>();
  /** One at a time. If it cannot be done, it is not tried again. */
  private mayPrepare = true;

  constructor(private readonly prepare: PrepareKey) {}

  /** Whether `signature` over `data` was made with a key. */
  verifies(key: Dnskey, data: Buffer, signature: Buffer): boolean {
    if (!key.isP256) return key.verifies(data, signature);
    const use = this.useOf(key);
    use.checks++;
    const known = use.prepared?.verifies(data, signature);
    if (known !== undefined) return known;
    const isGood = key.verifies(data, signature);
    if (isGood && use.checks >= WORTH_IT && use.prepared === undefined && this.mayPrepare) {
      // Several zones may have the same key, and a zone's keys may have been read again meanwhile.
      const prepared = this.prepared.get(idOf(key));
      if (prepared !== undefined) this.uses.set(key, prepared);
      else this.begin(key, use, Buffer.from(data), Buffer.from(signature));
    }
    return isGood;
  }

  private useOf(key: Dnskey): Use {
    const known = this.uses.get(key);
    if (known !== undefined) return known;
    const use = this.prepared.get(idOf(key)) ?? { checks: 0, prepared: undefined };
    this.uses.set(key, use);
    return use;
  }

  /** Prepares a key. @param data whose signature is good */
  private begin(key: Dnskey, use: Use, data: Buffer, signature: Buffer): void {
    this.mayPrepare = false;
    this.prepare(key.octets, prepared => {
      if (prepared === undefined) return;
      // What checks signatures is itself checked, with one that is good, and with one that is not.
      const isSound = prepared.verifies(data, signature) === true;
      data.writeUInt8(data.readUInt8(0) ^ 1, 0);
      if (!isSound || prepared.verifies(data, signature) !== false) {
        prepared.free();
        return;
      }
      this.makeRoom();
      use.prepared = prepared;
      this.prepared.set(idOf(key), use);
      this.mayPrepare = true;
    });
  }

  /** Gives up the key that is used least, if there are too many. */
  private makeRoom(): void {
    if (this.prepared.size < MOST_PREPARED) return;
    const [[id, least] = []] = [...this.prepared].sort(([, a], [, b]) => a.checks - b.checks);
    if (id === undefined || least === undefined) return;
    this.prepared.delete(id);
    least.prepared?.free();
    least.prepared = undefined;
    least.checks = 0;
    for (const use of this.prepared.values()) use.checks >>>= 1;
  }
}

const idOf = (key: Dnskey): string => key.rdata.toString('latin1');
