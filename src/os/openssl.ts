// TLS of servers, by the OpenSSL that is in Node.js, whose functions addons may use. Node.js itself needs several times
// more for a handshake: a socket, a TLS layer over it, and their streams.
//
// What keeps memory safe:
// - Each SSL_CTX and each SSL has one owner, an object of TlsContext or TlsConnection. It frees it once, and forgets the
//   pointer then; afterwards its methods call nothing. An SSL holds its SSL_CTX, which OpenSSL counts: a context may be
//   freed while connections of it are open.
// - All calls are made by one thread, and return before anything else happens in it: OpenSSL keeps no address of a buffer.
//   A write that the kernel has not taken is repeated with the same octets, wherever they are then.
// - Octets that OpenSSL reads later, the list of protocols, belong to the object that is never freed.
// - The function that C code calls (ALPN) is registered once in each thread, and never taken back. It does not throw, and
//   frees nothing: OpenSSL is in the middle of a handshake then.
// - After a failure nothing but `free` is called. The queue of errors is of the thread, and what is in it would decide what
//   became of another connection: whatever may have put something there empties it. Octets that were read or written put
//   nothing there.

import { constants } from 'node:crypto';
import { createSecureContext, DEFAULT_CIPHERS } from 'node:tls';

import { type Koffi, type Library, type Unavailable, withKoffi } from './koffi.js';
import type { Room } from './libc.js';

/** Certificate chain and key, PEM. */
export interface ServerCredentials {
  readonly cert: Buffer | string;
  readonly key: Buffer | string;
}

/** What a context is made of. */
export interface TlsContextOptions {
  readonly credentials: ServerCredentials;
  /** Of TICKET_KEY_BYTES. */
  readonly ticketKey: Buffer;
}

/** Octets of a key of tickets: its name, 16 octets, then those that it authenticates and encrypts with. */
export const TICKET_KEY_BYTES = 80;

/** Results below 0 of calls for a connection: it must be called again when there is something to read, or room to write; */
export const WANTS_READ = -2;
export const WANTS_WRITE = -3;
/** or it can only be freed. */
export const FAILED = -1;
/** The client has ended its side in good order, or closed it. */
export const ENDED = 0;

/** Flags and numbers of OpenSSL 3, the same in all of its versions. */
const SSL = {
  ERROR_WANT_READ: 2,
  ERROR_WANT_WRITE: 3,
  ERROR_ZERO_RETURN: 6,
  /** Without it, the end of a client that sends no close_notify would be an error. Messages have lengths of their own. */
  OP_IGNORE_UNEXPECTED_EOF: 1 << 7,
  OP_CIPHER_SERVER_PREFERENCE: 1 << 22,
  /** Of TLS 1.2: each one costs us a signature, and the client nothing (CVE-2011-1473). */
  OP_NO_RENEGOTIATION: 1 << 30,
  MODE_ENABLE_PARTIAL_WRITE: 1,
  MODE_ACCEPT_MOVING_WRITE_BUFFER: 2,
  /** Reads on after a record without data: a client could send those without end. */
  MODE_AUTO_RETRY: 4,
  /** A connection that waits has no buffers. */
  MODE_RELEASE_BUFFERS: 16,
  CTRL_MODE: 33,
  CTRL_SET_READ_AHEAD: 41,
  CTRL_SET_SESS_CACHE_MODE: 44,
  CTRL_SET_TICKET_KEYS: 59,
  CTRL_CLEAR_MODE: 78,
  CTRL_CHAIN_CERT: 89,
  CTRL_SET_MIN_PROTO_VERSION: 123,
  TLS1_2: 0x0303,
  TLSEXT_ERR_OK: 0,
  TLSEXT_ERR_ALERT_FATAL: 2,
  NPN_NEGOTIATED: 1,
} as const;
const OLDEST_VERSION = 0x30000000;
const ERROR_TEXT_BYTES = 256;
/** The largest ALPN id (RFC 7301 §3.1). */
const MOST_ALPN_BYTES = 255;

/** The functions. A pointer is a number; 0: null. Buffers are only lent to a call. */
const functionsOf = (library: Library) =>
  ({
    TLS_server_method: library.func('uintptr_t TLS_server_method()'),
    CTX_new: library.func('uintptr_t SSL_CTX_new(uintptr_t)'),
    CTX_free: library.func('void SSL_CTX_free(uintptr_t)'),
    CTX_ctrl: library.func('long SSL_CTX_ctrl(uintptr_t, int, long, void *)'),
    CTX_ctrlPointer: library.func('long SSL_CTX_ctrl(uintptr_t, int, long, uintptr_t)'),
    CTX_set_options: library.func('uint64_t SSL_CTX_set_options(uintptr_t, uint64_t)'),
    CTX_set_cipher_list: library.func('int SSL_CTX_set_cipher_list(uintptr_t, void *)'),
    CTX_set_ciphersuites: library.func('int SSL_CTX_set_ciphersuites(uintptr_t, void *)'),
    CTX_use_certificate: library.func('int SSL_CTX_use_certificate(uintptr_t, uintptr_t)'),
    CTX_use_PrivateKey: library.func('int SSL_CTX_use_PrivateKey(uintptr_t, uintptr_t)'),
    CTX_check_private_key: library.func('int SSL_CTX_check_private_key(uintptr_t)'),
    CTX_set_alpn_select_cb: library.func('void SSL_CTX_set_alpn_select_cb(uintptr_t, void *, void *)'),
    select_next_proto: library.func('int SSL_select_next_proto(void *, void *, void *, uint, void *, uint)'),
    new: library.func('uintptr_t SSL_new(uintptr_t)'),
    free: library.func('void SSL_free(uintptr_t)'),
    set_fd: library.func('int SSL_set_fd(uintptr_t, int)'),
    accept: library.func('int SSL_accept(uintptr_t)'),
    read: library.func('int SSL_read(uintptr_t, uintptr_t, int)'),
    write: library.func('int SSL_write(uintptr_t, void *, int)'),
    hasPending: library.func('int SSL_has_pending(uintptr_t)'),
    shutdown: library.func('int SSL_shutdown(uintptr_t)'),
    get0_alpn_selected: library.func('void SSL_get0_alpn_selected(uintptr_t, void *, void *)'),
    copy: library.func('void *memcpy(void *, uintptr_t, size_t)'),
    get_error: library.func('int SSL_get_error(uintptr_t, int)'),
    clearErrors: library.func('void ERR_clear_error()'),
    nextError: library.func('ulong ERR_get_error()'),
    errorText: library.func('void ERR_error_string_n(ulong, void *, size_t)'),
    BIO_new_mem_buf: library.func('uintptr_t BIO_new_mem_buf(void *, int)'),
    BIO_free: library.func('int BIO_free(uintptr_t)'),
    read_X509: library.func('uintptr_t PEM_read_bio_X509(uintptr_t, void *, void *, void *)'),
    read_X509_AUX: library.func('uintptr_t PEM_read_bio_X509_AUX(uintptr_t, void *, void *, void *)'),
    X509_free: library.func('void X509_free(uintptr_t)'),
    read_PrivateKey: library.func('uintptr_t PEM_read_bio_PrivateKey(uintptr_t, void *, void *, void *)'),
    PKEY_free: library.func('void EVP_PKEY_free(uintptr_t)'),
  }) as const;
type Functions = ReturnType<typeof functionsOf>;

/** Makes contexts. */
export interface OpenSsl {
  /** @throws the error of OpenSSL if certificate and key cannot be used together */
  context(options: TlsContextOptions): TlsContext;
}

/**
 * Loads the functions, or says why they cannot be used.
 * @param alpn the protocols that clients may choose from, the preferred one first (RFC 7301)
 */
export const loadOpenSsl = (alpn: readonly string[]): OpenSsl | Unavailable =>
  withKoffi(koffi => {
    const library = koffi.load(null);
    const version = library.func('ulong OpenSSL_version_num()')();
    if (version < OLDEST_VERSION) return { unavailable: `OpenSSL is too old: ${version.toString(16)}` };
    const openssl = functionsOf(library);
    const select = alpnSelection(koffi, openssl, alpn);
    return { context: options => new TlsContext(openssl, select, options) };
  });

/** The address of the function that chooses among the protocols of a client, which must offer one of ours. */
function alpnSelection(koffi: Koffi, openssl: Functions, alpn: readonly string[]): bigint {
  // OpenSSL copies what was chosen from it after the call: it is referenced by the function for ever.
  const ours = Buffer.concat(alpn.map(id => Buffer.from(`${String.fromCharCode(id.length)}${id}`, 'latin1')));
  const select = (_ssl: bigint, out = 0n, outBytes = 0n, offered = 0n, offeredBytes = 0n): number => {
    const chosen = openssl.select_next_proto(out, outBytes, ours, ours.length, offered, offeredBytes);
    return chosen === SSL.NPN_NEGOTIATED ? SSL.TLSEXT_ERR_OK : SSL.TLSEXT_ERR_ALERT_FATAL;
  };
  const type = koffi.proto('int', ['uintptr_t', 'void *', 'void *', 'void *', 'uint', 'void *']);
  return koffi.register(select, koffi.pointer(type));
}

/** The suite that every server of TLS 1.3 has (RFC 8446 §9.1). */
const CHEAPEST_SUITE = 'TLS_AES_128_GCM_SHA256';

/**
 * The suites, the cheapest first: a handshake hashes a lot, and processors have instructions for SHA-256 only. An order that
 * somebody gave to Node.js (`--tls-cipher-list`) stays.
 */
function byCost(): readonly string[] {
  const names = DEFAULT_CIPHERS.split(':');
  if (DEFAULT_CIPHERS !== constants.defaultCoreCipherList) return names;
  return [CHEAPEST_SUITE, ...names.filter(name => name !== CHEAPEST_SUITE)];
}

/** A text as C code reads it. */
const cText = (text: string): Buffer => Buffer.from(`${text}\0`);

/** Certificate, key and rules of the TLS connections that are opened with it. */
export class TlsContext {
  /** Null after `free`. */
  private pointer: number;

  /** @throws the error of OpenSSL if certificate and key cannot be used together */
  constructor(
    private readonly openssl: Functions,
    alpnSelect: bigint,
    { credentials, ticketKey }: TlsContextOptions,
  ) {
    openssl.clearErrors();
    this.pointer = this.must(openssl.CTX_new(openssl.TLS_server_method()));
    try {
      this.setRules(alpnSelect, ticketKey);
      this.setCertificates(Buffer.from(credentials.cert));
      this.setKey(Buffer.from(credentials.key));
      this.must(openssl.CTX_check_private_key(this.pointer));
    } catch (error) {
      this.free();
      // Node.js says what is wrong with them in its own words, as everywhere else.
      createSecureContext({ cert: credentials.cert, key: credentials.key });
      throw error;
    }
  }

  /** TLS over a connection that was accepted. @returns undefined: there is no memory for it */
  open(fd: number): TlsConnection | undefined {
    const { openssl, pointer } = this;
    if (pointer === 0) return undefined;
    const ssl = openssl.new(pointer);
    // It does not close the descriptor.
    if (ssl !== 0 && openssl.set_fd(ssl, fd) === 1) return new TlsConnection(openssl, ssl);
    openssl.free(ssl);
    // What it says must not be taken for an error of another connection.
    openssl.clearErrors();
    return undefined;
  }

  /** No connections are opened with it any more. Those that are open go on. */
  free(): void {
    const { pointer } = this;
    this.pointer = 0;
    if (pointer !== 0) this.openssl.CTX_free(pointer);
  }

  private setRules(alpnSelect: bigint, ticketKey: Buffer): void {
    const { openssl, pointer } = this;
    const control = (what: number, value: number, octets: Buffer | null = null): number =>
      openssl.CTX_ctrl(pointer, what, value, octets);
    this.must(control(SSL.CTRL_SET_MIN_PROTO_VERSION, SSL.TLS1_2));
    const { OP_IGNORE_UNEXPECTED_EOF, OP_CIPHER_SERVER_PREFERENCE, OP_NO_RENEGOTIATION } = SSL;
    openssl.CTX_set_options(pointer, OP_IGNORE_UNEXPECTED_EOF | OP_CIPHER_SERVER_PREFERENCE | OP_NO_RENEGOTIATION);
    control(
      SSL.CTRL_MODE,
      SSL.MODE_ENABLE_PARTIAL_WRITE | SSL.MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL.MODE_RELEASE_BUFFERS,
    );
    control(SSL.CTRL_CLEAR_MODE, SSL.MODE_AUTO_RETRY);
    // A record costs one system call instead of two: one for its header, one for the rest.
    control(SSL.CTRL_SET_READ_AHEAD, 1);
    // Clients keep their sessions themselves, as tickets.
    control(SSL.CTRL_SET_SESS_CACHE_MODE, 0);
    this.must(control(SSL.CTRL_SET_TICKET_KEYS, TICKET_KEY_BYTES, ticketKey.subarray(0, TICKET_KEY_BYTES)));
    // Those of Node.js. The names of TLS 1.3 are set apart.
    const isSuite = (name: string): boolean => name.startsWith('TLS_');
    const names = byCost();
    this.must(openssl.CTX_set_cipher_list(pointer, cText(names.filter(name => !isSuite(name)).join(':'))));
    this.must(openssl.CTX_set_ciphersuites(pointer, cText(names.filter(isSuite).join(':'))));
    openssl.CTX_set_alpn_select_cb(pointer, alpnSelect, null);
  }

  /** The certificate, and those that lead from it to an authority. */
  private setCertificates(pem: Buffer): void {
    const { openssl, pointer } = this;
    this.reading(pem, bio => {
      for (let first = true; ; first = false) {
        // As Node.js does it: the first may be a TRUSTED CERTIFICATE.
        const read = first ? openssl.read_X509_AUX : openssl.read_X509;
        const certificate = read(bio, null, null, null);
        if (certificate === 0) {
          if (first) throw this.error();
          return;
        }
        // Both count it once more.
        const isSet = first
          ? openssl.CTX_use_certificate(pointer, certificate)
          : openssl.CTX_ctrlPointer(pointer, SSL.CTRL_CHAIN_CERT, 1, certificate);
        openssl.X509_free(certificate);
        this.must(isSet);
      }
    });
  }

  private setKey(pem: Buffer): void {
    const { openssl, pointer } = this;
    this.reading(pem, bio => {
      // The pass phrase is empty: without one, OpenSSL would ask at the terminal.
      const key = this.must(openssl.read_PrivateKey(bio, null, null, cText('')));
      const isSet = openssl.CTX_use_PrivateKey(pointer, key);
      openssl.PKEY_free(key);
      this.must(isSet);
    });
  }

  private reading(pem: Buffer, read: (bio: number) => void): void {
    const { openssl } = this;
    const copied = Buffer.from(pem);
    const bio = this.must(openssl.BIO_new_mem_buf(copied, copied.length));
    try {
      read(bio);
    } finally {
      openssl.BIO_free(bio);
      // The end of a file is an error, too. The BIO has read from the octets until here.
      openssl.clearErrors();
      copied.fill(0);
    }
  }

  private must(result: number): number {
    if (result > 0) return result;
    throw this.error();
  }

  private error(): Error {
    const { openssl } = this;
    const text = Buffer.alloc(ERROR_TEXT_BYTES);
    openssl.errorText(openssl.nextError(), text, text.length);
    openssl.clearErrors();
    return new Error(text.toString('latin1', 0, text.indexOf(0)));
  }
}

/** TLS over one connection. */
export class TlsConnection {
  /** @param pointer null after `free` */
  constructor(
    private readonly openssl: Functions,
    private pointer: number,
  ) {}

  /** Goes on with the handshake. @returns above 0: it is finished */
  handshake(): number {
    const { openssl, pointer } = this;
    if (pointer === 0) return FAILED;
    const result = openssl.accept(pointer);
    const outcome = result === 1 ? 1 : Math.min(FAILED, this.why(result));
    // Also what was overcome, as a ticket that is not ours.
    openssl.clearErrors();
    return outcome;
  }

  /** What was negotiated by ALPN, after the handshake; undefined: nothing. */
  get alpnProtocol(): string | undefined {
    const { openssl, pointer } = this;
    const at = Buffer.alloc(8);
    const bytes = Buffer.alloc(4);
    if (pointer !== 0) openssl.get0_alpn_selected(pointer, at, bytes);
    const id = Buffer.alloc(Math.min(MOST_ALPN_BYTES, bytes.readUInt32LE()));
    // It belongs to the session, and stays where it is until the next call.
    if (id.length > 0) openssl.copy(id, at.readBigUInt64LE(), id.length);
    return id.length > 0 ? id.toString('latin1') : undefined;
  }

  /** Reads octets. @returns above 0: how many */
  read({ address, bytes }: Room): number {
    const { openssl, pointer } = this;
    if (pointer === 0) return FAILED;
    const result = openssl.read(pointer, address, bytes);
    return result > 0 ? result : this.why(result);
  }

  /** Whether it has taken octets from the connection that were not read yet: the kernel does not tell of them any more. */
  get hasMore(): boolean {
    return this.pointer !== 0 && this.openssl.hasPending(this.pointer) === 1;
  }

  /**
   * Writes octets. What was not taken must be given again before all others.
   * @returns above 0: how many were taken; never `ENDED`
   */
  write(octets: Buffer): number {
    const { openssl, pointer } = this;
    if (pointer === 0) return FAILED;
    const result = openssl.write(pointer, octets, octets.length);
    return result > 0 ? result : Math.min(FAILED, this.why(result));
  }

  /** Says that nothing follows (close_notify), as far as the kernel takes that now. Not after a failure. */
  shutdown(): void {
    if (this.pointer === 0) return;
    this.openssl.shutdown(this.pointer);
    this.openssl.clearErrors();
  }

  /** It must not be used any more. */
  free(): void {
    const { pointer } = this;
    this.pointer = 0;
    if (pointer !== 0) this.openssl.free(pointer);
  }

  private why(result: number): number {
    switch (this.openssl.get_error(this.pointer, result)) {
      case SSL.ERROR_WANT_READ:
        return WANTS_READ;
      case SSL.ERROR_WANT_WRITE:
        return WANTS_WRITE;
      case SSL.ERROR_ZERO_RETURN:
        return ENDED;
      default:
        this.openssl.clearErrors();
        return FAILED;
    }
  }
}
