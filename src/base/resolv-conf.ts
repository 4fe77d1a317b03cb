// Reads the file that tells programs whom to ask for names.

import { isIP, withoutZone } from './address.js';
import type { ResolvConf } from './overview.js';

/** The most servers, and the most search domains, that count. */
const MOST_WORDS = 16;

/** Reads a resolv.conf: all `nameserver` lines, and the last `search` or `domain` line (resolv.conf(5)). */
export function readResolvConf(text: string): ResolvConf {
  const lines = text.split('\n').map(line => line.trim().split(/\s+/));
  const nameservers = lines.flatMap(([key, value = '']) =>
    key === 'nameserver' && isIP(withoutZone(value)) !== 0 ? [value] : [],
  );
  const [, ...search] = lines.findLast(([key]) => key === 'search' || key === 'domain') ?? [];
  return {
    nameservers: nameservers.slice(0, MOST_WORDS),
    search: search.filter(isSearchDomain).slice(0, MOST_WORDS),
  };
}

/** A dot alone switches the search off. Other characters must not reach a terminal. */
const isSearchDomain = (word: string): boolean => /^[\w-][\w.-]*$/.test(word);
