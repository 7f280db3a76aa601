import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { compileRewriting, redirectTarget, rewritten } from "../../../dlba-server/rules/rewriting.ts";

describe("paths are rewritten in normal form, and the rest keeps its spelling", () => {
  const api = { prefix: "/api/", to: "/" };
  const user = { regex: "^/user/([0-9]+)(/.*)?$", to: "/u/$1$2" };
  const rows: [
    rewrite: { prefix?: string; regex?: string; to: string },
    path: string,
    result: string | undefined,
  ][] = [
    [api, "/api/x/y", "/x/y"],
    [api, "/api/", "/"],
    [api, "/api", "/api"],
    [api, "/other//x", "/other//x"],
    [api, "/%61pi/a%2fb%20c", "/a%2Fb%20c"],
    [api, "//api/./x", "/x"],
    [api, "/x/../api/y", "/y"],
    [api, "/api%2fx", "/x"],
    [api, "/api/..;/x", undefined],
    [{ prefix: "/", to: "/v2/" }, "/a", "/v2/a"],
    [{ prefix: "/api", to: "/v2/" }, "/api/x", "/v2/x"],
    [{ prefix: "/caf\u00e9", to: "/c" }, "/caf%C3%A9/x", "/c/x"],
    [user, "/user/42", "/u/42"],
    [user, "/user/42/edit%2Fme", "/u/42/edit%2Fme"],
    [user, "/user/x", "/user/x"],
    [user, "/user%2F42%2fedit", "/u/42%2Fedit"],
    [user, "/%75ser/4%32/a%20a/a%20a", "/u/42/a%20a/a%20a"],
    [{ regex: "^/b (.*)$", to: "/$1" }, "/b%20c%20d", "/c%20d"],
    [{ regex: "^/f/(.*)", to: "/store/$1" }, "/f/a%0Ab", "/store/a%0Ab"],
    [{ regex: "\\.php$", to: "/.html" }, "/a.php", "/a/.html"],
    [{ regex: "^.*$", to: "/$0/$9" }, "/a", "/a/"],
    [{ regex: "^/(.)(.)(.*)$", to: "/x/$1$2/$3" }, "/..z", "/z"],
  ];
  for (const [rewrite, path, result] of rows) {
    it(`${JSON.stringify(rewrite)} makes ${result} of ${path}`, () => {
      assert.equal(rewritten(path, compileRewriting(rewrite)!), result);
    });
  }

  it("a new host alone leaves the path", () => assert.equal(compileRewriting({ host: "b.test" }), undefined));
});

it("redirects lead where they say, with the request's own parts as they came", () => {
  const target = { host: "a.test", path: "//x%2fy", query: "?q={host}&$1" };
  const rows: [to: string, url: string][] = [
    ["https://{host}{path}{query}", "https://a.test//x%2fy?q={host}&$1"],
    ["https://new.test/old{path}", "https://new.test/old//x%2fy"],
    ["/moved", "/moved"],
  ];
  for (const [to, url] of rows) assert.equal(redirectTarget(to, target), url);
});
