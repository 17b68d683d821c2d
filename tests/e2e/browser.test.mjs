// The stock sockjs-client 1.6.1 in a real browser, on each of its transports, from our own origin and another.
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import test, { after, before, describe } from 'node:test';
import { browserName, hasBrowser, launchBrowser, sideBySide } from './lib/browser.mjs';
import { CHOSEN_CASES, PAGE_TRANSPORTS, PATIENCE, TRANSPORTS, makeClient } from './lib/cases.mjs';
import { startAll, startBlankOrigin, startConformance } from './lib/server.mjs';

const SOCKJS_FILE = createRequire(import.meta.url).resolve('sockjs-client/dist/sockjs.min.js');

// Any page of the gateway's origin will do; the greeting is the plainest. Another port is another origin.
const SAME_ORIGIN = { name: 'same origin', pageUrl: (gateway) => `${gateway.url}/echo/` };
const CROSS_ORIGIN = { name: 'cross origin', pageUrl: (gateway, other) => `${other.url}/` };

// What the client itself refuses, whatever the server: its htmlfile script calls into the page around it.
const isRefused = (origin, transport) => origin === CROSS_ORIGIN && transport === 'htmlfile';
// The htmlfile frame sets its document.domain, and Firefox then wants the page to have set it too.
const shareDomain = () => {
  document.domain = document.domain;
};
const PAIRS = [SAME_ORIGIN, CROSS_ORIGIN].flatMap((origin) =>
  [...TRANSPORTS, ...PAGE_TRANSPORTS].map((transport) => ({ origin, transport, name: `${origin.name}, ${transport}` })));

if (hasBrowser()) {
  describe(browserName, { concurrency: sideBySide }, () => {
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

    /** Loads a page of that origin with SockJS in it; what the page before it had open is let go of. */
    async function load(page, origin) {
      await page.goto(origin.pageUrl(gateway, other));
      await page.addScriptTag({ path: SOCKJS_FILE });
    }

    // The pages of one context share six connections to a host, so pages at work at once each have their own.
    const openContext = () => browser.createBrowserContext();

    async function onPage(origin, body) {
      const context = await openContext();
      try {
        const page = await context.newPage();
        await load(page, origin);
        return await body(page);
      } finally {
        await context.close();
      }
    }

    /** Runs a case of lib/cases.mjs inside the page. */
    function runInPage(page, one, options) {
      return page.evaluate(
        (makeText, runText, base, wanted) => {
          const make = new Function(`return ${makeText}`)();
          const run = new Function(`return ${runText}`)();
          return run(make(window.SockJS, base, wanted));
        },
        makeClient.toString(), one.run.toString(), gateway.url, options,
      );
    }

    const only = (transport) => ({ transports: [transport], timeout: PATIENCE });

    for (const { origin, transport, name } of PAIRS.filter((pair) => !isRefused(pair.origin, pair.transport))) {
      describe(name, { concurrency: 1 }, () => {
        let context;
        let page;
        before(async () => {
          context = await openContext();
          page = await context.newPage();
        });
        after(() => context?.close());

        for (const one of CHOSEN_CASES.filter(({ big }) => !big || origin === SAME_ORIGIN)) {
          test(`${name}: ${one.name}`, { timeout: 90000 }, async () => {
            await load(page, origin); // anew: a jsonp client that closed still holds one of the six connections
            if (transport === 'htmlfile') await page.evaluate(shareDomain);
            assert.deepEqual(await runInPage(page, one, only(transport)), one.want);
          });
        }
      });
    }

    const whichTransport = (path) => ({
      run: new Function(`return async (client) => (await client.open('${path}')).transport`)(),
    });

    for (const { origin, transport, name } of PAIRS.filter((pair) => isRefused(pair.origin, pair.transport))) {
      test(`${name}: the client refuses and asks for nothing but /info`, { timeout: 20000 }, async () => {
        const asked = await onPage(origin, async (page) => {
          const paths = [];
          page.on('request', (request) => paths.push(new URL(request.url()).pathname));
          await assert.rejects(
            runInPage(page, whichTransport('/echo'), only(transport)), /closed with 2000 All transports failed/,
          );
          return paths;
        });
        assert.deepEqual(asked, ['/echo/info']);
      });
    }

    describe('choices', { concurrency: 1 }, () => {
      test('left to itself the client takes WebSocket', { timeout: 20000 }, async () => {
        const got = await onPage(SAME_ORIGIN, (page) => runInPage(page, whichTransport('/echo'), {}));
        assert.equal(got, 'websocket');
      });

      test('with WebSocket off it takes XHR streaming', { timeout: 20000 }, async () => {
        const got = await onPage(CROSS_ORIGIN, (page) =>
          runInPage(page, whichTransport('/disabled_websocket_echo'), {}));
        assert.equal(got, 'xhr-streaming');
      });

      test('a mount that wants cookies sets JSESSIONID', { timeout: 20000 }, async () => {
        const got = await onPage(SAME_ORIGIN, async (page) => {
          await runInPage(page, whichTransport('/cookie_needed_echo'), only('xhr-polling'));
          return page.evaluate(() => document.cookie);
        });
        assert.match(got, /JSESSIONID=dummy/);
      });
    });

    const knock = {
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
    for (const transport of TRANSPORTS) {
      test(`/guarded, ${transport}: its own origin may, another may not`, { timeout: 40000 }, async () => {
        assert.equal(await onPage(SAME_ORIGIN, (page) => runInPage(page, knock, only(transport))), 'knock');
        assert.equal(await onPage(CROSS_ORIGIN, (page) => runInPage(page, knock, only(transport))), 'refused');
      });
    }

    for (const transport of PAGE_TRANSPORTS) {
      test(`/guarded, ${transport}: no page may`, { timeout: 40000 }, async () => {
        const options = { transports: [transport] }; // its own short patience is enough for a refusal
        assert.equal(await onPage(SAME_ORIGIN, (page) => runInPage(page, knock, options)), 'refused');
        assert.equal(await onPage(CROSS_ORIGIN, (page) => runInPage(page, knock, options)), 'refused');
      });
    }
  });
}
