// The head of an HTTP request (RFC 9112), as far as a server needs it that only answers GET and HEAD.

/** What a request asks for. */
export interface HttpRequest {
  readonly method: string;
  /** The path without its query. */
  readonly path: string;
  /** The host that the client believes to talk to, with its port; undefined: an HTTP/1.0 client did not say. */
  readonly host: string | undefined;
  readonly accept: string | undefined;
  /** Whether the client wants to ask more over this connection (RFC 9112 §9.3). */
  readonly isPersistent: boolean;
  /** Whether content follows the head (RFC 9112 §6). */
  readonly hasContent: boolean;
}

/** The octets of the longest head. Browsers send the cookies of all services on the host, whatever their ports. */
export const MOST_HEAD_BYTES = 16_384;
const MOST_FIELDS = 100;

const REQUEST_LINE = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+) ([!-~\x80-\xff]+) HTTP\/1\.([01])$/;
const FIELD_NAME = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;
/** Field values have none but tabs (RFC 9110 §5.5). */
const CONTROL = /[\0-\x08\n-\x1f\x7f]/;
/** An absolute URI in place of a path, which clients may send (RFC 9112 §3.2.2). */
const ABSOLUTE = /^https?:\/\/([^/?#]+)(.*)$/i;

/**
 * Reads a head.
 * @param head one character per octet, without the empty line at its end
 * @returns undefined if it is malformed
 */
export function readHead(head: string): HttpRequest | undefined {
  // An empty line before the request is ignored (RFC 9112 §2.2).
  const [requestLine = '', ...lines] = head.replace(/^\r\n/, '').split('\r\n', MOST_FIELDS + 2);
  const [, method, target, minor] = REQUEST_LINE.exec(requestLine) ?? [];
  const fields = lines.length > MOST_FIELDS ? undefined : fieldsOf(lines);
  if (method === undefined || target === undefined || fields === undefined) return undefined;
  const hosts = fields.get('host') ?? [];
  // RFC 9112 §3.2.
  if (hosts.length > 1 || (hosts.length === 0 && minor === '1')) return undefined;
  const [, authority, rest] = ABSOLUTE.exec(target) ?? [];
  const options = (fields.get('connection') ?? []).join(',').toLowerCase().split(',');
  const wants = (option: string): boolean => options.some(each => each.trim() === option);
  return {
    method,
    path: (rest ?? target).split(/[?#]/, 1)[0] ?? '',
    host: authority ?? hosts[0],
    accept: fields.get('accept')?.join(','),
    isPersistent: !wants('close') && (minor === '1' || wants('keep-alive')),
    hasContent: fields.has('transfer-encoding') || (fields.get('content-length') ?? []).some(each => each !== '0'),
  };
}

/** The values of the fields, by name in lower case; undefined if a line is malformed. */
function fieldsOf(lines: readonly string[]): ReadonlyMap<string, readonly string[]> | undefined {
  const fields = new Map<string, string[]>();
  for (const line of lines) {
    const colon = line.indexOf(':');
    const name = line.slice(0, Math.max(0, colon)).toLowerCase();
    if (!FIELD_NAME.test(name) || CONTROL.test(line)) return undefined;
    const value = line.slice(colon + 1).trim();
    const known = fields.get(name);
    if (known === undefined) fields.set(name, [value]);
    else known.push(value);
  }
  return fields;
}
