// The files that a plan is made of: certificates, keys, trusted roots, secrets. They are read once, and what is wrong with any
// of them is told together.

import { type OptionProblem, StartError } from './start-error.js';

/** A file as it was when it was read. */
export interface FileContents {
  readonly path: string;
  readonly octets: Buffer;
  /** The digest of the octets. */
  readonly digest: string;
}

/** A certificate chain and its private key, PEM. */
export interface CertificatePair {
  readonly certificate: FileContents;
  readonly key: FileContents;
}

/** The options with the paths of a pair. */
export type PairOptions = Readonly<Record<'certificate' | 'key', string>>;

/** Reads the files of a plan. All functions throw StartError, with the option to correct. */
export interface PlanFiles {
  readonly read: (path: string, option: string) => FileContents;
  /** Reads a file to which others must have no access. */
  readonly readSecret: (path: string, option: string) => FileContents;
  /** The system's trusted roots; undefined: those of Node.js are used. */
  systemRoots(): string | undefined;
  checkRoots(file: FileContents, option: string): void;
  checkPair(pair: CertificatePair, options: PairOptions): void;
  /** Checks that there is a post-quantum key exchange here. */
  checkPq(option: string): void;
}

/** Reads the files of a plan, and goes on after one that cannot be used, so that all of them are told at once. */
export class FileReader {
  readonly problems: OptionProblem[] = [];
  readonly read: FileContents[] = [];

  /**
   * @param texts the texts of the options; the digests of the files are added
   */
  constructor(
    private readonly files: PlanFiles,
    private readonly texts: Map<string, string>,
  ) {}

  /** What a function returns; undefined: it has failed, and the problem is noted. */
  attempt<T>(use: () => T): T | undefined {
    try {
      return use();
    } catch (error) {
      if (!(error instanceof StartError)) throw error;
      this.problems.push(...error.problems);
      return undefined;
    }
  }

  /** Trusted roots: those of an option, else those of the system. */
  roots(given: string | undefined, option: string): FileContents | undefined {
    const path = given ?? this.files.systemRoots();
    const file = path === undefined ? undefined : this.file(path, option);
    if (file !== undefined) this.attempt(() => this.files.checkRoots(file, option));
    return file;
  }

  /** A certificate and its key; undefined: they are not both given. */
  pair(paths: PairPaths, options: PairOptions): CertificatePair | undefined {
    if (paths.certificate === undefined || paths.key === undefined) return undefined;
    const certificate = this.file(paths.certificate, options.certificate);
    const key = this.file(paths.key, options.key);
    if (certificate === undefined || key === undefined) return undefined;
    this.attempt(() => this.files.checkPair({ certificate, key }, options));
    return { certificate, key };
  }

  /** A secret: what `use` makes of a file; undefined: it is not given, or cannot be used. @param expected what it holds */
  secret<T>(
    path: string | undefined,
    option: string,
    expected: string,
    use: (octets: Buffer) => T | undefined,
  ): T | undefined {
    const file = path === undefined ? undefined : this.file(path, option, () => this.files.readSecret(path, option));
    const used = file && use(file.octets);
    if (file !== undefined && used === undefined)
      this.problems.push({ path: option, words: `${file.path} does not hold ${expected}` });
    return used;
  }

  private file(
    path: string,
    option: string,
    read = (): FileContents => this.files.read(path, option),
  ): FileContents | undefined {
    const contents = this.attempt(read);
    if (contents === undefined) return undefined;
    this.read.push(contents);
    this.texts.set(option, `${this.texts.get(option) ?? ''} ${contents.digest}`);
    return contents;
  }
}

type PairPaths = Readonly<Record<'certificate' | 'key', string | undefined>>;
