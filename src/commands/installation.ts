// The steps of "dotstub install" and of its undoing, as lists that depend on the system, so that they can be shown
// before anything is done.

import { join } from 'node:path';

import { SAVED_RESOLV_CONF } from '../config/system.js';

/** One step. */
export type Step =
  /** `keep`: an existing file stays. */
  | { readonly does: 'write'; readonly path: string; readonly text: string; readonly why: string; readonly keep?: true }
  | { readonly does: 'remove'; readonly path: string; readonly why: string }
  /** Moves the file at `path` to `to`, a link as a link; does nothing if `to` exists. */
  | { readonly does: 'save'; readonly path: string; readonly to: string; readonly why: string }
  /** Undoes `save`. */
  | { readonly does: 'restore'; readonly path: string; readonly from: string; readonly why: string }
  | { readonly does: 'run'; readonly command: readonly string[]; readonly why: string; readonly mayFail?: true }
  /** Sends a query to the daemon, and stops the installation if it is not answered. */
  | { readonly does: 'ask'; readonly why: string };

/** Facts about the system. */
export interface System {
  /** The program that writes /etc/resolv.conf. */
  readonly resolvConf: 'resolved' | 'network-manager' | 'file';
  /** Whether the service manager is running; false: the tree will be booted later. */
  readonly running: boolean;
  /** The program as the service starts it: Node.js and its script. */
  readonly program: readonly string[];
  /** The text of a file of the package, by name. */
  readonly packaged: (name: string) => string;
}

/** The options of the command. */
export interface Wishes {
  /** Whether the system uses it as its resolver. */
  readonly dns: boolean;
}

/** The first words of every file that replaces another. */
export const MARK = '# Written by "dotstub install"';

const UNITS = '/etc/systemd/system';
const CONFIG = '/etc/dotstub/dotstub.yaml';
const RESOLV_CONF = '/etc/resolv.conf';
const RESOLVED_DROP_IN = '/etc/systemd/resolved.conf.d/dotstub.conf';
const NM_DROP_IN = '/etc/NetworkManager/conf.d/dotstub.conf';
const UNIT_FILES = ['dotstub.service', 'dotstub.socket', 'dotstub-tls.socket'];

const FIRST_CONFIG = `# dotstub's configuration; "dotstub check-config ${CONFIG}" checks it, "systemctl reload dotstub" takes it over.
# As it is: the resolvers that the network gives, over TLS where they speak it, else in cleartext. With servers of your
# choice, nothing leaves in cleartext:
#
# upstream:
#   servers:
#     - name: dns.quad9.net
#       addresses: [9.9.9.9, 149.112.112.112, "2620:fe::fe"]
preset: laptop
`;

/** Installs and starts it, and makes the system use it. */
export function installSteps({ resolvConf, running, program, packaged }: System, { dns }: Wishes): Step[] {
  return [
    { does: 'write', path: CONFIG, text: FIRST_CONFIG, why: 'a configuration to begin with', keep: true },
    ...UNIT_FILES.map((name): Step => ({
      does: 'write',
      path: join(UNITS, name),
      text: packaged(name).replaceAll('/usr/bin/env dotstub', program.join(' ')),
      why: 'what systemd has to know',
    })),
    ...(running ? [{ does: 'run', command: ['systemctl', 'daemon-reload'], why: 'systemd reads it' } as const] : []),
    {
      does: 'run',
      command: ['systemctl', ...(running ? ['enable', '--now'] : ['enable']), 'dotstub.socket', 'dotstub.service'],
      why: running ? 'starts it, now and with the system' : 'starts it with the system',
    },
    ...(dns
      ? [
          ...(running ? [{ does: 'ask', why: 'it has to answer before anybody depends on it' } as const] : []),
          ...pointing(resolvConf, running),
        ]
      : []),
  ];
}

function pointing(resolvConf: System['resolvConf'], running: boolean): Step[] {
  const reload = (unit: string, why: string): Step[] =>
    running ? [{ does: 'run', command: ['systemctl', 'reload-or-restart', unit], why }] : [];
  const file: Step[] = [
    {
      does: 'save',
      path: RESOLV_CONF,
      to: SAVED_RESOLV_CONF,
      why: "the way back, and where the network's own resolvers are found",
    },
    {
      does: 'write',
      path: RESOLV_CONF,
      text: `${MARK}; "dotstub uninstall" brings back what was here.\nnameserver 127.0.0.1\nnameserver ::1\noptions edns0 trust-ad\n`,
      why: 'programs ask dotstub',
    },
  ];
  switch (resolvConf) {
    case 'resolved':
      return [
        {
          does: 'write',
          path: RESOLVED_DROP_IN,
          text: `${MARK}. All names go to dotstub, which caches and validates.\n[Resolve]\nDNS=127.0.0.1 ::1\nDomains=~.\nDNSSEC=no\nDNSOverTLS=no\nCache=no\n`,
          why: 'systemd-resolved asks dotstub',
        },
        ...reload('systemd-resolved.service', 'it reads that'),
      ];
    case 'network-manager':
      return [
        {
          does: 'write',
          path: NM_DROP_IN,
          text: `${MARK}: /etc/resolv.conf stays as it is.\n[main]\ndns=none\n`,
          why: 'NetworkManager leaves /etc/resolv.conf alone',
        },
        ...reload('NetworkManager.service', 'it reads that'),
        ...file,
      ];
    case 'file':
      return file;
  }
}

/**
 * Removes it; configuration and state stay.
 * @param isOurs whether a file exists and was written by `install`
 */
export function uninstallSteps(
  running: boolean,
  exists: (path: string) => boolean,
  isOurs: (path: string) => boolean,
): Step[] {
  const reload = (unit: string): Step[] =>
    running ? [{ does: 'run', command: ['systemctl', 'reload-or-restart', unit], why: 'it reads that' }] : [];
  const units = UNIT_FILES.filter(name => exists(join(UNITS, name)));
  return [
    ...(exists(RESOLVED_DROP_IN)
      ? [
          { does: 'remove', path: RESOLVED_DROP_IN, why: 'systemd-resolved asks whom it asked before' } as const,
          ...reload('systemd-resolved.service'),
        ]
      : []),
    ...(exists(SAVED_RESOLV_CONF)
      ? [
          {
            does: 'restore',
            path: RESOLV_CONF,
            from: SAVED_RESOLV_CONF,
            why: 'programs ask whom they asked before',
          } as const,
        ]
      : // There was none.
        isOurs(RESOLV_CONF)
        ? [{ does: 'remove', path: RESOLV_CONF, why: 'there was none before' } as const]
        : []),
    ...(exists(NM_DROP_IN)
      ? [
          { does: 'remove', path: NM_DROP_IN, why: 'NetworkManager writes /etc/resolv.conf again' } as const,
          ...reload('NetworkManager.service'),
        ]
      : []),
    ...(units.length === 0 ? [] : removal(units, running)),
  ];
}

/** Stops units that are installed, and removes them. systemctl would not know others. */
function removal(units: readonly string[], running: boolean): Step[] {
  return [
    {
      does: 'run',
      // The sockets first: a query would start the service again.
      command: ['systemctl', 'disable', ...(running ? ['--now'] : []), ...units.toReversed()],
      why: 'stops it',
      mayFail: true,
    },
    ...units.map((name): Step => ({ does: 'remove', path: join(UNITS, name), why: 'systemd forgets it' })),
    ...(running ? [{ does: 'run', command: ['systemctl', 'daemon-reload'], why: 'systemd reads it' } as const] : []),
  ];
}

/** A step in words. */
export function stepText(step: Step): string {
  switch (step.does) {
    case 'write':
      return `write ${step.path}${step.keep === true ? ' if it is not there' : ''}: ${step.why}`;
    case 'remove':
      return `remove ${step.path}: ${step.why}`;
    case 'save':
      return `move ${step.path} to ${step.to}: ${step.why}`;
    case 'restore':
      return `move ${step.from} back to ${step.path}: ${step.why}`;
    case 'run':
      return `run ${step.command.join(' ')}: ${step.why}`;
    case 'ask':
      return `ask dotstub for a name: ${step.why}`;
  }
}
