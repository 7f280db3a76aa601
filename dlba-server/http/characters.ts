/** Which bytes may stand where in a message (RFC 9110 5.6.2 and 5.5, RFC 9112 3.2): tables of 256. */
export const TAB = 9;
export const LF = 10;
export const CR = 13;
export const SPACE = 32;
export const QUOTE = 34;
export const COMMA = 44;
export const ZERO = 48;
export const COLON = 58;
export const SEMICOLON = 59;
export const EQUALS = 61;
export const BACKSLASH = 92;
export const DEL = 127;
const UNDERSCORE = 95;
const HYPHEN = 45;

const TOKEN_CHARACTERS = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
const HOST_CHARACTERS = "-._~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";

function tableOf(isMember: (code: number) => boolean): Uint8Array {
  return Uint8Array.from({ length: 256 }, (_, code) => (isMember(code) ? 1 : 0));
}

export const TOKEN = tableOf((code) => TOKEN_CHARACTERS.includes(String.fromCharCode(code)));
/** Field values and reason phrases: visible bytes, obs-text, space and tab. */
export const VALUE = tableOf((code) => code === TAB || (code >= SPACE && code !== DEL));
/** Visible ASCII. */
export const VISIBLE = tableOf((code) => code > SPACE && code < DEL);
/** Request targets: visible ASCII but for "#", which begins a fragment. */
export const TARGET = tableOf((code) => VISIBLE[code] === 1 && code !== 35);
export const DIGIT = tableOf((code) => code >= ZERO && code <= 57);
/** Registered names as they are in use: no percent-encoding and no sub-delimiters, which read in many ways. */
export const HOST = tableOf((code) => HOST_CHARACTERS.includes(String.fromCharCode(code)));
/** Inside the brackets of an IPv6 address. */
export const IPV6 = tableOf((code) => "0123456789abcdefABCDEF:.".includes(String.fromCharCode(code)));

/** The value of a hexadecimal digit, 255 for all else. */
export const HEX = Uint8Array.from({ length: 256 }, (_, code) => {
  const value = Number.parseInt(String.fromCharCode(code), 16);
  return Number.isNaN(value) ? 255 : value;
});

/**
 * Field names as they are compared: lower case, and "_" read as "-" because gateways to CGI and WSGI take
 * them for the same; 0 for what may not stand in a name.
 */
export const NAME = Uint8Array.from({ length: 256 }, (_, code) => {
  if (TOKEN[code] === 0) return 0;
  if (code === UNDERSCORE) return HYPHEN;
  return String.fromCharCode(code).toLowerCase().charCodeAt(0);
});

/** Whether `bytes[start, end)` is `lowerCase` (ASCII) in any mixture of cases. */
export function equalsIgnoringCase(
  bytes: Uint8Array,
  start: number,
  end: number,
  lowerCase: string,
): boolean {
  if (end - start !== lowerCase.length) return false;
  for (let i = 0; i < lowerCase.length; i++) {
    const byte = bytes[start + i]!;
    const lower = byte >= 65 && byte <= 90 ? byte + 32 : byte;
    if (lower !== lowerCase.charCodeAt(i)) return false;
  }
  return true;
}
