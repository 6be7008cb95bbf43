// Opens report pages in a real browser, uses them as a reader would, and prints what was seen as JSON.
//
//   node look.mjs '{"browser": "/usr/bin/chromium", "folder": "...", "looks": [{"page": "a.html", "name": "a",
//                   "scheme": "dark", "width": 1280, "touch": true}]}'
//
// What is right is decided by the test that starts this; here is only looking. Screenshots go beside the pages.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { chromium } from "playwright-core";

const order = JSON.parse(process.argv[2]);
// For anything awaited; a loaded machine needs a small part of it.
const PATIENCE_MS = 180_000;

const profile = mkdtempSync(join(tmpdir(), "ringway-browser-"));
const context = await chromium.launchPersistentContext(profile, {
  executablePath: order.browser,
  headless: true,
  timeout: PATIENCE_MS,
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync"],
});
context.setDefaultTimeout(PATIENCE_MS);
const seen = [];
try {
  for (const look of order.looks) seen.push(await see(look));
} finally {
  await context.close();
  rmSync(profile, { recursive: true, force: true });
}
console.log(JSON.stringify(seen));

async function see(look) {
  const page = await context.newPage();
  const complaints = [], requests = [];
  page.on("console", (message) => ["error", "warning"].includes(message.type()) && complaints.push(message.text()));
  page.on("pageerror", (error) => complaints.push(String(error)));
  const url = String(pathToFileURL(join(order.folder, look.page)));
  page.on("request", (request) => request.url() !== url && requests.push(request.url()));
  await page.emulateMedia({ colorScheme: look.scheme ?? "light" });
  await page.setViewportSize({ width: look.width ?? 1280, height: 900 });
  await page.goto(url);
  const result = { name: look.name, title: await page.title() };
  await page.screenshot({ path: join(order.folder, `${look.name}.png`), fullPage: true });
  result.plots = await Promise.all((await page.$$("figure.plot")).map((figure) => figure.evaluate(drawn)));
  // Wider than the window means that something sticks out.
  result.overflow = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  result.background = await page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  result.harmed = await page.evaluate(() => window.harmed ?? null);
  if (look.touch) result.touched = await touch(page, look.name);
  await page.close();
  return { ...result, complaints, requests };
}

// Runs in the page: what one figure shows.
function drawn(figure) {
  const svg = figure.querySelector("svg.drawing:not(.hidden)");
  const texts = (selector) => [...svg.querySelectorAll(selector)].map((text) => text.textContent);
  const lines = [...svg.querySelectorAll(".series")].map((series) => {
    const line = series.querySelector(".line");
    const box = line.getBoundingClientRect();
    return {
      points: (line.getAttribute("d").match(/[ML]/g) ?? []).length,
      shown: getComputedStyle(series).display !== "none",
      colour: getComputedStyle(line).stroke,
      dash: getComputedStyle(line).strokeDasharray,
      width: Math.round(box.width),
      height: Math.round(box.height),
    };
  });
  return {
    id: figure.id,
    lines,
    x: texts(".tick.x"),
    y: texts(".tick.y"),
    titles: texts(".title"),
    legend: [...figure.querySelectorAll(".legend button")].map((button) => button.textContent),
    alt: svg.querySelector("desc")?.textContent ?? "",
    rows: figure.querySelectorAll(".figures tbody tr").length,
  };
}

// Uses the first plot as a reader would: hovers, hides a line, switches the scale, walks with the keyboard.
async function touch(page, name) {
  const touched = {};
  const figure = page.locator("figure.plot").first();
  const drawing = figure.locator("svg.drawing:not(.hidden)");
  await drawing.scrollIntoViewIfNeeded();
  const box = await drawing.boundingBox();
  await page.mouse.move(box.x + box.width * 0.6, box.y + box.height * 0.5);
  touched.tip = await figure.locator(".tip").innerText();
  touched.dots = await drawing.locator(".cursor circle").count();
  await page.screenshot({ path: join(order.folder, `${name}-hover.png`) });
  const first = figure.locator(".legend button").first();
  const line = drawing.locator('.series[data-s="0"]');
  touched.before = await line.isVisible();
  await first.click();
  touched.hidden = !(await line.isVisible()) && (await first.getAttribute("aria-pressed")) === "false";
  await first.click();
  touched.again = (await line.isVisible()) && (await first.getAttribute("aria-pressed")) === "true";
  await first.click({ modifiers: ["Shift"] });
  touched.alone = await drawing.locator(".series:not(.off)").count();
  await first.click({ modifiers: ["Shift"] });
  const labels = () => figure.locator("svg.drawing:not(.hidden) .tick.y").allTextContents();
  touched.log = await labels();
  await figure.getByRole("button", { name: "linear" }).click();
  touched.linear = await labels();
  await figure.locator("svg.drawing:not(.hidden)").focus();
  for (let step = 0; step < 5; step += 1) await page.keyboard.press("ArrowRight");
  touched.said = await figure.locator("output").textContent();
  // Plots over time share their cursor.
  const [one, two] = [page.locator("#rate svg.drawing"), page.locator("#failures .cursor circle")];
  if (await one.count()) {
    await one.scrollIntoViewIfNeeded();
    const area = await one.boundingBox();
    await page.mouse.move(area.x + area.width * 0.5, area.y + area.height * 0.5);
    touched.shared = await two.count();
  }
  return touched;
}
