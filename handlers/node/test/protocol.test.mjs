// PROTOCOL.md keeps its word: its transcript is exact, and its Python example serves a gateway.
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import test from 'node:test';

import { Gateway, parse, show } from './gateway.mjs';

const page = readFileSync(new URL('../../PROTOCOL.md', import.meta.url), 'utf8');
const lines = page.split('## 7.')[1].split('```')[1].trim().split('\n');

function side(mark) {
  return Buffer.from(lines.filter((line) => line[0] === mark).map((line) => `${line.slice(2)}\n`).join(''));
}

test('every frame of the transcript is exact', () => {
  assert.equal(parse(side('<')).length, 10);
  assert.equal(show(parse(side('>')).slice(1)), 'BATCH[ACCEPT 1, ACK 1], BATCH[MSG 1 t "hi", ACK 2], PONG "abc", ACK 3, '
    + 'BATCH[KICK 1 3000 "Go away!", ACK 4], ACK 5, BATCH[MSG 1 t "hi", STATE 1 "n=12", ACK 7], DRAIN, ACK 8');
});

const hasPython = spawnSync('python3', ['--version']).status === 0;

test('the Python example echoes', { skip: !hasPython }, async () => {
  const gateway = await Gateway.listen();
  const source = page.split('```python')[1].split('```')[0].replace('/run/postern/handlers.sock', gateway.path);
  assert.ok(source.trim().split('\n').length < 30);
  const accepting = gateway.accept();
  const python = spawn('python3', ['-c', source], { stdio: 'inherit' });
  try {
    await accepting;
    assert.deepEqual(await gateway.welcome(), { client: 'python/0.1', app: 'echo' });
    gateway.open(1, 1);
    gateway.say('NEW 0\n\n', 'MSG 2 1 1 t 2\nhi\n', 'PING 1\nx\n', 'CLOSE 3 1 1000 0\n\n');
    assert.equal(show(await gateway.take(4)),
      'BATCH[ACCEPT 1, ACK 1], BATCH[MSG 1 t "hi", ACK 2], PONG "x", BATCH[ACK 3]');
  } finally {
    python.kill();
    await gateway.close();
  }
});
