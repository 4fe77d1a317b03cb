// Checks of P-256 signatures with keys that were prepared, by the OpenSSL that is in Node.js, whose functions addons may use.
//
// A check multiplies the generator of the curve and the key, a point of it, with numbers that the signature gives
// (FIPS 186-5 §6.4.2). OpenSSL has a table of multiples of the generator, so that the multiplication with the key takes
// seven times as long as the other. A group whose generator is the key can have such a table, too (150 KB).
//
// What keeps memory safe: each group has one owner, a PreparedKey, which frees it once and forgets it then. While its
// table is computed, in another thread, nobody else has its address. All other calls are made by one thread, and return
// before anything else happens in it.

import { type Library, type Unavailable, withKoffi } from './koffi.js';

/** NID_X9_62_prime256v1, the number of the curve in OpenSSL. */
const CURVE = 415;
const OLDEST_VERSION = 0x30000000;
const NUMBER_BYTES = 32;
/** A point as octets begins with this if both coordinates follow (SEC 1 §2.3.3). */
const UNCOMPRESSED = Buffer.from([4]);
/** The order of the group, and the prime of its field (SEC 2 §2.4.2). */
const ORDER = Buffer.from('ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551', 'hex');
const PRIME = Buffer.from('ffffffff00000001000000000000000000000000ffffffffffffffffffffffff', 'hex');

/** The functions. A pointer is a number; 0: null. Buffers are only lent to a call. */
const functionsOf = (library: Library) =>
  ({
    sha256: library.func('uintptr_t SHA256(void *, size_t, void *)'),
    newContext: library.func('uintptr_t BN_CTX_new()'),
    freeContext: library.func('void BN_CTX_free(uintptr_t)'),
    newNumber: library.func('uintptr_t BN_new()'),
    readNumber: library.func('uintptr_t BN_bin2bn(void *, int, uintptr_t)'),
    isEqual: library.func('int BN_cmp(uintptr_t, uintptr_t)'),
    add: library.func('int BN_add(uintptr_t, uintptr_t, uintptr_t)'),
    inverse: library.func('uintptr_t BN_mod_inverse(uintptr_t, uintptr_t, uintptr_t, uintptr_t)'),
    multiply: library.func('int BN_mod_mul(uintptr_t, uintptr_t, uintptr_t, uintptr_t, uintptr_t)'),
    newGroup: library.func('uintptr_t EC_GROUP_new_by_curve_name(int)'),
    freeGroup: library.func('void EC_GROUP_free(uintptr_t)'),
    orderOf: library.func('uintptr_t EC_GROUP_get0_order(uintptr_t)'),
    cofactorOf: library.func('uintptr_t EC_GROUP_get0_cofactor(uintptr_t)'),
    setGenerator: library.func('int EC_GROUP_set_generator(uintptr_t, uintptr_t, uintptr_t, uintptr_t)'),
    computeTable: library.func('int EC_GROUP_precompute_mult(uintptr_t, uintptr_t)'),
    newPoint: library.func('uintptr_t EC_POINT_new(uintptr_t)'),
    freePoint: library.func('void EC_POINT_free(uintptr_t)'),
    readPoint: library.func('int EC_POINT_oct2point(uintptr_t, uintptr_t, void *, size_t, uintptr_t)'),
    multiplyGenerator: library.func(
      'int EC_POINT_mul(uintptr_t, uintptr_t, uintptr_t, uintptr_t, uintptr_t, uintptr_t)',
    ),
    addPoints: library.func('int EC_POINT_add(uintptr_t, uintptr_t, uintptr_t, uintptr_t, uintptr_t)'),
    isInfinity: library.func('int EC_POINT_is_at_infinity(uintptr_t, uintptr_t)'),
    coordinates: library.func(
      'int EC_POINT_get_Jprojective_coordinates_GFp(uintptr_t, uintptr_t, uintptr_t, uintptr_t, uintptr_t, uintptr_t)',
    ),
    clearErrors: library.func('void ERR_clear_error()'),
  }) as const;

/** Prepares keys. */
export class P256 {
  private readonly openssl: ReturnType<typeof functionsOf>;
  private readonly context: number;
  private readonly group: number;
  private readonly order: number;
  private readonly prime: number;
  /** What a check computes with. */
  private readonly r: number;
  private readonly s: number;
  private readonly hash: number;
  private readonly generatorTimes: number;
  private readonly keyTimes: number;
  private readonly x: number;
  private readonly y: number;
  private readonly z: number;
  private readonly left: number;
  private readonly first: number;
  private readonly second: number;
  private readonly digest = Buffer.alloc(NUMBER_BYTES);

  /** @throws if there is no memory */
  constructor(library: Library) {
    const openssl = functionsOf(library);
    this.openssl = openssl;
    const number = (): number => some(openssl.newNumber());
    this.context = some(openssl.newContext());
    this.group = some(openssl.newGroup(CURVE));
    this.order = some(openssl.readNumber(ORDER, NUMBER_BYTES, 0));
    this.prime = some(openssl.readNumber(PRIME, NUMBER_BYTES, 0));
    [this.r, this.s, this.hash, this.generatorTimes, this.keyTimes] = [
      number(),
      number(),
      number(),
      number(),
      number(),
    ];
    [this.x, this.y, this.z, this.left] = [number(), number(), number(), number()];
    this.first = some(openssl.newPoint(this.group));
    this.second = some(openssl.newPoint(this.group));
  }

  /**
   * Prepares a key in another thread, for some 40 ms of its time.
   * @param key the coordinates of its point, as in a DNSKEY record (RFC 6605 §4)
   * @param done called later; undefined: it is no point of the curve, or there is no memory
   */
  prepare(key: Buffer, done: (prepared: PreparedKey | undefined) => void): void {
    const { openssl } = this;
    const group = this.groupOf(key);
    const context = openssl.newContext();
    if (group === 0 || context === 0) {
      openssl.freeGroup(group);
      openssl.freeContext(context);
      openssl.clearErrors();
      done(undefined);
      return;
    }
    openssl.computeTable.async(group, context, (error, result) => {
      openssl.freeContext(context);
      if (error === null && result === 1) {
        done(new PreparedKey(this, group));
        return;
      }
      openssl.freeGroup(group);
      done(undefined);
    });
  }

  /** The curve with the key as its generator; 0: it cannot be made. */
  private groupOf(key: Buffer): number {
    const { openssl, context } = this;
    if (key.length !== 2 * NUMBER_BYTES) return 0;
    const group = openssl.newGroup(CURVE);
    const point = group === 0 ? 0 : openssl.newPoint(group);
    const octets = Buffer.concat([UNCOMPRESSED, key]);
    const isMade =
      point !== 0 &&
      openssl.readPoint(group, point, octets, octets.length, context) === 1 &&
      openssl.setGenerator(group, point, openssl.orderOf(group), openssl.cofactorOf(group)) === 1;
    openssl.freePoint(point);
    if (isMade) return group;
    openssl.freeGroup(group);
    return 0;
  }

  /** See PreparedKey.verifies. @param group the one of the key */
  check(group: number, data: Buffer, signature: Buffer): boolean | undefined {
    if (signature.length !== 2 * NUMBER_BYTES) return false;
    const r = signature.subarray(0, NUMBER_BYTES);
    const s = signature.subarray(NUMBER_BYTES);
    if (!isBelowOrder(r) || !isBelowOrder(s)) return false;
    const isGood = this.compute(group, data, r, s);
    if (isGood === undefined) this.openssl.clearErrors();
    return isGood;
  }

  /** FIPS 186-5 §6.4.2, with names of its steps. */
  private compute(group: number, data: Buffer, r: Buffer, s: Buffer): boolean | undefined {
    const { openssl, context, order, digest, first, second } = this;
    const isComputed =
      openssl.sha256(data, data.length, digest) !== 0 &&
      openssl.readNumber(r, NUMBER_BYTES, this.r) !== 0 &&
      openssl.readNumber(s, NUMBER_BYTES, this.s) !== 0 &&
      openssl.readNumber(digest, NUMBER_BYTES, this.hash) !== 0 &&
      openssl.inverse(this.s, this.s, order, context) !== 0 &&
      openssl.multiply(this.generatorTimes, this.hash, this.s, order, context) === 1 &&
      openssl.multiply(this.keyTimes, this.r, this.s, order, context) === 1 &&
      openssl.multiplyGenerator(this.group, first, this.generatorTimes, 0, 0, context) === 1 &&
      openssl.multiplyGenerator(group, second, this.keyTimes, 0, 0, context) === 1 &&
      openssl.addPoints(this.group, first, first, second, context) === 1;
    if (!isComputed) return undefined;
    if (openssl.isInfinity(this.group, first) === 1) return false;
    // The x-coordinate is X / Z². A division takes longer than to multiply the other side of the comparison.
    const isRead =
      openssl.coordinates(this.group, first, this.x, this.y, this.z, context) === 1 &&
      openssl.multiply(this.z, this.z, this.z, this.prime, context) === 1;
    if (!isRead) return undefined;
    const isEqual = this.isX(this.r);
    // r is the x-coordinate modulo the order, which is a little smaller than the prime.
    if (isEqual !== false || r.compare(ORDER_TO_PRIME) >= 0) return isEqual;
    return openssl.add(this.r, this.r, order) === 1 ? this.isX(this.r) : undefined;
  }

  /** Whether a number times Z² is X. */
  private isX(number: number): boolean | undefined {
    const { openssl, left, z, prime, context } = this;
    if (openssl.multiply(left, number, z, prime, context) !== 1) return undefined;
    return openssl.isEqual(left, this.x) === 0;
  }

  /** Frees what was made for a key. */
  free(group: number): void {
    this.openssl.freeGroup(group);
  }
}

/** The prime without the order. */
const ORDER_TO_PRIME = Buffer.from(
  (BigInt(`0x${PRIME.toString('hex')}`) - BigInt(`0x${ORDER.toString('hex')}`)).toString(16).padStart(64, '0'),
  'hex',
);
const ZERO = Buffer.alloc(NUMBER_BYTES);

/** Whether a number is between 0 and the order. */
const isBelowOrder = (number: Buffer): boolean => number.compare(ORDER) < 0 && !number.equals(ZERO);

function some(pointer: number): number {
  if (pointer === 0) throw new Error('OpenSSL has no memory');
  return pointer;
}

/** A key with its table. */
export class PreparedKey {
  /** @param group 0 after `free` */
  constructor(
    private readonly curve: P256,
    private group: number,
  ) {}

  /**
   * Whether a signature over data was made with the key.
   * @param signature r and s, one after the other (RFC 6605 §4)
   * @returns undefined: it could not be computed
   */
  verifies(data: Buffer, signature: Buffer): boolean | undefined {
    return this.group === 0 ? undefined : this.curve.check(this.group, data, signature);
  }

  /** It can check nothing afterwards. */
  free(): void {
    const { group } = this;
    this.group = 0;
    if (group !== 0) this.curve.free(group);
  }
}

/** Loads the functions, or says why they cannot be used. */
export const loadP256 = (): P256 | Unavailable =>
  withKoffi(koffi => {
    const library = koffi.load(null);
    const version = library.func('ulong OpenSSL_version_num()')();
    if (version < OLDEST_VERSION) return { unavailable: `OpenSSL is too old: ${version.toString(16)}` };
    return new P256(library);
  });
