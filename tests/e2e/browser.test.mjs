// The stock sockjs-client 1.6.1 in a real browser, on each transport, from the gateway's own origin and another.
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import test, { after, before, describe } from 'node:test';
import { browserName, hasBrowser, launchBrowser } from './lib/browser.mjs';
import { CHOSEN_CASES, PAGE_TRANSPORTS, TRANSPORTS, makeClient } from './lib/cases.mjs';
import { startAll, startBlankOrigin, startConformance } from './lib/server.mjs';

const SOCKJS_FILE = createRequire(import.meta.url).resolve('sockjs-client/dist/sockjs.min.js');

// Any page of the gateway's origin will do; the greeting is the plainest.
const ORIGINS = [
  { name: 'same origin', pageUrl: (gateway) => `${gateway.url}/echo/`, more: ['htmlfile'] },
  { name: 'cross origin', pageUrl: (gateway, other) => `${other.url}/`, more: [] },
];

if (hasBrowser()) {
  describe(browserName, () => {
    let browser;
    let gateway;
    let other;
    before(async () => {
      [browser, gateway, other] = await startAll(
        launchBrowser(), startConformance(), startBlankOrigin(),
      );
    });
    after(async () => {
      await browser?.close();
      await Promise.all([gateway?.stop(), other?.stop()]);
    });

    /** Opens a page of that origin with SockJS in it, calls body(page) and closes it. */
    async function onPage(origin, body) {
      const page = await browser.newPage();
      try {
        await page.goto(origin.pageUrl(gateway, other));
        await page.addScriptTag({ path: SOCKJS_FILE });
        return await body(page);
      } finally {
        await page.close();
      }
    }

    /** Runs a case of lib/cases.mjs inside the page. */
    function runInPage(page, one, transports) {
      return page.evaluate(
        (makeText, runText, base, wanted) => {
          const make = new Function(`return ${makeText}`)();
          const run = new Function(`return ${runText}`)();
          return run(make(window.SockJS, base, wanted));
        },
        makeClient.toString(), one.run.toString(), gateway.url, transports,
      );
    }

    for (const origin of ORIGINS) {
      for (const transport of [...TRANSPORTS, ...PAGE_TRANSPORTS, ...origin.more]) {
        for (const one of CHOSEN_CASES) {
          test(`${origin.name}, ${transport}: ${one.name}`, { timeout: 90000 }, async () => {
            const got = await onPage(origin, (page) => runInPage(page, one, [transport]));
            assert.deepEqual(got, one.want);
          });
        }
      }
    }

    const whichTransport = (path) => ({
      run: new Function(`return async (client) => (await client.open('${path}')).transport`)(),
    });

    test('left to itself the client takes WebSocket', { timeout: 20000 }, async () => {
      const got = await onPage(ORIGINS[0], (page) => runInPage(page, whichTransport('/echo'), undefined));
      assert.equal(got, 'websocket');
    });

    test('with WebSocket off it takes XHR streaming', { timeout: 20000 }, async () => {
      const got = await onPage(ORIGINS[1], (page) =>
        runInPage(page, whichTransport('/disabled_websocket_echo'), undefined));
      assert.equal(got, 'xhr-streaming');
    });

    test('a mount that wants cookies sets JSESSIONID', { timeout: 20000 }, async () => {
      const got = await onPage(ORIGINS[0], async (page) => {
        await runInPage(page, whichTransport('/cookie_needed_echo'), ['xhr-polling']);
        return page.evaluate(() => document.cookie);
      });
      assert.match(got, /JSESSIONID=dummy/);
    });

    for (const transport of TRANSPORTS) {
      test(`/guarded, ${transport}: its own origin may, another may not`, { timeout: 40000 }, async () => {
        const attempt = {
          run: async (client) => {
            try {
              const connection = await client.open('/guarded');
              connection.send('knock');
              return await connection.next();
            } catch (error) {
              return 'refused';
            }
          },
        };
        assert.equal(await onPage(ORIGINS[0], (page) => runInPage(page, attempt, [transport])), 'knock');
        assert.equal(await onPage(ORIGINS[1], (page) => runInPage(page, attempt, [transport])), 'refused');
      });
    }
  });
}
