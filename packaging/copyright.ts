/** Whose what is, in the form that Debian reads by machine (DEP 5), with each module's own licence by name. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { isRecord, parseJson } from "../conf/record.ts";
import type { Modules } from "./modules.ts";

const OWN = `Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: dlba

Files: *
Copyright: 2026 the DLBA developers
License: Apache-2.0
 On Debian systems the full text is in /usr/share/common-licenses/Apache-2.0.

Files: usr/lib/dlba/scheduler/bpf/*
Copyright: 2026 the DLBA developers
License: BSD-2-Clause or GPL-2
 Redistribution and use in source and binary forms, with or without
 modification, are permitted provided that the following conditions are met:
 .
 1. Redistributions of source code must retain the above copyright notice,
 this list of conditions and the following disclaimer.
 .
 2. Redistributions in binary form must reproduce the above copyright notice,
 this list of conditions and the following disclaimer in the documentation
 and/or other materials provided with the distribution.
 .
 THIS SOFTWARE IS PROVIDED BY THE COPYRIGHT HOLDERS AND CONTRIBUTORS "AS IS"
 AND ANY EXPRESS OR IMPLIED WARRANTIES, INCLUDING, BUT NOT LIMITED TO, THE
 IMPLIED WARRANTIES OF MERCHANTABILITY AND FITNESS FOR A PARTICULAR PURPOSE
 ARE DISCLAIMED. IN NO EVENT SHALL THE COPYRIGHT HOLDER OR CONTRIBUTORS BE
 LIABLE FOR ANY DIRECT, INDIRECT, INCIDENTAL, SPECIAL, EXEMPLARY, OR
 CONSEQUENTIAL DAMAGES (INCLUDING, BUT NOT LIMITED TO, PROCUREMENT OF
 SUBSTITUTE GOODS OR SERVICES; LOSS OF USE, DATA, OR PROFITS; OR BUSINESS
 INTERRUPTION) HOWEVER CAUSED AND ON ANY THEORY OF LIABILITY, WHETHER IN
 CONTRACT, STRICT LIABILITY, OR TORT (INCLUDING NEGLIGENCE OR OTHERWISE)
 ARISING IN ANY WAY OUT OF THE USE OF THIS SOFTWARE, EVEN IF ADVISED OF THE
 POSSIBILITY OF SUCH DAMAGE.
 .
 On Debian systems the text of the GPL is in /usr/share/common-licenses/GPL-2.
`;

/** The text of the file `copyright` for a package with these modules. */
export function copyrightText({ dir, names }: Modules): string {
  return OWN + names.map((name) => moduleText(dir, name)).join("");
}

function moduleText(dir: string, name: string): string {
  const about = parseJson(readFileSync(join(dir, name, "package.json"), "utf8"));
  const licence = isRecord(about) ? String(about["license"]) : "unknown";
  return `
Files: usr/lib/dlba/node_modules/${name}/*
Copyright: the authors of ${name}
License: ${licence}
 The full text is in /usr/lib/dlba/node_modules/${name}, where the module came with one.
`;
}
