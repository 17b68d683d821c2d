// The Node handler library against a scripted gateway. Run: node --test handlers/node/test
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import test from 'node:test';

import { Handler } from '../postern.mjs';
import { Gateway, frame, show } from './gateway.mjs';

/* Runs `body` with a gateway and a linked handler, and cleans up after it. */
function linked(name, options, body) {
  test(name, async () => {
    const gateway = await Gateway.listen();
    const handler = new Handler({ path: gateway.path, ...options });
    try {
      const accepting = gateway.accept();
      handler.start();
      await accepting;
      await gateway.welcome({ max_frame: options.maxFrame });
      await body(gateway, handler);
    } finally {
      handler.stop();
      await gateway.close();
    }
  });
}

test('handshake', async () => {
  const gateway = await Gateway.listen();
  const handler = new Handler({ path: gateway.path, app: 'té"st', mounts: ['/chat'], token: 'k' });
  const events = [];
  handler.on('link', () => events.push('link')).on('unlink', (why) => events.push(why));
  const accepting = gateway.accept();
  handler.start();
  await accepting;
  await sleep(20);
  assert.deepEqual(events, []);
  assert.deepEqual(await gateway.welcome(), {
    client: 'node/0.1', app: 'té"st', mounts: ['/chat'], token: 'k', max_frame: 1048576, features: ['batch'],
  });
  await sleep(20);
  handler.stop();
  assert.deepEqual(events, ['link', 'stopped']);
  await gateway.close();
});

linked('all of a tick is one batch', {}, async (gateway, handler) => {
  const seen = [];
  handler
    .on('open', (s) => {
      if (s.mount === '/close') s.kick(3000, 'Go away!');
    })
    .on('message', (s, data) => {
      seen.push([s.id, s.sequence, data]);
      s.send(data);
    })
    .on('close', (s, code, reason) => { seen.push([s.id, code, reason, s.send('late')]); });
  gateway.open(1, 1);
  gateway.open(2, 2, { mount: '/close' });
  gateway.say('MSG 3 1 7 t 6\nh\u00e9llo\n', 'MSG 4 1 8 b 2\n\x00\x01\n', 'NEW x 3\n\n\n\n\n', 'MSG 5 2 1 t 1\n?\n');
  assert.equal(show(await gateway.take()),
    'BATCH[ACCEPT 1, KICK 2 3000 "Go away!", MSG 1 t "héllo", MSG 1 b "\\u0000\\u0001", DONE 1-5]');
  gateway.say('CLOSE 6 2 3000 8\nGo away!\n', 'CLOSE 7 1 1006 0\n\n');
  assert.equal(show(await gateway.take()), 'DONE 6-7');
  assert.deepEqual(seen, [['s1', 7, 'héllo'], ['s1', 8, Buffer.from([0, 1])],
    ['s2', 3000, 'Go away!', false], ['s1', 1006, '', false]]);
  assert.deepEqual(handler.sessions, []);
});

linked('one callback at a time per session, sessions side by side', {}, async (gateway, handler) => {
  const log = [];
  handler.on('message', async (s, data) => {
    log.push(`begin ${s.id} ${data}`);
    if (s.id === 's1') await sleep(30);
    s.send(data);
    for (const other of handler.sessions) if (other !== s) other.send(`${s.id}:${data}`);
    log.push(`end ${s.id} ${data}`);
  });
  gateway.open(1, 1);
  gateway.open(2, 2);
  assert.equal(show(await gateway.take()), 'BATCH[ACCEPT 1, ACCEPT 2, DONE 1-2]');
  gateway.say('MSG 3 1 1 t 1\na\n', 'MSG 4 1 2 t 1\nb\n', 'MSG 5 2 1 t 1\nc\n');
  assert.equal(show(await gateway.take(3)), 'BATCH[MSG 2 t "c", MSG 1 t "s2:c", DONE 5], '
    + 'BATCH[MSG 1 t "a", MSG 2 t "s1:a", DONE 3], BATCH[MSG 1 t "b", MSG 2 t "s1:b", DONE 4]');
  assert.deepEqual(log, ['begin s1 a', 'begin s2 c', 'end s2 c', 'end s1 a', 'begin s1 b', 'end s1 b']);
});

linked('answers at every split of the input', {}, async (gateway, handler) => {
  handler.on('message', (s, data) => { s.send(data); });
  gateway.open(1, 1);
  await gateway.take();
  for (let at = 1, n = 2; at < 68; at += 1, n += 2) {
    const input = Buffer.from(`MSG ${n} 1 1 t 6\nh\nl\nö\nLATER 1 2 3\nMSG\nPING 2\nok\nMSG ${n + 1} 1 2 b 0\n\n`);
    gateway.say(input.subarray(0, at));
    await sleep(1);
    gateway.say(input.subarray(at));
    await gateway.until((got) => new RegExp(`[ -]${n + 1} 0\n`).test(got.latin1Slice()), `DONE ${n + 1}`);
    const words = show(await gateway.take()).replace(/BATCH\[|\]|,? ?DONE [\d-]+/g, '').split(', ').sort();
    assert.deepEqual(words.filter((w) => w !== ''), ['MSG 1 b', 'MSG 1 t "h\\nl\\nö"', 'PONG "ok"'], `split at ${at}`);
  }
});

linked('a message of max_frame stands alone, its DONE follows', { maxFrame: 4 << 20 }, async (gateway, handler) => {
  handler.on('message', (s, data) => s.send(data));
  gateway.open(1, 1);
  await gateway.take();
  const payload = Buffer.alloc(4 << 20, 'abcdefg');
  gateway.say(frame('MSG 2 1 1 b', payload));
  const [message, done] = await gateway.take(2);
  assert.equal(message.head, 'MSG 1 b');
  assert.ok(message.payload.equals(payload));
  assert.equal(done.head, 'DONE 2');
});

linked('what does not fit in one batch is spread, DONE in the last', { maxFrame: 4096 }, async (gateway, handler) => {
  handler.on('message', (s, data) => {
    for (let i = 0; i < 100; i += 1) s.send(data);
  });
  gateway.open(1, 1);
  await gateway.take();
  gateway.say(frame('MSG 2 1 1 t', 'y'.repeat(200)));
  await gateway.until((got) => got.includes('DONE 2 0\n'), 'DONE');
  const frames = await gateway.take();
  assert.ok(frames.length >= 5);
  assert.equal(frames.flatMap((f) => f.frames).filter((f) => f.head === 'MSG 1 t').length, 100);
  assert.equal(frames.findIndex((f) => show([f]).includes('DONE')), frames.length - 1);
});

linked('many numbers out of order keep their lines short', {}, async (gateway, handler) => {
  const release = [];
  handler.on('message', () => new Promise((resolve) => { release.push(resolve); }));
  for (let i = 1; i <= 200; i += 1) gateway.open(i, i);
  await gateway.until((got) => got.includes('-200 0\n'), 'DONE');
  await gateway.take();
  for (let i = 1; i <= 200; i += 1) gateway.say(`MSG ${200 + i} ${i} 1 t 1\nx\n`);
  while (release.length < 200) await sleep(1);
  for (let i = 0; i < 200; i += 2) release[i]();
  const [batch] = await gateway.take();
  const numbers = batch.frames.flatMap((f) => f.head.split(' ').slice(1));
  assert.equal(numbers.length, 100);
  assert.deepEqual(numbers.slice(0, 2), ['201', '203']);
});

linked('refusals leave the link alone', { maxFrame: 4096 }, async (gateway, handler) => {
  handler.on('message', (s) => {
    for (const code of [0, 999, 1001, 2999, 5000, 3000.5, '3000']) assert.throws(() => s.kick(code), RangeError);
    assert.throws(() => s.kick(3000, 'r'.repeat(124)), RangeError);
    assert.throws(() => s.send('é'.repeat(2049)), RangeError);
    assert.throws(() => s.state('x'.repeat(4097)), RangeError);
    s.send('\ud800'); // no valid UTF-8 exists for it
    s.send(new Uint8Array([255]));
    s.state('kept');
    s.kick();
    assert.equal(s.send('x'), false);
  });
  gateway.open(1, 1);
  await gateway.take();
  gateway.say('MSG 2 1 1 t 1\nx\n', 'MSG 3 1 2 t 1\ny\n');
  assert.equal(show(await gateway.take()),
    'BATCH[MSG 1 t "\ufffd", MSG 1 b "\ufffd", STATE 1 "kept", KICK 1 1000, DONE 2-3]');
});

linked('a failing callback is reported and its delivery finished', {}, async (gateway, handler) => {
  const errors = [];
  handler
    .on('error', (error, session) => { errors.push(`${error.message} ${session.id}`); })
    .on('message', (s, data) => {
      if (data === 'now') throw new Error('at once');
      return Promise.reject(new Error('later'));
    });
  gateway.open(1, 1);
  await gateway.take();
  gateway.say('MSG 2 1 1 t 3\nnow\n', 'MSG 3 1 2 t 5\nlater\n');
  assert.equal(show(await gateway.take()), 'DONE 2-3');
  assert.deepEqual(errors, ['at once s1', 'later s1']);
});

linked('accept by hand', { autoAccept: false }, async (gateway, handler) => {
  gateway.open(1, 1);
  gateway.open(2, 2);
  assert.equal(show(await gateway.take()), 'DONE 1-2');
  const [first, second] = handler.sessions;
  first.reject(4001, 'no');
  second.accept();
  second.send('in');
  assert.equal(show(await gateway.take()), 'BATCH[REJECT 1 4001 "no", ACCEPT 2, MSG 2 t "in"]');
});

linked('a subprotocol chosen by hand', { autoAccept: false }, async (gateway, handler) => {
  gateway.open(1, 1, { subprotocols: ['chat', 'echo.v1'], subprotocol: 'chat' });
  gateway.open(2, 2);
  assert.equal(show(await gateway.take()), 'DONE 1-2');
  const [first, second] = handler.sessions;
  assert.deepEqual([first.subprotocols, first.subprotocol], [['chat', 'echo.v1'], 'chat']);
  assert.deepEqual([second.subprotocols, second.subprotocol], [[], '']);
  for (const bad of ['a b', 'a\n', 'a,b', 'é']) assert.throws(() => first.accept(bad), RangeError);
  assert.equal(first.accept('echo.v1'), true);
  assert.equal(first.accept('chat'), false); // once
  assert.equal(show(await gateway.take()), 'ACCEPT 1 "echo.v1"');
});

linked('pause, resume, drain', {}, async (gateway, handler) => {
  const seen = [];
  for (const event of ['pause', 'resume']) handler.on(event, (s) => { seen.push(event, s.isPaused); });
  handler.on('drain', () => { seen.push('drain'); });
  gateway.open(1, 1);
  gateway.say('PAUSE 1 0\n\n', 'RESUME 1 0\n\n', 'PAUSE 9 0\n\n', 'DRAIN 0\n\n', 'PING 0\n\n');
  await gateway.until((got) => got.includes('PONG'), 'PONG');
  assert.deepEqual(seen, ['pause', true, 'resume', false, 'drain']);
});

linked('reconnects; late results of the old link are discarded', {}, async (gateway, handler) => {
  let release;
  const seen = [];
  handler
    .on('unlink', () => { seen.push('unlinked'); })
    .on('open', (s) => { seen.push(`${s.id} ${s.resumed}`); })
    .on('message', async (s) => {
      await new Promise((resolve) => { release = resolve; });
      seen.push(s.send('late'));
    });
  gateway.open(1, 1);
  gateway.say('MSG 2 1 1 t 1\nx\n', 'MSG 3 1 2 t 1\ny\n');
  while (release === undefined) await sleep(1);
  const accepting = gateway.accept();
  gateway.socket.destroy();
  await accepting;
  await gateway.welcome();
  gateway.open(1, 1, { resumed: true });
  assert.equal(show(await gateway.take()), 'BATCH[ACCEPT 1, DONE 1]');
  release();
  await sleep(20);
  assert.equal(gateway.got.length, 0);
  assert.deepEqual(seen, ['s1 false', 'unlinked', 's1 true', false]);
});

linked("another handler's sessions", {}, async (gateway, handler) => {
  const seen = [];
  handler
    .on('open', (s) => { seen.push([s.id, s.resumed, s.savedState?.toString('latin1')]); })
    .on('message', (s, data) => {
      seen.push([s.sequence, s.isAgain, data]);
      s.state(`${s.sequence}`);
    });
  gateway.open(1, 1, { resumed: true, state: '/woifQ==' });
  gateway.open(2, 2, { resumed: true });
  assert.equal(show(await gateway.take()), 'BATCH[ACCEPT 1, ACCEPT 2, DONE 1-2]');
  gateway.say('MSG 3 1 7 t again 1\nx\n', 'MSG 4 1 8 b again 0\n\n', 'MSG 5 1 9 t 1\ny\n');
  assert.equal(show(await gateway.take()), 'BATCH[STATE 1 "7", STATE 1 "8", STATE 1 "9", DONE 3-5]');
  assert.deepEqual(seen, [['s1', true, '\xff\n"}'], ['s2', true, undefined],
    [7, true, 'x'], [8, true, Buffer.alloc(0)], [9, false, 'y']]);
});

linked('drain and moved', {}, async (gateway, handler) => {
  const seen = [];
  handler
    .on('close', (s) => { seen.push(`close ${s.id}`); })
    .on('moved', async (s) => {
      await sleep(5);
      seen.push(`moved ${s.id} ${s.send('last')}`);
      s.state('kept');
    });
  gateway.open(1, 1);
  gateway.open(2, 2);
  assert.equal(show(await gateway.take()), 'BATCH[ACCEPT 1, ACCEPT 2, DONE 1-2]');
  const [first, second] = handler.sessions;
  second.send('ahead');
  handler.drain();
  assert.equal(show(await gateway.take(2)), 'MSG 2 t "ahead", DRAIN');
  gateway.say('MOVED 3 1 0\n\n');
  assert.equal(show(await gateway.take()), 'BATCH[MSG 1 t "last", STATE 1 "kept", DONE 3]');
  assert.equal(first.send('late'), false);
  assert.deepEqual(handler.sessions, [second]);
  assert.deepEqual(seen, ['moved s1 true']);
  gateway.open(4, 1); // its handle is free again
  assert.equal(show(await gateway.take()), 'BATCH[ACCEPT 1, DONE 4]');
  const accepting = gateway.accept();
  gateway.socket.destroy();
  await accepting;
  await gateway.welcome();
  assert.equal(show(await gateway.take()), 'DRAIN'); // the next link hears of it, too
});

linked('a handle is used again after its CLOSE', {}, async (gateway) => {
  for (let i = 0; i < 100; i += 1) {
    gateway.open(2 * i + 1, 1);
    gateway.say(`CLOSE ${2 * i + 2} 1 1000 0\n\n`);
  }
  await gateway.until((got) => got.includes('-200 0\n'), 'DONE');
});

test('ERROR is reported, and a wrong gateway is told so', async () => {
  const cases = [
    ['ERROR version 9\nspeak one\n', 'the gateway says version: speak one', null],
    ['OPEN 1 1 2\n{}\n', 'the first frame is not WELCOME', 'bad-verb'],
    ['WELCOME 1 2\n{}\nOPEN 2 1 2\n{}\n', "a delivery's number does not follow the one before", 'bad-verb'],
    ['WELCOME 1 2\n{}\nMSG 1 1 1 t 0\n\n', 'a delivery for a handle that is not open', 'bad-handle'],
    ['WELCOME 1 2\n{}\nOPEN 1 1 2\n{}\nOPEN 2 1 2\n{}\n', 'OPEN for a handle that is in use', 'bad-handle'],
    ['WELCOME 1 2\n{}\nPING x\n', "a frame's length is missing or over max_frame", 'bad-frame'],
    ['WELCOME 1 2\n{}\nPING\n', "a frame's length is missing or over max_frame", 'bad-frame'],
    ['WELCOME 1 2\n{}\nPING 9999999\n', "a frame's length is missing or over max_frame", 'bad-frame'],
    ['WELCOME 1 2\n{}\nPING 1\nxy', 'a payload is not followed by a line feed', 'bad-frame'],
    [`WELCOME 1 2\n{}\n${'x'.repeat(1100)}`, "a frame's first line is too long", 'bad-frame'],
  ];
  for (const [input, why, code] of cases) {
    const gateway = await Gateway.listen();
    const handler = new Handler({ path: gateway.path });
    const accepting = gateway.accept();
    const down = new Promise((resolve) => handler.on('unlink', resolve));
    handler.start();
    await accepting;
    await gateway.take();
    gateway.say(input);
    assert.equal(await down, why);
    if (code !== null) await gateway.until((got) => got.includes(`ERROR ${code} `), code);
    handler.stop();
    await gateway.close();
  }
});

test('waits for a gateway that is not there yet', async () => {
  const gateway = await Gateway.listen();
  const { path } = gateway;
  await gateway.close();
  const handler = new Handler({ path });
  let reason;
  handler.on('unlink', (why) => { reason = why; }).start();
  await sleep(30);
  assert.match(reason, /ENOENT|ECONNREFUSED/);
  handler.stop();
});
