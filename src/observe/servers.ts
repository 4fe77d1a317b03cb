// The series of servers. They are made with the first server of a label and removed with the last, because a server
// that is not used any more must not be shown.

import {
  type ClosedBy,
  isEncrypted,
  type ServerObserver,
  type UpstreamError,
  type UpstreamProtocol,
} from '../base/observer.js';
import { PROTOCOLS, RCODE_LABELS, type MetricRow, SERVER_COUNTERS, SERVER_HISTOGRAMS } from './catalogue.js';
import { byKey, Counters, Distribution, type Family, keysOf, PREFIX, type Tally, within } from './families.js';

/** RCODEs below this have a tally that is found by index. */
const INDEXED_RCODES = 24;

/** Sums over all servers since the start. */
export interface SentQueries {
  encrypted: number;
  cleartext: number;
}

/** The series of one label. */
class Series {
  readonly counters: Readonly<Record<keyof typeof SERVER_COUNTERS, Counters>>;
  readonly histograms: Readonly<Record<keyof typeof SERVER_HISTOGRAMS, Distribution>>;
  readonly queries: Readonly<Record<UpstreamProtocol, Tally>>;
  readonly responses: readonly Tally[];
  /** How many servers with this label are in use. */
  users = 0;

  constructor(rcodeName: (rcode: number) => string) {
    this.counters = byKey(keysOf(SERVER_COUNTERS), key => new Counters(SERVER_COUNTERS[key]));
    this.histograms = byKey(keysOf(SERVER_HISTOGRAMS), key => new Distribution(SERVER_HISTOGRAMS[key].bounds));
    this.queries = byKey(PROTOCOLS, protocol => this.counters.upstream_queries_total.at(protocol));
    this.responses = Array.from({ length: INDEXED_RCODES }, (_, rcode) =>
      this.counters.upstream_responses_total.at(within(rcodeName(rcode), RCODE_LABELS)),
    );
  }
}

/** Counts for one server. */
class CountedServer implements ServerObserver {
  private ended = false;

  constructor(
    private readonly series: Series,
    private readonly sent: SentQueries,
    private readonly onEnd: () => void,
  ) {}

  query(protocol: UpstreamProtocol): void {
    if (isEncrypted(protocol)) this.sent.encrypted++;
    else this.sent.cleartext++;
    this.series.queries[protocol].count++;
  }

  response(rcode: number, seconds: number): void {
    const { responses, counters, histograms } = this.series;
    (responses[rcode] ?? counters.upstream_responses_total.at('other')).count++;
    histograms.upstream_request_duration_seconds.observe(seconds);
  }

  error(code: UpstreamError): void {
    this.series.counters.upstream_errors_total.at(code).count++;
  }

  connect(resumed: boolean, handshakeSeconds: number): void {
    this.series.counters.upstream_connects_total.at(String(resumed)).count++;
    this.series.histograms.upstream_handshake_duration_seconds.observe(handshakeSeconds);
  }

  close(by: ClosedBy): void {
    this.series.counters.upstream_connection_closes_total.at(by).count++;
  }

  probe(result: 'ok' | 'failed'): void {
    this.series.counters.probes_total.at(result).count++;
  }

  end(): void {
    if (this.ended) return;
    this.ended = true;
    this.onEnd();
  }
}

/** The series of all servers. */
export class Servers {
  readonly sent: SentQueries = { encrypted: 0, cleartext: 0 };
  /** By label: a server and its successor share one for some time. */
  private readonly series = new Map<string, Series>();

  constructor(private readonly rcodeName: (rcode: number) => string) {}

  /** Begins to count for a server. */
  observe(label: string): ServerObserver {
    const known = this.series.get(label);
    const series = known ?? new Series(this.rcodeName);
    if (known === undefined) this.series.set(label, series);
    series.users++;
    return new CountedServer(series, this.sent, () => {
      series.users--;
      if (series.users === 0) this.series.delete(label);
    });
  }

  /** TLS connections by server: how many were made, and how many of them resumed a session. */
  connects(): { readonly upstream: string; readonly made: number; readonly resumed: number }[] {
    return [...this.series].map(([upstream, { counters }]) => {
      const resumed = counters.upstream_connects_total.at('true').count;
      return { upstream, made: resumed + counters.upstream_connects_total.at('false').count, resumed };
    });
  }

  families(): Family[] {
    const counters = keysOf(SERVER_COUNTERS).map((key): Family => ({
      ...aboutFamily(key, SERVER_COUNTERS[key]),
      type: 'counter',
      samples: () =>
        [...this.series].flatMap(([upstream, series]) =>
          series.counters[key].samples().map(({ labels, value }) => ({ labels: { upstream, ...labels }, value })),
        ),
    }));
    const histograms = keysOf(SERVER_HISTOGRAMS).map((key): Family => ({
      ...aboutFamily(key, SERVER_HISTOGRAMS[key]),
      type: 'histogram',
      bounds: SERVER_HISTOGRAMS[key].bounds,
      samples: () =>
        [...this.series].map(([upstream, series]) => ({
          labels: { upstream },
          distribution: series.histograms[key],
        })),
    }));
    return [...counters, ...histograms];
  }
}

const aboutFamily = (key: string, { help, labels }: MetricRow): Pick<Family, 'name' | 'help' | 'labelNames'> => ({
  name: `${PREFIX}${key}`,
  help,
  labelNames: ['upstream', ...Object.keys(labels)],
});
