<?php
// chat: one room. Every text goes to all who are here; who comes and goes is told. Usage: php chat.php SOCKET
require __DIR__ . '/../Postern.php';

$handler = new Postern\Handler($argv[1], app: 'chat');

$tell = function (string $text) use ($handler) {
    foreach ($handler->sessions() as $session) {
        $session->send($text);
    }
};

$handler
    ->on('open', function ($session) use ($tell) {
        // A resumed session has been here all the time; only its handler is new.
        if (!$session->resumed) {
            $tell("* $session->id has joined");
        }
    })
    ->on('message', function ($session, $data, $isBinary) use ($tell) {
        if (!$isBinary) {
            $tell($data);
        }
    })
    ->on('close', fn ($session) => $tell("* $session->id has left"))
    ->on('unlink', fn ($why) => fwrite(STDERR, "chat: $why\n"));

pcntl_async_signals(true);
foreach ([SIGINT, SIGTERM] as $signal) {
    pcntl_signal($signal, fn () => $handler->stop());
}
$handler->run();
