/** The nginx configuration of a lab's web server. */
import { join } from "node:path";
import type { PlannedHost } from "./planned-host.ts";

/** Where the lab's application (web-app.ts) listens on each web server, on the loopback interface. */
export const APP_PORT = 8081;

/**
 * Every answer names the web server (`X-Web-Server`) and the node that asked (`X-Asked-By`, its address as the
 * web server saw it). `/id…` answers the web server's id; `/app/…` goes to the application unbuffered; all
 * else are files.
 */
export function nginxConf(host: PlannedHost, dir: string, webRoot: string): string {
  const [address = ""] = host.addresses;
  const at = address.includes(":") ? `[${address}]` : address;
  const listens = host.ports.map((port) => `    listen ${at}:${port} backlog=8192;`).join("\n");
  const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map(
    (kind) => `  ${kind}_temp_path ${join(dir, "tmp")};`,
  );
  return `user root;
worker_processes 1;
daemon off;
pid ${join(dir, "nginx.pid")};
error_log ${join(dir, "error.log")};
events { worker_connections 4096; }
http {
  access_log off;
  default_type application/octet-stream;
${temporary.join("\n")}
  keepalive_requests 1000000;
  client_max_body_size 0;
  server {
${listens}
    root ${webRoot};
    add_header X-Web-Server "${host.label}" always;
    add_header X-Asked-By $remote_addr always;
    location /id {
      default_type text/plain;
      return 200 "${host.label}\\n";
    }
    location /app/ {
      proxy_pass http://127.0.0.1:${APP_PORT};
      proxy_http_version 1.1;
      proxy_set_header Host $http_host;
      proxy_request_buffering off;
      proxy_buffering off;
    }
  }
}
`;
}
