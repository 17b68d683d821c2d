<?php
// echo: sends every message back. Usage: php echo.php SOCKET
require __DIR__ . '/../Postern.php';

(new Postern\Handler($argv[1], app: 'echo'))
    ->on('message', fn ($session, $data, $isBinary) => $session->send($data, $isBinary))
    ->on('unlink', fn ($why) => fwrite(STDERR, "echo: $why\n"))
    ->run();
