// The address of the running daemon, from a command's options.

import { DNS_PORT } from '../base/port-numbers.js';
import { checkConfig } from '../config/check.js';
import { parseAddressPort } from '../config/kinds.js';
import { type ListenAddress, reachable } from '../os/listen-address.js';
import { UsageError } from './command.js';
import { loadConfig, problemReport } from '../config/load.js';

/**
 * The address of `--server`, else the first one in the file of `--config`, else the default. @throws UsageError
 */
export function listenerFrom(server: string | undefined, file: string | undefined): ListenAddress {
  if (server !== undefined) {
    const parsed = parseAddressPort(server);
    if (parsed === undefined)
      throw new UsageError(
        `--server ${JSON.stringify(server)} is not allowed. Allowed: IP:PORT such as 127.0.0.1:5300`,
      );
    return { address: parsed.address, port: parsed.port ?? DNS_PORT };
  }
  const checked = file === undefined ? checkConfig('') : loadConfig(file);
  if (!checked.ok) throw new UsageError(problemReport(file ?? '', checked.problems));
  const { config } = checked;
  const [first] = config.listen;
  if (first === undefined)
    throw new UsageError(`${file ?? 'the configuration'} listens nowhere but over TLS; use --server`);
  return reachable(first);
}
