/** Messages made at random after the grammar of RFC 9112, most of them right. */
import { below, oneOf, type Random } from "./target.ts";

/** Words at which readers of HTTP have differed. */
export const HTTP_WORDS: readonly string[] = [
  "\r\n",
  "\r",
  "\n",
  "\r\n\r\n",
  "\n\n",
  "\r\r\n",
  "\0",
  " ",
  "\t",
  ":",
  ";",
  ",",
  "0",
  "\x0b",
  "\xff",
  "\x7f",
  '"',
  "0\r\n\r\n",
  "5\r\nhello\r\n",
  "0x5",
  ";a=b",
  "HTTP/1.1",
  "HTTP/1.0",
  "GET / HTTP/1.1\r\nHost: h\r\n\r\n",
  "HEAD ",
  "Host: h\r\n",
  "Content-Length: 5\r\n",
  "content-length: 0\r\n",
  "Content_Length: 5\r\n",
  "Transfer-Encoding: chunked\r\n",
  "Transfer-Encoding:chunked\r\n",
  "Transfer-Encoding : chunked\r\n",
  "transfer-encoding: identity\r\n",
  "Connection: close\r\n",
  "Connection: keep-alive, x-a\r\n",
  "Connection: Host\r\n",
  "Expect: 100-continue\r\n",
  "TE: trailers\r\n",
  "Upgrade: h2c\r\n",
  "Cookie: DLBA=t1; a=b\r\n",
  "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
  "HTTP/1.1 100 Continue\r\n\r\n",
  "HTTP/1.1 204 No Content\r\n\r\n",
  "HTTP/1.1 101 Switching Protocols\r\n\r\n",
];

const METHODS = [
  "GET",
  "GET",
  "POST",
  "POST",
  "HEAD",
  "PUT",
  "DELETE",
  "OPTIONS",
  "get",
  "M-SEARCH",
  "CONNECT",
];
const TARGETS = ["/", "/a/b?c=d", "http://h/x", "http://h", "*", "/%00", "//h", "/a;jsessionid=1", "h:80"];
const FIELDS = [
  "Accept: */*\r\n",
  "X-A:\r\n",
  "x-b: \t c \r\n",
  "Cookie: a=1; DLBA=t0\r\n",
  "User-Agent: \xe4\r\n",
  "Connection: close\r\n",
  "Connection: keep-alive\r\n",
  "Connection: x-a\r\n",
  "Expect: 100-continue\r\n",
  "TE: trailers\r\n",
  "Keep-Alive: 1\r\n",
  "X-Forwarded-For: 1.1.1.1\r\n",
  "Cache-Control: public, max-age=5\r\n",
  "Set-Cookie: JSESSIONID=1; Path=/\r\n",
];

const bytes = (random: Random, length: number): string =>
  Array.from({ length }, () => String.fromCharCode(below(random, 256))).join("");
const some = (random: Random, most: number, make: () => string): string =>
  Array.from({ length: below(random, most + 1) }, make).join("");

/** A chunked body: extensions, sizes and trailers in all their right forms. */
export function makeChunks(random: Random): string {
  const chunk = (): string => {
    const data = bytes(random, 1 + below(random, 20));
    const size = "0".repeat(below(random, 3)) + data.length.toString(16);
    return `${size}${oneOf(random, ["", "", ";a", ';a="b";c'])}\r\n${data}\r\n`;
  };
  const trailers = oneOf(random, ["", "", "X-Sum: 1\r\n", "a:\r\nB: c d\r\n"]);
  return `${some(random, 3, chunk)}0\r\n${trailers}\r\n`;
}

/** Header lines that frame a body, their end, and the body. */
function makeBody(random: Random): string {
  switch (below(random, 4)) {
    case 0:
      return "\r\n";
    case 1: {
      const length = below(random, 30);
      return `Content-Length: ${length}\r\n\r\n${bytes(random, length)}`;
    }
    case 2:
      return `Transfer-Encoding: chunked\r\n\r\n${makeChunks(random)}`;
    default:
      return `Content-Length: 0\r\n\r\n`;
  }
}

export function makeRequest(random: Random): string {
  const line = `${oneOf(random, METHODS)} ${oneOf(random, TARGETS)} HTTP/1.${below(random, 8) === 0 ? 0 : 1}`;
  const fields = some(random, 4, () => oneOf(random, FIELDS));
  return `${line}\r\nHost: h\r\n${fields}${makeBody(random)}`;
}

export function makeResponse(random: Random): string {
  const interim = below(random, 5) === 0 ? "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" : "";
  const status = oneOf(random, ["200 OK", "200", "204 No Content", "304 \xe4", "404 Not Found", "500 "]);
  const fields = some(random, 4, () => oneOf(random, FIELDS));
  return `${interim}HTTP/1.${below(random, 8) === 0 ? 0 : 1} ${status}\r\n${fields}${makeBody(random)}`;
}
