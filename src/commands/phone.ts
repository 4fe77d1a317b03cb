// `dotstub phone`: shows phones the way to this daemon, with a QR code, a page and a profile.

import { isIP } from '../base/address.js';
import { hostName } from '../config/kinds.js';
import { problemReport } from '../config/load.js';
import { parseArguments } from './arguments.js';
import { type Command, UsageError } from './command.js';
import { configurationOf } from './installed.js';
import { showPhones } from './phone-session.js';
import { printProblem } from './print.js';

export const phoneCommand: Command = {
  name: 'phone',
  usage: 'phone [NAME] [--check] [--address ADDRESS] [--port N] [--ca FILE] [--config FILE] [--json]',
  summary: 'set phones up for listen_tls and listen_https: a QR code, and a page for ten minutes',
  details: `Looks at what the running daemon shows to clients of listen_tls and listen_https, as a phone would: the chain of its
certificate, its name, dates, key and signatures, and where the name leads. What a phone would not accept is said, with
what to do. If phones of one kind at least accept it, a QR code leads them to a page, over HTTP in the local network:
for Android the host name to type, for iPhone, iPad and Mac a configuration profile. The profile is not signed, and the
phone says so. The page is there for ten minutes, or until Ctrl-C, and for clients of access.allow alone.

NAME is the host name that phones are to use; left out: the first one in the certificate.

Options:
  --check            look, and serve nothing
  --address ADDRESS  at which of its addresses phones ask; left out: at those that NAME has, else at the first ones
  --port N           the port of the page, for a firewall that has to let it in; left out: any
  --ca FILE          authorities of yours, PEM, which the profile brings to iPhones. They are then trusted there, and
                     not on Android, which has to be left at "Automatic"
  --config FILE      the daemon's configuration; left out: /etc/dotstub/dotstub.yaml, if it is there
  --socket PATH      the control socket
  --json             print what was found, and the URL, as a line of JSON

Exit code: 0 phones accept it, 1 phones of some kind would not, or nothing listens, 2 bad usage.`,
  async run(args) {
    const { positionals, value, flag } = parseArguments(
      args,
      {
        ...{ check: { type: 'boolean' }, json: { type: 'boolean' }, address: { type: 'string' } },
        ...{ port: { type: 'string' }, ca: { type: 'string' }, config: { type: 'string' }, socket: { type: 'string' } },
      },
      1,
    );
    const file = value('config');
    const checked = configurationOf(file);
    if (!checked.ok) {
      printProblem(problemReport(file ?? '', checked.problems));
      return 2;
    }
    const address = value('address');
    if (address !== undefined && (isIP(address) === 0 || address.includes('%')))
      throw new UsageError(`--address ${JSON.stringify(address)} is not an IP address`);
    return showPhones(checked.config, {
      ...{ name: nameFrom(positionals[0]), address, port: portFrom(value('port')), ca: value('ca') },
      ...{ socket: value('socket'), onlyCheck: flag('check'), json: flag('json') },
    });
  },
};

/** @throws UsageError */
function nameFrom(text: string | undefined): string | undefined {
  if (text === undefined) return undefined;
  const name = hostName.read(text);
  if (!name.ok) throw new UsageError(`NAME ${JSON.stringify(text)} is not a host name`);
  return name.value.toLowerCase().replace(/\.$/, '');
}

/** @throws UsageError */
function portFrom(text: string | undefined): number {
  if (text === undefined) return 0;
  if (!/^\d{1,5}$/.test(text) || Number(text) < 1 || Number(text) > 65535)
    throw new UsageError(`--port ${JSON.stringify(text)} is not allowed: 1 to 65535`);
  return Number(text);
}
