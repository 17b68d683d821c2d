<?php
// probe: what tests/wire/sdk_test.py asks of every library; handlers/python/test/probe.py says what.
// Usage: php probe.php SOCKET
require __DIR__ . '/../Postern.php';

$handler = new Postern\Handler($argv[1], app: 'probe');

$handler->on('open', function ($session) {
    if ($session->query === 'reject') {
        $session->reject(4001, 'Sign in first');
    } elseif ($session->query === 'choose') {
        $session->accept('x.v2');
    }
});

$handler->on('message', function ($session, $data) {
    if ($data === 'kick') {
        $session->kick(3999, 'Go away!');
    } elseif (str_starts_with($data, 'keep ')) {
        $session->state(substr($data, 5));
        $session->send('kept');
    } elseif ($data === 'flood') {
        foreach (str_split('abcde') as $letter) {
            $session->send(str_repeat($letter, 300000));
        }
    } elseif ($data === 'fail') {
        $session->send('failing');
        throw new RuntimeException('as asked');
    } else {
        $age = $session->isAgain ? 'again' : 'new';
        $session->send("$session->sequence $age " . ($session->savedState ?? '-') . " $data");
    }
});

$handler->on('moved', function ($session) use ($handler) {
    if ($handler->sessions() === [$session]) {
        $handler->stop();
    }
});

pcntl_async_signals(true);
pcntl_signal(SIGTERM, fn () => $handler->drain());
$handler->run();
