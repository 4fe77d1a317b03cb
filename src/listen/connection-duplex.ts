// A connection as a stream of Node.js, for what only reads those.

import { Duplex } from 'node:stream';

import type { Connection } from './connection.js';

/** The stream. It owns the connection. */
export class ConnectionDuplex extends Duplex {
  constructor(private readonly connection: Connection) {
    super({ allowHalfOpen: true });
    connection.on('data', octets => {
      if (!this.push(Buffer.from(octets))) connection.pause();
    });
    connection.on('end', () => this.push(null));
    connection.on('close', () => this.destroy());
  }

  /** node:http calls this after the last response of a connection. */
  destroySoon(): void {
    if (this.writable) this.end();
    if (this.writableFinished) this.destroy();
    else this.once('finish', () => this.destroy());
  }

  override _read(): void {
    if (this.connection.isPaused()) this.connection.resume();
  }

  override _write(octets: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    this.send(octets, done);
  }

  override _writev(chunks: readonly { readonly chunk: Buffer }[], done: (error?: Error | null) => void): void {
    // In one TLS record.
    this.send(Buffer.concat(chunks.map(({ chunk }) => chunk)), done);
  }

  override _final(done: () => void): void {
    this.connection.end();
    done();
  }

  override _destroy(_error: Error | null, done: (error: Error | null) => void): void {
    this.connection.destroy();
    done(null);
  }

  private send(octets: Buffer, done: (error?: Error | null) => void): void {
    // What is written after the end of a connection is taken by nobody.
    if (this.connection.destroyed) return done(new Error('the connection is closed'));
    // TLS has no empty records.
    if (octets.length === 0) return done();
    let isTold = false;
    const taken = (): void => {
      if (!isTold) done();
      isTold = true;
    };
    this.connection.write(octets, taken);
    // Then it need not be told.
    if (this.connection.writableLength === 0) taken();
  }
}
