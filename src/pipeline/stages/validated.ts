// Validates answers (RFC 4035 §5), as the mode says. pipeline/validation does the work.

import { TYPE } from '../../wire/rrtype.js';
import type { Query } from '../query.js';
import type { Stage } from '../stage.js';
import type { Validations } from '../validation/validations.js';

/** Signatures are always fetched and stored, and sent to the clients that ask for them. */
const withSignatures = (query: Query): Query => (query.dnssecOk ? query : query.derive({ dnssecOk: true }));

/** RRSIG records have no signatures themselves. */
const isSignatureType = (type: number): boolean => type === TYPE.RRSIG || type === TYPE.SIG;

/** Makes the stage. */
export function validated(validations: Validations): Stage {
  return next => (query, settle) => {
    switch (validations.mode) {
      case 'off':
      case 'trust_ad':
        return next(withSignatures(query), settle);
      case 'require':
      case 'prefer':
        // CD: the client validates (RFC 6840 §5.9).
        if (query.checkingDisabled) next(withSignatures(query), settle);
        else if (isSignatureType(query.type)) next(query.derive({ dnssecOk: true, checkingDisabled: true }), settle);
        else validations.begin(query, next, settle);
    }
  };
}
