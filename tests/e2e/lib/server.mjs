// Starts what the tests talk to, each on a free port of its own, and ends it by its own process id.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import http from 'node:http';
import net from 'node:net';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../../..');
const buildDir = process.env.POSTERN_BUILD_DIR || path.join(root, 'build/release');

export async function freePort() {
  const server = net.createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  await once(server, 'close');
  return port;
}

/** Starts several things at once. When one fails, those that did start are stopped, so that the run can end. */
export async function startAll(...starts) {
  const results = await Promise.allSettled(starts);
  const failed = results.find((result) => result.status === 'rejected');
  const started = results.filter((result) => result.status === 'fulfilled').map((result) => result.value);
  if (!failed) return started;
  await Promise.all(started.map((one) => (one.stop ? one.stop() : one.close())));
  throw failed.reason;
}

async function stop(child) {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, 'exit');
  child.kill('SIGTERM');
  const timer = setTimeout(() => child.kill('SIGKILL'), 5000);
  await ended;
  clearTimeout(timer);
}

/** All that the child wrote to stderr, as a function; also why it could not be started at all. */
function collectTrouble(child) {
  const lines = [];
  child.on('error', (error) => lines.push(`${error.message}\n`));
  child.stderr.setEncoding('utf8');
  child.stderr.on('data', (text) => lines.push(text));
  return () => lines.join('');
}

/** { url, stop() } of a conformance server (docs of scripts/conformance). POSTERN_URL names one that runs already. */
export async function startConformance(...options) {
  if (process.env.POSTERN_URL) return { url: process.env.POSTERN_URL, stop: async () => {} };
  const port = await freePort();
  const child = spawn(
    path.join(root, 'scripts/conformance'),
    ['--port', String(port), '--build-dir', buildDir, ...options],
    { stdio: ['ignore', 'pipe', 'pipe'] },
  );
  const said = collectTrouble(child);
  child.stdout.setEncoding('utf8');
  let line = '';
  for await (const text of child.stdout) {
    line += text;
    if (line.includes('\n')) break;
  }
  const url = /^READY (\S+)/.exec(line)?.[1];
  if (!url) {
    await stop(child);
    throw new Error(`the conformance server did not start:\n${line}${said()}`);
  }
  return { url, stop: () => stop(child) };
}

async function answers(url) {
  return new Promise((resolve) => {
    http.get(url, (response) => {
      response.resume();
      resolve(response.statusCode === 200);
    }).on('error', () => resolve(false));
  });
}

/** { url, stop() } of `posternd --demo`. */
export async function startDemo() {
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  const child = spawn(path.join(buildDir, 'posternd'), ['--demo', '--listen', `127.0.0.1:${port}`], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  const said = collectTrouble(child);
  const deadline = Date.now() + 20000;
  while (!(await answers(`${url}/`))) {
    if (child.pid === undefined || child.exitCode !== null || Date.now() > deadline) {
      await stop(child);
      throw new Error(`posternd --demo did not start:\n${said()}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  return { url, stop: () => stop(child) };
}

/** { url, stop() } of a server with one blank page: an origin that is not the gateway's. */
export async function startBlankOrigin() {
  const server = http.createServer((request, response) => {
    response.setHeader('Content-Type', 'text/html; charset=utf-8');
    response.end('<!doctype html><title>another origin</title>');
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    stop: async () => {
      server.closeAllConnections();
      server.close();
    },
  };
}
