// The browser of this run: Chromium, or Firefox with POSTERN_BROWSER=firefox. All launch flags live here.
import { execFileSync } from 'node:child_process';
import test from 'node:test';
import puppeteer from 'puppeteer-core';

const FIREFOX = process.env.POSTERN_BROWSER === 'firefox';

// No sandbox: CI runs as root. The others keep the browser from talking to anything but us.
const CHROMIUM_FLAGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

function find(command) {
  try {
    return execFileSync('sh', ['-c', `command -v ${command}`], { encoding: 'utf8' }).trim();
  } catch {
    return '';
  }
}

const executablePath = FIREFOX ? find('firefox-esr') || find('firefox') : find('chromium');

export const browserName = FIREFOX ? 'firefox' : 'chromium';

/** How many pages may be at work at once. Firefox lets the timers of a page in the background wait. */
export const sideBySide = FIREFOX ? 1 : 4;

export function launchBrowser() {
  return puppeteer.launch({
    browser: FIREFOX ? 'firefox' : 'chrome',
    executablePath,
    headless: true,
    args: FIREFOX ? [] : CHROMIUM_FLAGS,
  });
}

/**
 * Whether browser tests can run. Without a browser one test stands in for them: failed in CI, where nobody
 * would notice a skip, and skipped elsewhere.
 */
export function hasBrowser() {
  if (executablePath !== '') return true;
  const why = `${browserName} is not installed (scripts/deps test installs it)`;
  if (process.env.CI === 'true') {
    test(`${browserName} is there`, () => {
      throw new Error(why);
    });
  } else {
    test(`${browserName} is there`, { skip: why }, () => {});
  }
  return false;
}
