// The addresses that a record gives to clients: those of A and AAAA records, and the hints of SVCB and HTTPS records
// (RFC 9460 §7.3), which clients connect to without any other record.

import { u16At } from '../base/octets.js';
import { skipName } from './name.js';
import { CLASS_IN, TYPE } from './rrtype.js';

const V4_BYTES = 4;
const V6_BYTES = 16;
const IPV4HINT = 4;
const IPV6HINT = 6;
/** Key and length of a service parameter (RFC 9460 §2.2). */
const PARAMETER_BYTES = 4;
/** SvcPriority, before the target name. */
const PRIORITY_BYTES = 2;

/** What is needed of a record, see wire/records. */
interface AddressRecord {
  readonly type: number;
  readonly class: number;
  readonly rdata: number;
  readonly end: number;
}

/** Types whose records may give addresses. */
const WITH_ADDRESSES: ReadonlySet<number> = new Set([TYPE.A, TYPE.AAAA, TYPE.SVCB, TYPE.HTTPS]);

/** Whether records of a type may give addresses. */
export const mayGiveAddresses = (type: number): boolean => WITH_ADDRESSES.has(type);

/**
 * Walks the addresses of records, one record after the other. It allocates nothing on its way, and what is malformed
 * gives no address.
 */
export class RecordAddresses {
  /** Where the address starts that the walk has reached, */
  at = 0;
  /** and how many octets it has. */
  bytes: typeof V4_BYTES | typeof V6_BYTES = V4_BYTES;
  /** The octets that are left of a value with addresses, */
  private value = 0;
  private valueEnd = 0;
  /** and those that are left of service parameters. */
  private parameter = 0;
  private end = 0;

  constructor(private readonly octets: Buffer) {}

  /** Begins with a record. */
  of(record: AddressRecord): this {
    const { type, rdata, end } = record;
    this.value = this.valueEnd = this.parameter = this.end = 0;
    if (record.class !== CLASS_IN) return this;
    if (type === TYPE.A || type === TYPE.AAAA) {
      const bytes = type === TYPE.A ? V4_BYTES : V6_BYTES;
      if (end - rdata === bytes) this.take(bytes, rdata, end);
    } else if (type === TYPE.SVCB || type === TYPE.HTTPS) {
      const parameters = skipName(this.octets, rdata + PRIORITY_BYTES);
      if (parameters === -1) return this;
      this.parameter = parameters;
      this.end = end;
    }
    return this;
  }

  /** Moves to the next address; false: there is none. */
  next(): boolean {
    while (this.value + this.bytes > this.valueEnd) if (!this.nextHint()) return false;
    this.at = this.value;
    this.value += this.bytes;
    return true;
  }

  /** Moves to the next parameter with addresses. */
  private nextHint(): boolean {
    const { octets, end } = this;
    while (this.parameter + PARAMETER_BYTES <= end) {
      const key = u16At(octets, this.parameter);
      const value = this.parameter + PARAMETER_BYTES;
      this.parameter = Math.min(value + u16At(octets, this.parameter + 2), end);
      if (key !== IPV4HINT && key !== IPV6HINT) continue;
      this.take(key === IPV4HINT ? V4_BYTES : V6_BYTES, value, this.parameter);
      return true;
    }
    return false;
  }

  private take(bytes: typeof V4_BYTES | typeof V6_BYTES, value: number, valueEnd: number): void {
    this.bytes = bytes;
    this.value = value;
    this.valueEnd = valueEnd;
  }
}
