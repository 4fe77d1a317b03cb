// Prepares keys that check many signatures, by OpenSSL.

import type { PrepareKey } from '../dnssec/prepared-keys.js';
import type { Unavailable } from '../os/koffi.js';
import { loadP256, type P256 } from '../os/p256.js';

/** Loads the functions when the first key is due. Where they cannot be called, no key is prepared. */
export class KeyPreparation {
  private curve: P256 | Unavailable | undefined;

  readonly prepare: PrepareKey = (key, done) => {
    this.curve ??= loadP256();
    if ('unavailable' in this.curve) done(undefined);
    else this.curve.prepare(key, done);
  };
}
