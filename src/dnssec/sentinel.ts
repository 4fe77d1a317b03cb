// The root key trust anchor sentinel (RFC 8509): names that show which keys of the root a resolver trusts. The resolver
// answers or fails, depending on whether the key tag in the name is one of its trust anchors.

import { type Anchor, anchorFor } from './anchors.js';
import { type Name, ROOT_NAME } from './name.js';
import { TYPE } from '../wire/rrtype.js';

/** RFC 8509 §2.1: one label with five digits. */
const LABEL = /^[\x1d\x1e]root-key-sentinel-(is|not)-ta-(\d{5})/;

/** Whether a secure answer to this question must be withheld (RFC 8509 §2.2). */
export function sentinelFails(name: Name, type: number, anchors: readonly Anchor[]): boolean {
  if (type !== TYPE.A && type !== TYPE.AAAA) return false;
  const [label, what, digits] = LABEL.exec(name) ?? [];
  if (label?.length !== name.charCodeAt(0) + 1) return false;
  const root = anchorFor(anchors, ROOT_NAME);
  const tag = Number(digits);
  const believed =
    root !== undefined && (root.ds.some(each => each.tag === tag) || root.keys.some(each => each.tag === tag));
  return believed === (what === 'not');
}
