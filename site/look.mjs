// Looks at the built site as people do: wide and narrow, light and dark. axe-core says what is hard to read or to reach,
// and a page that is wider than a narrow screen is a fault. node look.mjs SITE PICTURES BROWSER [PAGE…]
import { createServer } from "node:http";
import { createReadStream, existsSync, mkdirSync, readFileSync, statSync } from "node:fs";
import { createRequire } from "node:module";
import { extname, join, normalize } from "node:path";

const [site, pictures, browserPath, ...chosen] = process.argv.slice(2);
const require = createRequire(join(process.cwd(), "package.json"));
const { chromium } = require("playwright-core");
const axe = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");

const TYPES = { ".html": "text/html; charset=utf-8", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml", ".woff2": "font/woff2", ".png": "image/png" };
const server = createServer((request, response) => {
  let file = join(site, normalize(decodeURIComponent(new URL(request.url, "http://x").pathname)));
  if (existsSync(file) && statSync(file).isDirectory()) file = join(file, "index.html");
  if (!existsSync(file)) return response.writeHead(404).end();
  response.writeHead(200, { "content-type": TYPES[extname(file)] ?? "text/plain; charset=utf-8" });
  createReadStream(file).pipe(response);
});
await new Promise((done) => server.listen(0, "127.0.0.1", done));
const address = `http://127.0.0.1:${server.address().port}/`;

const pages = chosen.length ? chosen : [...new Set([...readFileSync(join(site, "toc.html"), "utf8").matchAll(/href="([^"#]+\.html)"/g)].map((found) => found[1]))];
mkdirSync(pictures, { recursive: true });
const browser = await chromium.launch({ executablePath: browserPath, args: ["--no-sandbox"] });
let faults = 0;
const fault = (text) => { faults += 1; console.log(text); };
for (const [colours, width] of [["light", 1400], ["dark", 1400], ["light", 390], ["dark", 390]]) {
  const context = await browser.newContext({ colorScheme: colours, viewport: { width, height: 900 } });
  const tab = await context.newPage();
  for (const page of pages) {
    const what = `${page} ${colours} ${width}`;
    tab.removeAllListeners("pageerror");
    // The index of the search may still be on its way when the next page is asked for.
    tab.on("pageerror", (error) => error.message === "Failed to fetch" || fault(`${what}: ${error.message}`));
    await tab.goto(address + page, { waitUntil: "load" });
    await tab.evaluate(axe);
    const wide = await tab.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
    if (wide > 0) fault(`${what}: ${wide} pixels wider than the screen`);
    const { violations } = await tab.evaluate(() => axe.run(document, { resultTypes: ["violations"] }));
    for (const one of violations) fault(`${what}: ${one.impact} ${one.id}: ${one.nodes.length} × ${one.nodes[0].target} ${one.nodes[0].failureSummary.replace(/\s+/g, " ").slice(0, 200)}`);
    await tab.screenshot({ path: join(pictures, `${page.replaceAll("/", "-").replace(".html", "")}-${colours}-${width}.png`) });
  }
  await context.close();
}
await browser.close();
server.close();
console.log(`${pages.length} pages, four ways each: ${faults} faults`);
process.exit(faults ? 1 : 0);
