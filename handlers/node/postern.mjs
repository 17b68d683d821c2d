/*
 * postern: the Node handler library, one file without packages (Node 18 or later). Wire: handlers/PROTOCOL.md.
 *
 *   new Handler({ path: '/run/postern/handlers.sock' })
 *     .on('message', (session, data) => session.send(data))
 *     .start();
 *
 * Callbacks run one at a time per session, in order, and for different sessions side by side; a promise that a callback
 * returns is awaited. What a callback sends, to whichever session and also after an `await`, is held until it has
 * finished and then travels with its DONE in one BATCH: both take effect or neither. So do not await in a callback what
 * has no end (a ticker, a subscription): start it and return. All that has finished in a tick of the event loop leaves
 * in one write.
 *
 * When the link ends its sessions are forgotten here (they live on at the gateway and come back with 'open' and
 * `resumed`), late results are discarded, and the handler connects again after 50 ms to 1 s, for ever.
 */
import { AsyncLocalStorage } from 'node:async_hooks';
import net from 'node:net';

const LINE_MAX_BYTES = 1024;
const REASON_MAX_BYTES = 123;
const STATE_MAX_BYTES = 4096;
const DONE_BYTES = 48; // more than a DONE frame of one number, kept free in every batch for each delivery
const DONE_MAX_WORDS = 20; // keeps its line under LINE_MAX_BYTES
const UNSENT_PAUSE_BYTES = 1024 * 1024; // above this nothing more is read
const RETRY_FIRST_MS = 50;
const RETRY_MAX_MS = 1000;
const WELCOME_TIMEOUT_MS = 10000;
const LF = 10;

const current = new AsyncLocalStorage(); // the Unit of the callback that is running

/* A frame as pieces to write: strings are cheaper to join than to encode one by one. */
function frame(head, payload = '') {
  const bytes = typeof payload === 'string' ? Buffer.byteLength(payload) : payload.length;
  const line = `${head} ${bytes}\n`;
  const pieces = typeof payload === 'string' ? [`${line}${payload}\n`] : [line, payload, '\n'];
  return { pieces, size: bytes, bytes: line.length + bytes + 1 };
}

/* [3, 1, 2, 7] -> ['1-3', '7'] */
function ranges(numbers) {
  const words = [];
  let first, last;
  for (const n of [...numbers.sort((a, b) => a - b), Infinity]) {
    if (n !== last + 1) {
      if (last !== undefined) words.push(first === last ? `${first}` : `${first}-${last}`);
      first = n;
    }
    last = n;
  }
  return words;
}

/* Frames that belong together, and the number of the delivery that caused them (0 = none). */
class Unit {
  constructor(link, number) {
    this.link = link;
    this.number = number;
    this.isFinished = false;
    this.frames = [];
    this.bytes = DONE_BYTES;
  }

  add(f) {
    this.frames.push(f);
    this.bytes += f.bytes;
  }
}

/* Turns units into bytes: as many as fit into each BATCH. A unit too large for one spreads, its DONE in the last. */
class Packer {
  constructor(maxFrame) {
    this.maxFrame = maxFrame;
    this.out = []; // finished pieces
    this.outBytes = 0;
    this.#begin();
  }

  #begin() {
    this.frames = [];
    this.bytes = 0;
    this.numbers = [];
  }

  #write(f) {
    this.out.push(...f.pieces);
    this.outBytes += f.bytes;
  }

  #room(bytes) {
    if (this.bytes + bytes > this.maxFrame) this.close();
  }

  unit(unit) {
    if (unit.bytes <= this.maxFrame) {
      this.#room(unit.bytes);
      this.frames.push(...unit.frames);
      this.bytes += unit.bytes;
    } else {
      for (const f of unit.frames) this.#spread(f);
      this.#room(DONE_BYTES);
    }
    if (unit.number !== 0) this.numbers.push(unit.number);
  }

  #spread(f) {
    const bytes = f.bytes + DONE_BYTES;
    this.#room(bytes);
    if (bytes > this.maxFrame) {
      this.#write(f);
    } else {
      this.frames.push(f);
      this.bytes += bytes;
    }
  }

  close() {
    const words = ranges(this.numbers);
    for (let i = 0; i < words.length; i += DONE_MAX_WORDS) {
      this.frames.push(frame(`DONE ${words.slice(i, i + DONE_MAX_WORDS).join(' ')}`));
    }
    if (this.frames.length > 1) {
      const bytes = this.frames.reduce((sum, f) => sum + f.bytes, 0);
      const head = `BATCH ${bytes}\n`;
      this.#write({ pieces: [head], bytes: head.length });
      for (const f of this.frames) this.#write(f);
      this.#write({ pieces: ['\n'], bytes: 1 });
    } else if (this.frames.length === 1) {
      this.#write(this.frames[0]);
    }
    this.#begin();
  }

  take() {
    this.close();
    const buffer = Buffer.allocUnsafe(this.outBytes);
    let at = 0;
    for (const piece of this.out) {
      at += typeof piece === 'string' ? buffer.write(piece, at) : piece.copy(buffer, at);
    }
    return buffer;
  }
}

/* Cuts what a socket delivers into frames. Chunks are joined only when a frame is whole, so that a large one arriving
 * in a thousand pieces is copied once. */
class Reader {
  constructor() {
    this.chunks = [];
    this.have = 0;
    this.need = 1;
  }

  /* Calls onFrame(words, payload) for each whole frame, until it returns false. Throws on what is no frame. */
  push(chunk, maxFrame, onFrame) {
    this.chunks.push(chunk);
    this.have += chunk.length;
    if (this.have < this.need) return;
    const buffer = this.chunks.length === 1 ? chunk : Buffer.concat(this.chunks);
    let at = 0;
    this.need = 1;
    while (at < buffer.length) {
      const lf = buffer.indexOf(LF, at);
      if (lf < 0 || lf - at >= LINE_MAX_BYTES) {
        if (buffer.length - at >= LINE_MAX_BYTES) throw new Error("a frame's first line is too long");
        break;
      }
      const words = buffer.latin1Slice(at, lf).split(' ');
      const length = words.length > 1 && /^\d{1,15}$/.test(words.at(-1)) ? Number(words.pop()) : NaN;
      if (!(length <= maxFrame)) throw new Error("a frame's length is missing or over max_frame");
      const end = lf + 1 + length;
      if (end >= buffer.length) {
        this.need = end + 1 - at;
        break;
      }
      if (buffer[end] !== LF) throw new Error('a payload is not followed by a line feed');
      at = end + 1;
      if (!onFrame(words, buffer.subarray(lf + 1, end))) return;
    }
    this.chunks = at < buffer.length ? [buffer.subarray(at)] : [];
    this.have = buffer.length - at;
  }
}

function checkCode(code, reason) {
  if (code !== 1000 && !(Number.isInteger(code) && code >= 3000 && code <= 4999)) {
    throw new RangeError('a close code is 1000 or 3000 to 4999');
  }
  if (Buffer.byteLength(reason) > REASON_MAX_BYTES) throw new RangeError('a reason has at most 123 bytes');
}

/* One client, as seen over one link. Properties of your own may be set on it. */
export class Session {
  #link;
  #handle;
  #waiting = []; // deliveries that come while a callback runs
  #isBusy = false;
  #isDecided = false; // accepted, rejected or kicked

  constructor(link, handle, info) {
    this.#link = link;
    this.#handle = handle;
    const { id = '', mount = '', path = '', query = '', dialect = '', transport = '' } = info;
    const { remote = '', origin = '', headers = {}, resumed = false, state, subprotocols = [], subprotocol = '' } = info;
    Object.assign(this, { id, mount, path, query, dialect, transport, remote, origin, headers, resumed });
    Object.assign(this, { subprotocols, subprotocol });
    this.savedState = state === undefined ? null : Buffer.from(state, 'base64'); // what state() had left, elsewhere
    this.sequence = 0; // of the message being delivered: the same on every link
    this.isAgain = false; // of that message: a link that had it before has died with it
    this.isOpen = true;
    this.isPaused = false;
  }

  /* Sends one message; a string is text, bytes are binary. False: the session has ended. */
  send(data) {
    const isText = typeof data === 'string';
    // A copy: the caller may use its bytes again before the callback has finished.
    const f = frame(`MSG ${this.#handle} ${isText ? 't' : 'b'}`, isText ? data : Buffer.from(data));
    if (f.size > this.#link.maxFrame) {
      throw new RangeError(`a message is larger than max_frame (${this.#link.maxFrame})`);
    }
    return this.#put(f);
  }

  /* Ends the client's session; no 'message' follows, but 'close' does. */
  kick(code = 1000, reason = '') {
    checkCode(code, reason);
    return this.#end(frame(`KICK ${this.#handle} ${code}`, reason));
  }

  reject(code = 3000, reason = '') {
    checkCode(code, reason);
    return this.#end(frame(`REJECT ${this.#handle} ${code}`, reason));
  }

  /* Lets a waiting client in; `subprotocol` is one that it offered, else the gateway turns it away. */
  accept(subprotocol = '') {
    if (!/^[!#$%&'*+\-.^_`|~0-9A-Za-z]*$/.test(subprotocol)) throw new RangeError('a subprotocol is a token of HTTP');
    if (this.#isDecided) return false;
    this.#isDecided = true;
    return this.#put(frame(`ACCEPT ${this.#handle}`, subprotocol));
  }

  /* Leaves up to 4,096 bytes with the gateway for whichever handler takes the session over. */
  state(data) {
    const bytes = Buffer.from(data);
    if (bytes.length > STATE_MAX_BYTES) throw new RangeError('a state has at most 4096 bytes');
    return this.#put(frame(`STATE ${this.#handle}`, bytes));
  }

  #put(f) {
    return this.isOpen && this.#link.put(f);
  }

  #end(f) {
    const isSent = this.#put(f);
    this.isOpen = false;
    this.#isDecided = true;
    return isSent;
  }

  /* For the link: runs `callback` in a unit of its own once those before it have finished. */
  _deliver(number, callback) {
    if (this.#isBusy) {
      this.#waiting.push([number, callback]);
    } else {
      this.#run(number, callback);
    }
  }

  #run(number, callback) {
    if (this.#link.isDead) return;
    const unit = new Unit(this.#link, number);
    this.#isBusy = true;
    const finish = () => {
      this.#isBusy = false;
      this.#link.finish(unit);
      if (this.#waiting.length !== 0) this.#run(...this.#waiting.shift());
    };
    const running = current.run(unit, callback);
    if (running === undefined) {
      finish();
    } else {
      running.then(finish);
    }
  }
}

/* One connection to the gateway: handles, delivery numbers and late results die with it. */
class Link {
  constructor(handler, socket) {
    this.handler = handler;
    this.socket = socket;
    this.maxFrame = handler.options.maxFrame;
    this.sessions = new Map(); // by handle
    this.isUp = false;
    this.isDead = false;
    this.lastNumber = 0;
    this.units = [];
    this.isFlushDue = false;
    const reader = new Reader();
    socket.on('data', (chunk) => {
      if (this.isDead) return;
      try {
        reader.push(chunk, this.maxFrame, (words, payload) => this.#take(words, payload));
      } catch (error) {
        this.#refuse('bad-frame', error.message);
      }
    });
    socket.on('drain', () => socket.resume());
  }

  /* Queues a frame: with the callback that is running, else on its own. */
  put(f) {
    if (this.isDead) return false;
    const unit = current.getStore();
    if (unit?.link === this && !unit.isFinished) {
      unit.add(f);
    } else {
      const own = new Unit(this, 0);
      own.add(f);
      this.#queue(own);
    }
    return true;
  }

  finish(unit) {
    unit.isFinished = true;
    if (!this.isDead) this.#queue(unit);
  }

  #queue(unit) {
    this.units.push(unit);
    if (!this.isFlushDue) {
      this.isFlushDue = true;
      setImmediate(() => this.flush());
    }
  }

  flush() {
    this.isFlushDue = false;
    if (this.isDead || this.units.length === 0) return;
    const packer = new Packer(this.maxFrame);
    for (const unit of this.units) packer.unit(unit);
    this.units = [];
    this.#write(packer.take());
  }

  #write(data) {
    this.socket.write(data);
    if (this.socket.writableLength > UNSENT_PAUSE_BYTES) this.socket.pause();
  }

  #writeFrame(head, payload) {
    for (const piece of frame(head, payload).pieces) this.#write(piece);
  }

  #refuse(code, why) {
    this.#writeFrame(`ERROR ${code}`, why);
    this.handler._down(this, why);
    return false;
  }

  /* False: the link has ended. */
  #take(words, payload) {
    const [verb, ...args] = words;
    if (!this.isUp && verb !== 'WELCOME' && verb !== 'ERROR') {
      return this.#refuse('bad-verb', 'the first frame is not WELCOME');
    }
    switch (verb) {
      case 'OPEN':
      case 'MSG':
      case 'CLOSE':
      case 'MOVED':
        return this.#takeDelivery(verb, args, payload);
      case 'WELCOME':
        this.isUp = true;
        this.maxFrame = Math.min(this.maxFrame, JSON.parse(payload).max_frame ?? this.maxFrame);
        this.handler._up();
        break;
      case 'PING':
        this.#writeFrame('PONG', payload);
        break;
      case 'PAUSE':
      case 'RESUME':
        this.#takePause(verb === 'PAUSE', Number(args[0]));
        break;
      case 'DRAIN':
        this.handler._emit('drain');
        break;
      case 'ERROR':
        this.handler._down(this, `the gateway says ${args[0]}: ${payload}`);
        return false;
      default: // a later version's verb
    }
    return !this.isDead;
  }

  #takePause(isPaused, handle) {
    const session = this.sessions.get(handle);
    if (session === undefined) return;
    session.isPaused = isPaused;
    this.handler._emit(isPaused ? 'pause' : 'resume', session);
  }

  #takeDelivery(verb, args, payload) {
    const [number, handle] = args.map(Number);
    if (number !== this.lastNumber + 1) {
      return this.#refuse('bad-verb', "a delivery's number does not follow the one before");
    }
    this.lastNumber = number;
    if (verb === 'OPEN') return this.#takeOpen(number, handle, payload);
    const session = this.sessions.get(handle);
    if (session === undefined) {
      return this.#refuse('bad-handle', 'a delivery for a handle that is not open');
    }
    if (verb === 'MSG') {
      const data = args[3] === 't' ? payload.toString() : payload;
      session._deliver(number, () => {
        session.sequence = Number(args[2]);
        session.isAgain = args[4] === 'again';
        return session.isOpen ? this.handler._emit('message', session, data) : undefined;
      });
    } else if (verb === 'MOVED') {
      session._deliver(number, () => this.#move(session, handle));
    } else {
      this.sessions.delete(handle);
      session._deliver(number, () => {
        session.isOpen = false;
        return this.handler._emit('close', session, Number(args[2]), payload.toString());
      });
    }
    return !this.isDead;
  }

  /* The callbacks have the last word: what they send or leave as state still counts. */
  #move(session, handle) {
    const forget = () => {
      session.isOpen = false;
      this.sessions.delete(handle);
    };
    const moving = this.handler._emit('moved', session);
    return moving === undefined ? forget() : moving.then(forget);
  }

  drain() {
    this.flush(); // what has finished goes ahead, as DRAIN stands in no BATCH
    this.#writeFrame('DRAIN', '');
  }

  #takeOpen(number, handle, payload) {
    if (this.sessions.has(handle)) {
      return this.#refuse('bad-handle', 'OPEN for a handle that is in use');
    }
    const session = new Session(this, handle, JSON.parse(payload));
    this.sessions.set(handle, session);
    const accept = () => {
      if (this.handler.options.autoAccept) session.accept();
    };
    session._deliver(number, () => {
      const opening = this.handler._emit('open', session);
      return opening === undefined ? accept() && undefined : opening.then(accept);
    });
    return !this.isDead;
  }

  die() {
    this.isDead = true;
    for (const session of this.sessions.values()) session.isOpen = false;
    this.sessions.clear();
    this.socket.end();
    // A gateway that does not close its side must not keep us from ending.
    setTimeout(() => this.socket.destroy(), 1000).unref();
  }
}

/* A handler: connects to the gateway, and again whenever the link ends, until stop(). */
export class Handler {
  #listeners = new Map();
  #link = null;
  #retryMs = RETRY_FIRST_MS;
  #timer = null;
  #isRunning = false;
  #isDraining = false;

  /* options: path (required), app, client, mounts, token, maxFrame, autoAccept; see postern.d.ts. */
  constructor(options) {
    if (!options?.path) throw new TypeError("path is required: the gateway's handler socket");
    this.options = { app: 'app', client: 'node/0.1', maxFrame: 1048576, autoAccept: true, ...options };
  }

  /* Events: open(session), message(session, data), close(session, code, reason), moved(session), pause(session),
   * resume(session), link(), unlink(why), drain(), error(error, session). */
  on(event, callback) {
    const callbacks = this.#listeners.get(event) ?? [];
    this.#listeners.set(event, [...callbacks, callback]);
    return this;
  }

  off(event, callback) {
    this.#listeners.set(event, (this.#listeners.get(event) ?? []).filter((c) => c !== callback));
    return this;
  }

  /* The sessions that are open now. */
  get sessions() {
    return [...(this.#link?.sessions.values() ?? [])].filter((session) => session.isOpen);
  }

  start() {
    if (!this.#isRunning) {
      this.#isRunning = true;
      this.#connect();
    }
    return this;
  }

  /* Before a planned end: no new sessions come, and those that are here go on at another handler where there is one,
   * each when it has nothing in flight ('moved'). Also on later links, until stop(). */
  drain() {
    this.#isDraining = true;
    if (this.#link?.isUp) this.#link.drain();
  }

  /* Sends what has finished, then closes. The sessions live on at the gateway. */
  stop() {
    this.#isRunning = false;
    this.#isDraining = false;
    clearTimeout(this.#timer);
    this.#link?.flush();
    if (this.#link !== null) this._down(this.#link, 'stopped');
  }

  #connect() {
    const { path, app, client, mounts, token, maxFrame } = this.options;
    const socket = net.connect(path);
    const link = new Link(this, socket);
    this.#link = link;
    const hello = { client, app, mounts, token, max_frame: maxFrame, features: ['batch'] };
    socket.write(frame('HELLO 1', JSON.stringify(hello)).pieces[0]);
    socket.on('error', (error) => this._down(link, error.message));
    socket.on('close', () => this._down(link, 'the gateway has closed the link'));
    this.#timer = setTimeout(() => this._down(link, 'no WELCOME'), WELCOME_TIMEOUT_MS);
  }

  _up() {
    clearTimeout(this.#timer);
    this.#retryMs = RETRY_FIRST_MS;
    if (this.#isDraining) this.#link.drain();
    this._emit('link');
  }

  _down(link, why) {
    if (link.isDead) return;
    link.die();
    this.#link = null;
    clearTimeout(this.#timer);
    if (this.#isRunning) {
      this.#timer = setTimeout(() => this.#connect(), this.#retryMs);
      this.#retryMs = Math.min(this.#retryMs * 2, RETRY_MAX_MS);
    }
    this._emit('unlink', why);
  }

  /* Calls the listeners one after the other. Undefined when all have returned, else a promise that never rejects: a
   * failed callback is reported, and its delivery counts as finished, for it would only fail again. */
  _emit(event, ...args) {
    const callbacks = this.#listeners.get(event) ?? [];
    let running;
    for (const callback of callbacks) {
      if (running === undefined) {
        running = this.#call(callback, event, args);
      } else {
        running = running.then(() => this.#call(callback, event, args));
      }
    }
    return running;
  }

  #call(callback, event, args) {
    try {
      const result = callback(...args);
      if (typeof result?.then !== 'function') return undefined;
      return Promise.resolve(result).then(undefined, (error) => this.#fail(error, event, args));
    } catch (error) {
      return this.#fail(error, event, args);
    }
  }

  #fail(error, event, args) {
    if (event !== 'error' && this.#listeners.get('error')?.length > 0) {
      return this._emit('error', error, args[0]);
    }
    console.error(`postern: a callback of '${event}' failed:`, error);
    return undefined;
  }
}
