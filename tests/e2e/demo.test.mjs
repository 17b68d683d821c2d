// The demo page as a visitor uses it: two tabs talk, each transport is picked once, and a picture is kept.
import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import path from 'node:path';
import test, { after, before, describe } from 'node:test';
import { browserName, hasBrowser, launchBrowser } from './lib/browser.mjs';
import { root, startAll, startDemo } from './lib/server.mjs';

const TRANSPORTS = ['websocket', 'xhr-streaming', 'xhr-polling'];
// A tab in the background gets no animation frames, so the page is asked by the clock.
const PATIENCE = { timeout: 15000, polling: 50 };
const pictures = path.join(root, 'build/screenshots');

if (hasBrowser()) {
  describe(`demo page in ${browserName}`, () => {
    let browser;
    let demo;
    before(async () => {
      [browser, demo] = await startAll(launchBrowser(), startDemo());
      mkdirSync(pictures, { recursive: true });
    });
    after(async () => {
      await browser?.close();
      await demo?.stop();
    });

    /** Opens the page; what it complains about, and every request that leaves for elsewhere, is collected. */
    async function visit(size) {
      const page = await browser.newPage();
      await page.setViewport(size || { width: 1200, height: 900 });
      const trouble = [];
      page.on('pageerror', (error) => {
        // Firefox reports a WebSocket that the page gave up while opening; switching transports does that.
        if (!error.message.includes('/websocket')) trouble.push(error.message);
      });
      page.on('request', (request) => {
        if (!request.url().startsWith(demo.url) && !request.url().startsWith('data:')) {
          trouble.push(`asked for ${request.url()}`);
        }
      });
      await page.goto(`${demo.url}/`);
      return { page, trouble };
    }

    const pick = async (page, transport) => {
      await page.evaluate((value) => {
        const choice = document.querySelector(`input[value=${value}]`);
        choice.click();
      }, transport);
    };
    const isOver = (page, transport) => page.waitForFunction(
      (want) => {
        const { state, transport: got } = document.getElementById('state').dataset;
        return state === 'open' && got === want;
      },
      PATIENCE, transport,
    );
    const say = async (page, name, text) => {
      await page.bringToFront();
      await page.evaluate((who) => { document.getElementById('name').value = who; }, name);
      await page.type('#text', text);
      await page.click('#send');
    };
    const reads = (page, text) => page.waitForFunction(
      (want) => [...document.querySelectorAll('#log .said:not(.pending)')]
        .some((item) => item.textContent.includes(want)),
      PATIENCE, text,
    );

    test('two tabs talk over any pair of transports', { timeout: 90000 }, async () => {
      const one = await visit();
      const two = await visit();
      await isOver(one.page, 'websocket');
      await isOver(two.page, 'websocket');
      for (const [i, transport] of TRANSPORTS.entries()) {
        const answer = TRANSPORTS[(i + 1) % TRANSPORTS.length];
        await one.page.bringToFront();
        await pick(one.page, transport);
        await isOver(one.page, transport);
        await two.page.bringToFront();
        await pick(two.page, answer);
        await isOver(two.page, answer);
        await say(one.page, 'First tab', `Good morning over ${transport}`);
        await reads(two.page, `Good morning over ${transport}`);
        await reads(one.page, `Good morning over ${transport}`);
        await say(two.page, 'Second tab', `And back over ${answer} <b>&amp;</b> \u{1f3f0}`);
        await reads(one.page, `And back over ${answer} <b>&amp;</b> \u{1f3f0}`);
      }
      await one.page.bringToFront();
      await one.page.waitForFunction(() => Number(document.getElementById('echoes').textContent) >= 3,
        PATIENCE);
      await one.page.screenshot({ path: path.join(pictures, 'demo.png'), fullPage: true });
      assert.deepEqual(one.trouble.concat(two.trouble), []);
      await one.page.close();
      await two.page.close();
    });

    test('disconnect and connect again', { timeout: 30000 }, async () => {
      const { page, trouble } = await visit();
      await isOver(page, 'websocket');
      await page.click('#toggle');
      assert.equal(await page.$eval('#state', (state) => state.dataset.state), 'closed');
      assert.equal(await page.$eval('#send', (button) => button.disabled), true);
      await page.click('#toggle');
      await isOver(page, 'websocket');
      assert.deepEqual(trouble, []);
      await page.close();
    });

    test('it fits a phone, and has a dark face', { timeout: 30000 }, async () => {
      const { page } = await visit({ width: 360, height: 740, isMobile: browserName === 'chromium', hasTouch: true });
      await isOver(page, 'websocket');
      const overflow = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
      assert.ok(overflow <= 0, `the page is ${overflow} px too wide`);
      await page.screenshot({ path: path.join(pictures, 'demo-phone.png'), fullPage: true });
      if (browserName === 'chromium') {
        await page.emulateMediaFeatures([{ name: 'prefers-color-scheme', value: 'dark' }]);
        await page.setViewport({ width: 1200, height: 900 });
        await page.screenshot({ path: path.join(pictures, 'demo-dark.png'), fullPage: true });
      }
      await page.close();
    });
  });
}
