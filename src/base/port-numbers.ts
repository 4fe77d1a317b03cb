// Port numbers that IANA has assigned.

/** DNS in cleartext over UDP and TCP (RFC 1035 §4.2). */
export const DNS_PORT = 53;

/** DNS over TLS (RFC 7858 §3.1). */
export const DOT_PORT = 853;

/** HTTPS, and so DNS over HTTPS (RFC 8484 §3). */
export const HTTPS_PORT = 443;
