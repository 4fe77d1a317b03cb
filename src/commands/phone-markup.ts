// Text as it may stand in HTML and XML.

const ENTITIES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};
/** XML 1.0 has no way to write them (§2.2). */
const CONTROL = /[\0-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]/g;

/** Text without markup of its own. */
export const markup = (text: string): string =>
  text.replace(CONTROL, '').replace(/[&<>"']/g, character => ENTITIES[character] ?? '');
