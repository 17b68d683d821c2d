// A scripted gateway for the tests: a unix socket in a temporary folder, and a strict reader for what handlers send.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/* All frames of `bytes` as {head, payload}, a BATCH with its `frames`; throws on anything that is not exact. */
export function parse(bytes) {
  const frames = [];
  let at = 0;
  while (at < bytes.length) {
    const lf = bytes.indexOf(10, at);
    assert.ok(lf >= 0 && lf - at < 1024, 'a first line has at most 1024 bytes');
    const line = bytes.latin1Slice(at, lf);
    const [, head, digits] = /^([A-Z]+(?: [\x21-\x7e]+)*) (0|[1-9]\d*)$/.exec(line)
      ?? assert.fail(`bad line: ${line}`);
    const end = lf + 1 + Number(digits);
    assert.equal(bytes[end], 10, `LF after the payload of: ${line}`);
    const payload = bytes.subarray(lf + 1, end);
    frames.push(head === 'BATCH' ? { head, frames: parse(payload) } : { head, payload });
    at = end + 1;
  }
  return frames;
}

/* 'MSG 1 t "hi"', 'BATCH[...]' */
export function show(frames) {
  return frames.map((f) => {
    if (f.head === 'BATCH') return `BATCH[${show(f.frames)}]`;
    if (f.payload.length > 64) return `${f.head} <${f.payload.length}>`;
    return f.payload.length === 0 ? f.head : `${f.head} ${JSON.stringify(f.payload.toString())}`;
  }).join(', ');
}

export function frame(head, payload = '') {
  const bytes = Buffer.from(payload);
  return Buffer.concat([Buffer.from(`${head} ${bytes.length}\n`), bytes, Buffer.from('\n')]);
}

export class Gateway {
  static async listen() {
    const gateway = new Gateway();
    gateway.folder = mkdtempSync(join(tmpdir(), 'postern-node-'));
    gateway.path = join(gateway.folder, 'link');
    gateway.waiting = [];
    gateway.sockets = [];
    gateway.server = net.createServer((socket) => {
      socket.on('error', () => {});
      gateway.sockets.push(socket);
      gateway.waiting.shift()?.(socket);
    });
    await new Promise((resolve) => gateway.server.listen(gateway.path, resolve));
    return gateway;
  }

  /* The next link; `got` collects what the handler sends. */
  async accept() {
    this.socket = await new Promise((resolve) => this.waiting.push(resolve));
    this.got = Buffer.alloc(0);
    this.socket.on('data', (chunk) => { this.got = Buffer.concat([this.got, chunk]); });
    return this;
  }

  async welcome(extra = {}) {
    const hello = JSON.parse((await this.take(1))[0].payload);
    this.say(frame('WELCOME 1', JSON.stringify({ server: 'test/1', features: ['batch'], ...extra })));
    return hello;
  }

  say(...frames) {
    this.socket.write(Buffer.concat(frames.map((f) => Buffer.from(f))));
  }

  open(number, handle, more = {}) {
    this.say(frame(`OPEN ${number} ${handle}`, JSON.stringify({ id: `s${handle}`, mount: '/echo', ...more })));
  }

  /* Waits until `isEnough(got)`, 5 s at most. */
  async until(isEnough, what) {
    for (let ms = 0; ms < 5000; ms += 2) {
      if (isEnough(this.got)) return;
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
    assert.fail(`the handler has not sent ${what}, but: ${this.got.latin1Slice(0, 500)}`);
  }

  /* The next frames, at least `n` at the outer level. */
  async take(n = 1) {
    let frames;
    await this.until((got) => {
      try {
        frames = parse(got);
      } catch {
        return false;
      }
      return frames.length >= n;
    }, `${n} frames`);
    this.got = Buffer.alloc(0);
    return frames;
  }

  async close() {
    for (const socket of this.sockets) socket.destroy();
    await new Promise((resolve) => this.server.close(resolve));
    rmSync(this.folder, { recursive: true, force: true });
  }
}
