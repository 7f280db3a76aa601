/** Texts of the configuration file that have a form: addresses, names, paths. What has another form is refused in words. */
import { z } from "zod";
import { parseCidr, parseIp, parseMac } from "./address.ts";

/**
 * Text of one form. What has another form is refused with a sentence that says what is expected; the JSON Schema
 * and the reference in docs/configuration.md carry the same words.
 */
export const textOf = (isRight: (text: string) => boolean, form: string) =>
  z.string(`expected ${form}`).refine(isRight, `expected ${form}`).meta({ "x-form": form });
export const patternText = (pattern: RegExp, form: string) =>
  z.string(`expected ${form}`).regex(pattern, `expected ${form}`).meta({ "x-form": form });

export const name = patternText(
  /^[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?$/,
  "a name of letters, digits and hyphens (63 at most)",
);
export const ip = textOf(
  (text) => parseIp(text) !== undefined,
  "an IPv4 or IPv6 address such as 192.0.2.10 or 2001:db8::10",
);
export const mac = textOf(
  (text) => parseMac(text) !== undefined,
  "a unicast MAC address such as 02:00:00:00:00:0a",
);
export const cidr = textOf(
  (text) => parseCidr(text) !== undefined,
  "an address block such as 192.0.2.0/24 or 2001:db8::/32",
);
export const path = patternText(/./, "a file's path");
