// Downloads a file over HTTPS to disk. The server is authenticated by its certificate, and yet not trusted with time, space or the
// file of before: that is replaced only by a whole new one.

import { constants } from 'node:fs';
import { type FileHandle, open, rename, rm } from 'node:fs/promises';
import type { IncomingMessage } from 'node:http';
import { request } from 'node:https';

import { isIP } from '../base/address.js';
import { isSystemError, wordsFor } from '../base/system-error.js';

/** For everything, and for a pause of the server. */
const WHOLE_MS = 300_000;
const PAUSE_MS = 20_000;
const MOST_HEADER_BYTES = 16_384;

/** What is downloaded. */
export interface DownloadRequest {
  /** The address to connect to. Names are never looked up. */
  readonly address: string;
  readonly url: URL;
  /** The trusted roots, PEM; undefined: those of Node.js. */
  readonly roots: string | undefined;
  /** What the server said about the file of before: it is only sent if it has changed (RFC 9110 §13.1). */
  readonly etag: string | undefined;
  readonly lastModified: string | undefined;
  /** Where it is written. */
  readonly path: string;
  readonly mostBytes: number;
}

/** The result. */
export type Downloaded =
  | { readonly at: 'new'; readonly etag: string | undefined; readonly lastModified: string | undefined }
  | { readonly at: 'same' }
  | { readonly at: 'moved'; readonly to: string }
  | { readonly at: 'failed'; readonly why: string };

/** Downloads a file. It never rejects. */
export type Download = (asked: DownloadRequest) => Promise<Downloaded>;

const failed = (why: string): Downloaded => ({ at: 'failed', why });

/** Downloads over HTTPS. */
export const download: Download = async asked =>
  new Promise(resolve => {
    const { url, address, roots, etag, lastModified } = asked;
    const host = url.hostname.replace(/^\[(.*)\]$/, '$1');
    const sent = request({
      ...{ host: address, port: url.port === '' ? 443 : Number(url.port), path: url.pathname + url.search },
      ...{ method: 'GET', agent: false, maxHeaderSize: MOST_HEADER_BYTES, setHost: false },
      headers: {
        host: url.host,
        accept: '*/*',
        'accept-encoding': 'identity',
        connection: 'close',
        'user-agent': 'dotstub',
        ...(etag === undefined ? {} : { 'if-none-match': etag }),
        ...(lastModified === undefined ? {} : { 'if-modified-since': lastModified }),
      },
      // SNI is for names only (RFC 6066 §3); without it, the certificate must hold the address.
      servername: isIP(host) === 0 ? host : '',
      ...(roots === undefined ? {} : { ca: roots }),
      timeout: PAUSE_MS,
    });
    const finish = (result: Downloaded): void => {
      clearTimeout(timer);
      sent.destroy();
      resolve(result);
    };
    const timer = setTimeout(() => finish(failed('it took too long')), WHOLE_MS).unref();
    sent.on('timeout', () => finish(failed('the server has stopped sending')));
    sent.on('socket', socket => socket.unref());
    sent.on('error', error => finish(failed(wordsFor(error))));
    sent.on('upgrade', () => finish(failed('the server changed the protocol')));
    sent.on('response', message => void received(message, asked).then(finish));
    sent.end();
  });

async function received(message: IncomingMessage, asked: DownloadRequest): Promise<Downloaded> {
  const { statusCode = 0, headers } = message;
  if (statusCode === 304) return { at: 'same' };
  if (statusCode >= 300 && statusCode < 400 && headers.location !== undefined)
    return { at: 'moved', to: headers.location };
  if (statusCode !== 200) return failed(`the server answered with status ${statusCode}`);
  if (headers['content-encoding'] !== undefined && headers['content-encoding'] !== 'identity')
    return failed('the server sent it compressed, which was not asked for');
  if (/^text\/html\b/i.test(headers['content-type'] ?? '')) return failed('the server sent a web page in its place');
  // Its end is then the end of the connection, which anybody on the way can bring about.
  if (headers['content-length'] === undefined && headers['transfer-encoding'] === undefined)
    return failed('the server did not say how long it is');
  const why = await written(message, asked);
  if (why !== undefined) return failed(why);
  return { at: 'new', etag: headers.etag, lastModified: headers['last-modified'] };
}

/** Writes a body to disk. @returns why it is not there */
async function written(message: IncomingMessage, { path, mostBytes }: DownloadRequest): Promise<string | undefined> {
  const temporary = `${path}.new`;
  let file: FileHandle | undefined;
  try {
    await rm(temporary, { force: true });
    const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;
    file = await open(temporary, flags, 0o600);
    let bytes = 0;
    for await (const piece of message as AsyncIterable<Buffer>) {
      bytes += piece.length;
      if (bytes > mostBytes) throw new TooLong(`it is larger than ${mostBytes} octets`);
      for (let at = 0; at < piece.length;) at += (await file.write(piece, at)).bytesWritten;
    }
    await file.sync();
    await file.close();
    file = undefined;
    await rename(temporary, path);
    return undefined;
  } catch (error) {
    await file?.close().catch(() => undefined);
    await rm(temporary, { force: true }).catch(() => undefined);
    if (error instanceof TooLong) return error.message;
    if (!isSystemError(error) && !(error instanceof Error && 'code' in error)) throw error;
    return wordsFor(error);
  }
}

/** A body that is longer than it may be. */
class TooLong extends Error {}
