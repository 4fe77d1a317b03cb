// What a client of the benchmarks asks TLS for.

/** The options of a TLS connection to a server on this machine, whatever its certificate. @param alpn the id of its protocol */
export const tlsOptions = (port: number, alpn: 'dot' | 'h2' = 'dot') => ({
  host: '127.0.0.1',
  port,
  servername: 'dns.test',
  rejectUnauthorized: false,
  ALPNProtocols: [alpn],
});
