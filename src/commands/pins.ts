// `dotstub pins HOST`: prints the public keys of a server, and the TLSA record that its operator may publish.

import { isIP } from '../base/address.js';
import { DOT_PORT } from '../base/port-numbers.js';
import { visible } from '../base/visible.js';
import { hostName } from '../config/kinds.js';
import { parseAddressPort } from '../config/network-kinds.js';
import { tlsaOwner } from '../upstream/dane-lookup.js';
import { fetchChain } from '../upstream/fetch-chain.js';
import { TLSA_MATCHING, TLSA_SELECTOR, TLSA_USAGE, tlsaText } from '../wire/tlsa.js';
import type { ShownCertificate } from '../upstream/identity.js';
import { parseArguments } from './arguments.js';
import { type Command, UsageError } from './command.js';
import { print, printJson, printProblem } from './print.js';

export const pinsCommand: Command = {
  name: 'pins',
  usage: 'pins HOST[:PORT] [--at ADDRESS] [--json]',
  summary: 'print the pins of a DNS-over-TLS server, and a TLSA record for it',
  details: `Connects to HOST (a name or an address) on port 853 and prints the certificates that it shows, the server's own first,
each with the pin that upstream.servers[].pins would hold, and why it would not count there, if so. Who the server is is
not checked, and nothing is asked: compare the pins with what the operator of the server publishes before you trust them.

For operators: if HOST is a name, the TLSA record for the server's own key is printed, too. Published in a signed zone, it
authenticates the server for clients that have dane set. Before the key changes, publish a record for the next key beside
it, and wait until the TTL of the records is over; remove the old record when the new key is in use.

Options:
  --at ADDRESS   connect to this IP address instead of looking HOST up
  --json         as JSON

Exit code: 0 printed, 1 the server could not be reached, 2 bad usage.`,
  async run(args) {
    const {
      positionals: [text],
      flag,
      value,
    } = parseArguments(args, { at: { type: 'string' }, json: { type: 'boolean' } }, 1);
    if (text === undefined) throw new UsageError('pins needs a HOST');
    const { host, port } = split(text);
    const at = value('at');
    if (at !== undefined && isIP(at) === 0) throw new UsageError(`--at ${JSON.stringify(at)} is not an IP address`);
    const found = await fetchChain(at ?? host, port, isIP(host) === 0 ? host : undefined);
    if (typeof found === 'string') {
      printProblem(`dotstub pins: ${at ?? host} port ${port}: ${found}`);
      return 1;
    }
    const record = isIP(host) === 0 ? tlsaRecord(host, port, found) : undefined;
    if (flag('json')) printJson({ host, port, chain: found, tlsa: record }, 2);
    else {
      for (const [i, each] of found.entries()) print((i === 0 ? '' : '\n') + words(each));
      if (record !== undefined)
        print(`\nTLSA record, if you operate the server (see "dotstub pins --help"):\n  ${record}`);
    }
    return 0;
  },
};

function words({ subject, issuer, issuerProved, until, pin, problem }: ShownCertificate): string {
  const lines = [subject, `issued by ${issuer}${issuerProved ? '' : ' (as it says, not proved)'}`];
  lines.push(`valid until ${until}`, `sha256/${pin}`);
  if (problem !== undefined) lines.push(`a pin of this key would not count: ${problem}`);
  return lines.map(visible).join('\n  ');
}

/** The line of a zone file for the server's own key (RFC 7671 §5.1). */
function tlsaRecord(name: string, port: number, [own]: readonly ShownCertificate[]): string | undefined {
  if (own === undefined) return undefined;
  const rdata = tlsaText({
    usage: TLSA_USAGE.DANE_EE,
    selector: TLSA_SELECTOR.SPKI,
    matching: TLSA_MATCHING.SHA2_256,
    data: Buffer.from(own.pin, 'base64'),
  });
  return `${tlsaOwner(name, port)} IN TLSA ${rdata}`;
}

function split(text: string): { host: string; port: number } {
  const whole = isIP(text) !== 0 ? { host: text, port: DOT_PORT } : undefined;
  if (whole !== undefined) return whole;
  const address = parseAddressPort(text);
  if (address?.port !== undefined) return { host: address.address, port: address.port };
  const [, name = '', port] = /^([^:]*)(?::(\d{1,5}))?$/.exec(text) ?? [];
  const read = hostName.read(name);
  if (!read.ok || Number(port ?? DOT_PORT) > 65535)
    throw new UsageError(`HOST ${JSON.stringify(text)} is neither a host name nor an address`);
  return { host: read.value, port: Number(port ?? DOT_PORT) };
}
