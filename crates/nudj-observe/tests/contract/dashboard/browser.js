// Drives the page in Chromium. Arguments: playwright-core, chromium, the page's origin, a folder for screenshots.
// Prints one line of JSON: what was seen. The Rust test judges it.
const net = require("net");
const [modules, executablePath, origin, shots] = process.argv.slice(1);
const { chromium } = require(`${modules}/playwright-core`);

// The page reaches the server through this, so that the network can fail and come back.
const target = new URL(origin);
const sockets = new Set();
const proxy = net.createServer((near) => {
  const far = net.connect(Number(target.port), target.hostname);
  for (const [one, other] of [[near, far], [far, near]]) {
    sockets.add(one);
    one.on("error", () => other.destroy());
    one.on("close", () => { sockets.delete(one); other.destroy(); });
    one.pipe(other);
  }
});
const listen = (port) => new Promise((done) => proxy.listen(port, "127.0.0.1", done));
const cut = () => new Promise((done) => { proxy.close(done); for (const socket of sockets) socket.destroy(); });
const tell = (path) => fetch(`${origin}${path}`, { method: "POST" });

(async () => {
  await listen(0);
  const port = proxy.address().port, url = `http://127.0.0.1:${port}`;
  const browser = await chromium.launch({ executablePath, args: ["--no-sandbox"] });
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, colorScheme: "dark" });
  await context.grantPermissions(["clipboard-read", "clipboard-write"]);
  const seen = { dialogs: [], violations: [], errors: [], overflow: {} };
  await context.exposeFunction("reportViolation", (text) => seen.violations.push(text));
  await context.addInitScript(() => {
    addEventListener("securitypolicyviolation", (event) => window.reportViolation(`${event.violatedDirective} ${event.blockedURI}`));
  });
  const watch = (page) => {
    page.on("dialog", (dialog) => { seen.dialogs.push(dialog.message()); dialog.dismiss(); });
    page.on("pageerror", (error) => seen.errors.push(String(error)));
  };
  const page = await context.newPage();
  watch(page);
  // Not waitForFunction: the page's policy forbids the evaluation that it is made of.
  const until = async (which, script, timeout = 20000) => {
    for (const end = Date.now() + timeout; ;) {
      if (await which.evaluate(script)) return;
      if (Date.now() > end) throw new Error(`waited in vain for ${script}: ${await which.evaluate(() => document.body.innerText)}`);
      await new Promise((done) => setTimeout(done, 20));
    }
  };
  const wait = (script, timeout) => until(page, script, timeout);
  const shoot = async (name, page) => {
    for (const width of [1280, 360]) {
      await page.setViewportSize({ width, height: 900 });
      for (const colorScheme of ["dark", "light"]) {
        await page.emulateMedia({ colorScheme });
        await page.waitForTimeout(150);
        await page.screenshot({ path: `${shots}/dashboard-${name}-${width}-${colorScheme}.png`, fullPage: true });
      }
      seen.overflow[`${name} ${width}`] = await page.evaluate(() => (document.documentElement.scrollWidth <= innerWidth ? [] : [...document.querySelectorAll("body *")]
        .filter((element) => element.getBoundingClientRect().right > innerWidth)
        .map((element) => `${element.tagName} ${element.id} ${element.getAttribute("class")} ${element.textContent.slice(0, 40)}`)));
    }
    await page.setViewportSize({ width: 1280, height: 900 });
  };

  await page.goto(url);
  await wait(() => document.querySelectorAll('.endpoint[data-state="closed"]').length === 3);
  await page.evaluate(() => { window.neverReloaded = true; });
  await wait(() => Number(document.getElementById("rate").textContent) > 5);
  await page.waitForTimeout(2500);
  await shoot("well", page);
  seen.well = await page.evaluate(() => document.getElementById("verdict-text").textContent);

  // An endpoint dies.
  const killed = Date.now();
  await tell("/test/kill");
  await wait(() => document.querySelector('.endpoint[data-state="open"]') !== null, 10000);
  seen.openAfter = Date.now() - killed;
  seen.open = await page.evaluate(() => document.querySelector('.endpoint[data-state="open"]').innerText);
  seen.announced = await page.evaluate(() => document.getElementById("announce").textContent);
  seen.failing = await page.evaluate(() => document.getElementById("verdict-text").textContent);
  await page.waitForTimeout(1500);
  await shoot("failing", page);
  await tell("/test/revive");
  await wait(() => document.querySelectorAll('.endpoint[data-state="closed"]').length === 3);

  // A failure's correlation id is copied.
  await page.locator("#errors .copy").first().click();
  seen.copied = await page.evaluate(() => navigator.clipboard.readText());
  seen.copyLabel = await page.locator("#errors .copy").first().getAttribute("title");

  // By keyboard.
  await page.locator("body").press("Tab");
  const stops = [];
  for (let step = 0; step < 12; step += 1) {
    const stop = await page.evaluate(() => {
      const focused = document.activeElement, outline = getComputedStyle(focused).outlineStyle;
      return { name: focused.id || focused.className, outline };
    });
    stops.push(stop);
    if (stop.name === "theme" && !seen.theme) {
      await page.keyboard.press("Enter");
      seen.theme = await page.evaluate(() => document.documentElement.dataset.theme);
    }
    if (stop.name === "calls-chart" || stop.name === "time-chart") {
      await page.keyboard.press("ArrowLeft");
      await page.keyboard.press("ArrowLeft");
      seen.chart = await page.evaluate(() => document.activeElement.getAttribute("aria-label"));
    }
    await page.keyboard.press("Tab");
  }
  seen.stops = stops.map(({ name }) => name);
  seen.unmarked = stops.filter(({ name, outline }) => name && outline === "none").map(({ name }) => name);

  // The network goes and comes back.
  await cut();
  await wait(() => !document.getElementById("stale").hidden && document.body.classList.contains("stale"), 10000);
  seen.stale = await page.evaluate(() => document.getElementById("stale").textContent);
  await page.screenshot({ path: `${shots}/dashboard-stale-1280-light.png` });
  await listen(port);
  await wait(() => document.getElementById("link").dataset.link === "live", 15000);
  seen.neverReloaded = await page.evaluate(() => window.neverReloaded === true);
  await page.evaluate(() => localStorage.clear());
  await page.close();

  // Names and texts that would be markup, under another path.
  const hostile = await context.newPage();
  watch(hostile);
  await hostile.goto(`${url}/hostile`);
  await until(hostile, () => document.querySelectorAll("#errors li, #events li, .endpoint, #syncs .card").length >= 5);
  await hostile.waitForTimeout(1500);
  seen.hostile = await hostile.evaluate(() => ({
    markup: document.querySelectorAll("main img, main script, main iframe, body > img, body > iframe, main a[href], main b img").length,
    literal: document.body.innerText.split("<img src=x").length - 1,
    ran: "pwned" in window,
    title: document.title,
  }));
  await shoot("hostile", hostile);
  await hostile.close();

  // Nothing yet, and twenty endpoints.
  for (const [name, endpoints] of [["empty", 0], ["many", 20]]) {
    const other = await context.newPage();
    watch(other);
    await other.goto(`${url}/${name}`);
    await until(other, `document.getElementById("link").dataset.link === "live" && document.querySelectorAll(".endpoint").length === ${endpoints}`);
    await other.waitForTimeout(1200);
    await shoot(name, other);
    seen[name] = await other.evaluate(() => ({
      text: document.querySelector("main").innerText,
      first: [...document.querySelectorAll(".endpoint")].slice(0, 3).map((card) => `${card.dataset.state} ${card.dataset.tone}`),
      tallest: Math.max(0, ...[...document.querySelectorAll(".endpoint")].map((card) => card.offsetHeight)),
    }));
    await other.close();
  }

  // Another process stands where one was, and begins to count its rows anew.
  const again = await context.newPage();
  watch(again);
  await again.goto(`${url}/again`);
  const lists = () => again.evaluate(() => document.querySelector(".logs").innerText);
  await until(again, () => document.querySelectorAll("#errors li, #events li").length === 2);
  seen.before = await lists();
  await tell("/test/restart");
  await until(again, () => document.getElementById("title").textContent === "restarted");
  seen.after = await lists();
  await again.close();

  // With a guard that allows it.
  const driven = await context.newPage();
  watch(driven);
  await driven.goto(`${url}/driven`);
  const force = driven.getByRole("button", { name: "Force open" }).first();
  await force.click();
  seen.armed = await driven.locator(".controls button").first().textContent();
  seen.beforeSecondPress = await driven.locator('.endpoint[data-state="forced_open"]').count();
  await driven.locator(".controls button").first().click();
  await driven.waitForSelector('.endpoint[data-state="forced_open"]', { timeout: 5000 });
  await driven.screenshot({ path: `${shots}/dashboard-driven-1280-dark.png`, fullPage: true });
  await driven.getByRole("button", { name: "Automatic" }).first().click();
  await driven.waitForSelector('.endpoint[data-state="closed"]', { timeout: 5000 });
  seen.driven = true;
  await browser.close();
  await cut();
  console.log(JSON.stringify(seen));
})().catch((error) => { console.error(error); process.exit(1); });
