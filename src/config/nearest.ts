// Which word was probably meant by one that is not allowed.

/** Words for yes. None of the words for a mode, a policy or `off` is what they mean. */
const YES = ['on', 'yes', 'true', 'enabled', 'enable'];
/** A word with one of these before it means the opposite, or something else. */
const NEGATION = /^(in|un|no|non|not|dis)[-_]?$/;

/**
 * The one of `words` that was probably meant by `input`, which has a slip of the keyboard; undefined if none was. It is
 * never a word for the opposite: `off` is not suggested for `on`, and `insecure` not for `secure`.
 */
export function nearest(input: string, words: readonly string[]): string | undefined {
  const given = input.toLowerCase();
  if (YES.includes(given)) return undefined;
  const ranked = words
    .filter(word => !isNegated(given, word) && !isNegated(word, given))
    .map(word => ({ word, distance: editDistance(given, word.toLowerCase()) }))
    .sort((a, b) => a.distance - b.distance);
  const [best, second] = ranked;
  // `mix_ttl` is as close to min_ttl as to max_ttl.
  if (best === undefined || best.distance > slipsIn(given) || best.distance === second?.distance) return undefined;
  return best.word;
}

/** How many characters of a word may be wrong: not so many that a short one becomes any other. */
const slipsIn = (word: string): number => (word.length < 4 ? 1 : Math.max(2, Math.floor(word.length / 3)));

const isNegated = (word: string, other: string): boolean =>
  other.endsWith(word) && NEGATION.test(other.slice(0, -word.length));

/** Levenshtein distance. */
function editDistance(a: string, b: string): number {
  let previous = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const current = [i];
    for (let j = 1; j <= b.length; j++) {
      const substitute = (previous[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      current.push(Math.min(substitute, (previous[j] ?? 0) + 1, (current[j - 1] ?? 0) + 1));
    }
    previous = current;
  }
  return previous[b.length] ?? 0;
}
