<?php
/*
 * postern: the PHP handler library, one file without packages (PHP 8.1 or later). Wire: handlers/PROTOCOL.md.
 *
 *   $handler = new Postern\Handler('/run/postern/handlers.sock');
 *   $handler->on('message', fn ($session, $data, $isBinary) => $session->send($data, $isBinary));
 *   $handler->run();
 *
 * Callbacks run one at a time, in the order of the deliveries. What a callback sends, to whichever session, travels
 * with the acknowledgement of its delivery in one BATCH: both take effect or neither. A turn is one read, the callbacks
 * of what came whole, and one write. Strings are bytes; a text message is UTF-8.
 *
 * When the link ends its sessions are forgotten here (they live on at the gateway and come back with 'open' and
 * `resumed`), and the handler connects again after 50 ms to 1 s, for ever.
 */
declare(strict_types=1);

namespace Postern;

/* What the gateway must not say: ends the link with ERROR. */
final class Fault extends \Exception
{
    public function __construct(public readonly string $errorCode, string $why)
    {
        parent::__construct($why);
    }
}

/* One client, as seen over one link. Properties of your own may be set on it. */
#[\AllowDynamicProperties]
final class Session
{
    public readonly string $id, $mount, $path, $query, $dialect, $transport, $remote, $origin, $subprotocol;
    public readonly array $headers, $subprotocols;
    public readonly bool $resumed;
    public readonly ?string $savedState; // what state() had left, elsewhere
    public int $sequence = 0; // of the message being delivered: the same on every link
    public bool $isAgain = false; // of that message: a link that had it before has died with it
    public bool $isOpen = true;
    public bool $isPaused = false;
    private bool $isDecided = false; // accepted, rejected or kicked

    /* For the handler: `$put(head, payload)` queues a frame. */
    public function __construct(private \Closure $put, private int $handle, array $info)
    {
        foreach (['id', 'mount', 'path', 'query', 'dialect', 'transport', 'remote', 'origin', 'subprotocol'] as $key) {
            $this->$key = $info[$key] ?? '';
        }
        $this->headers = $info['headers'] ?? [];
        $this->subprotocols = $info['subprotocols'] ?? [];
        $this->resumed = $info['resumed'] ?? false;
        $this->savedState = isset($info['state']) ? base64_decode($info['state']) : null;
    }

    /* Sends one message. False: the session has ended. */
    public function send(string $data, bool $isBinary = false): bool
    {
        if (!$isBinary) {
            self::checkText($data);
        }
        return $this->put('MSG', $isBinary ? ' b' : ' t', $data);
    }

    /* Ends the client's session; no 'message' follows, but 'close' does. */
    public function kick(int $code = 1000, string $reason = ''): bool
    {
        return $this->end('KICK', $code, $reason);
    }

    public function reject(int $code = 3000, string $reason = ''): bool
    {
        return $this->end('REJECT', $code, $reason);
    }

    /* Lets a waiting client in; `$subprotocol` is one that it offered, else the gateway turns it away. */
    public function accept(string $subprotocol = ''): bool
    {
        if ($this->isDecided) {
            return false;
        }
        $this->isDecided = true;
        return $this->put('ACCEPT', '', $subprotocol);
    }

    /* Leaves up to 4,096 bytes with the gateway for whichever handler takes the session over. */
    public function state(string $bytes): bool
    {
        if (strlen($bytes) > 4096) {
            throw new \LengthException('a state has at most 4096 bytes');
        }
        return $this->put('STATE', '', $bytes);
    }

    private function end(string $verb, int $code, string $reason): bool
    {
        if ($code !== 1000 && ($code < 3000 || $code > 4999)) {
            throw new \InvalidArgumentException('a close code is 1000 or 3000 to 4999');
        }
        if (strlen($reason) > 123) {
            throw new \LengthException('a reason has at most 123 bytes');
        }
        self::checkText($reason);
        $isPut = $this->put($verb, " $code", $reason);
        $this->isOpen = false;
        $this->isDecided = true;
        return $isPut;
    }

    private function put(string $verb, string $more, string $payload): bool
    {
        if ($this->isOpen) {
            ($this->put)("$verb $this->handle$more", $payload);
        }
        return $this->isOpen;
    }

    /* The gateway would end the link over it, and with it every session's. */
    private static function checkText(string $text): void
    {
        if (preg_match('//u', $text) !== 1) {
            throw new \InvalidArgumentException('a text is not UTF-8; send($bytes, true) sends it as binary');
        }
    }
}

/* A handler: connects to the gateway, and again whenever the link ends, until stop(). */
final class Handler
{
    private const EVENTS = ['open', 'message', 'close', 'moved', 'pause', 'resume', 'link', 'unlink', 'drain', 'error'];
    private const LINE_MAX_BYTES = 1024;
    private const READ_BYTES = 65536;
    private const WRITE_BYTES = 262144;
    private const UNSENT_PAUSE_BYTES = 1048576; // above this nothing more is read, and no callback begins
    private const ACK_BYTES = 32; // more than an ACK frame, kept free in every batch
    private const RETRY_FIRST_S = 0.05;
    private const RETRY_MAX_S = 1.0;
    private const WELCOME_TIMEOUT_S = 10.0;
    private const LAST_WRITE_S = 1.0;

    private array $listeners = [];
    private bool $isStopping = false;
    private bool $isDraining = false;
    private float $retryAt = 0.0;
    private float $retrySeconds = self::RETRY_FIRST_S;

    private mixed $stream = null; // the link; what follows is void without one
    private bool $isUp, $hasSaidDrain;
    private float $welcomeBy;
    private int $linkMaxFrame;
    private array $sessions = []; // by handle
    private string $in; // read, not yet taken
    private int $inNeeds; // bytes of it that make the next frame whole, as far as is known
    private int $taken, $finished, $acknowledged; // delivery numbers
    private array $unit; // frames of the callback that is running
    private int $unitBytes;
    private string $batch; // frames of callbacks that have finished
    private string $out; // whole frames for the socket, of which $sent bytes are gone
    private int $sent;

    /* $app, $client: names for the gateway's log. $mounts: those that it serves, null = all. $maxFrame: the largest
     * message, bytes, at least 65536. $autoAccept: lets every client in after 'open'. $maxUnsent: bytes that may wait
     * for the gateway, above which send() throws. */
    public function __construct(
        private string $path,
        private string $app = 'app',
        private string $client = 'php/0.1',
        private ?array $mounts = null,
        private ?string $token = null,
        private int $maxFrame = 1048576,
        private bool $autoAccept = true,
        private int $maxUnsent = 33554432,
    ) {
        $this->maxUnsent = max($maxUnsent, 2 * $maxFrame);
    }

    /* Events: open(session), message(session, data, isBinary), close(session, code, reason), moved(session),
     * pause(session), resume(session), link(), unlink(why), drain(), error(throwable, session or null). */
    public function on(string $event, callable $callback): self
    {
        if (!in_array($event, self::EVENTS, true)) {
            throw new \InvalidArgumentException("there is no event '$event'");
        }
        $this->listeners[$event][] = $callback;
        return $this;
    }

    /* The sessions that are open now. */
    public function sessions(): array
    {
        return array_values(array_filter($this->sessions, fn ($session) => $session->isOpen));
    }

    /* Serves until stop(). */
    public function run(): void
    {
        while ($this->poll()) {
        }
    }

    /* Sends what has finished and ends the link; the sessions live on at the gateway. May be called from a signal
     * handler: it is the next poll() that does it, and returns false. */
    public function stop(): void
    {
        $this->isStopping = true;
    }

    /* Before a planned end: no new sessions come, and those that are here go on at another handler where there is one,
     * each when it has nothing in flight ('moved'). Also on later links, until stop(). For signal handlers, too. */
    public function drain(): void
    {
        $this->isDraining = true;
    }

    /* One turn, for a program with a loop of its own. Waits for at most so long. False: stopped. Not for callbacks. */
    public function poll(float $seconds = 1.0): bool
    {
        if ($this->isStopping) {
            $this->end();
            return false;
        }
        if ($this->stream === null) {
            $this->connect($seconds);
            return true;
        }
        $this->flush(); // what was sent between two turns
        if ($this->stream !== null && $this->wait($seconds)) {
            $this->read();
        }
        if ($this->stream !== null) {
            try {
                $this->takeFrames();
            } catch (Fault $fault) {
                $this->refuse($fault->errorCode, $fault->getMessage());
            } catch (\TypeError) { // not of a callback: those are caught where they are called
                $this->refuse('bad-frame', 'a value in a JSON object is not of its type');
            }
            $this->flush();
        }
        return true;
    }

    private function connect(float $seconds): void
    {
        $wait = $this->retryAt - self::now();
        if ($wait > 0) {
            usleep((int) (min($wait, $seconds) * 1e6) + 1);
            return;
        }
        [$this->isUp, $this->hasSaidDrain, $this->linkMaxFrame] = [false, false, $this->maxFrame];
        [$this->in, $this->inNeeds, $this->unit, $this->unitBytes, $this->batch, $this->sent] = ['', 1, [], 0, '', 0];
        $this->taken = $this->finished = $this->acknowledged = 0;
        $this->welcomeBy = self::now() + self::WELCOME_TIMEOUT_S;
        $hello = ['client' => $this->client, 'app' => $this->app, 'mounts' => $this->mounts, 'token' => $this->token];
        $hello = array_filter($hello, fn ($value) => $value !== null);
        $hello += ['max_frame' => $this->maxFrame, 'features' => ['batch']];
        $this->out = self::frame('HELLO 1', json_encode($hello, JSON_THROW_ON_ERROR | JSON_UNESCAPED_SLASHES));
        $stream = @stream_socket_client("unix://$this->path", $errno, $error, self::RETRY_MAX_S);
        if ($stream === false) {
            $this->down("cannot connect to $this->path: $error");
            return;
        }
        stream_set_blocking($stream, false);
        stream_set_read_buffer($stream, 0);
        $this->stream = $stream;
    }

    private function refuse(string $code, string $why): void
    {
        $this->out .= self::frame("ERROR $code", $why);
        $this->write();
        $this->down($why);
    }

    private function down(string $why): void
    {
        if ($this->stream !== null) {
            fclose($this->stream);
            $this->stream = null;
        }
        foreach ($this->sessions as $session) {
            $session->isOpen = false;
        }
        $this->sessions = [];
        $this->retryAt = self::now() + $this->retrySeconds;
        $this->retrySeconds = min($this->retrySeconds * 2, self::RETRY_MAX_S);
        $this->emit('unlink', $why);
    }

    private function end(): void
    {
        $until = self::now() + self::LAST_WRITE_S;
        $this->flush();
        while ($this->stream !== null && $this->unsent() > 0 && self::now() < $until) {
            $this->wait(0.1, mayRead: false);
            $this->write();
        }
        [$this->isStopping, $this->isDraining] = [false, false];
        if ($this->stream !== null) {
            $this->down('stopped');
        }
    }

    /* True: there may be something to read. */
    private function wait(float $seconds, bool $mayRead = true): bool
    {
        $unsent = $this->unsent();
        $read = $mayRead && $unsent <= self::UNSENT_PAUSE_BYTES ? [$this->stream] : [];
        $write = $unsent > 0 ? [$this->stream] : [];
        $except = [];
        $hasWork = $read !== [] && strlen($this->in) >= $this->inNeeds;
        $seconds = $hasWork || $this->isStopping ? 0 : $seconds;
        // A signal ends it early, with a warning that says nothing else.
        $n = @stream_select($read, $write, $except, (int) $seconds, (int) (fmod($seconds, 1) * 1e6));
        if (!$this->isUp && self::now() > $this->welcomeBy) {
            $this->down('no WELCOME');
        }
        return $this->stream !== null && $n > 0 && $read !== [];
    }

    private function read(): void
    {
        $data = @fread($this->stream, self::READ_BYTES);
        if ($data !== false && $data !== '') {
            $this->in .= $data;
        } elseif ($data === false || feof($this->stream)) {
            $this->down('the gateway has closed the link');
        }
    }

    private function write(): void
    {
        while ($this->stream !== null && $this->sent < strlen($this->out)) {
            $n = @fwrite($this->stream, substr($this->out, $this->sent, self::WRITE_BYTES));
            if ($n === false) {
                $this->down('the gateway has closed the link');
            } elseif ($n === 0) {
                break;
            } else {
                $this->sent += $n;
            }
        }
        if ($this->sent * 2 >= strlen($this->out)) { // not at every piece, as it copies the rest
            $this->out = substr($this->out, $this->sent);
            $this->sent = 0;
        }
    }

    private function takeFrames(): void
    {
        [$at, $size] = [0, strlen($this->in)];
        while ($this->stream !== null && !$this->isStopping && $this->unsent() <= self::UNSENT_PAUSE_BYTES) {
            $this->inNeeds = 1;
            $lf = $size - $at >= 1 ? strpos($this->in, "\n", $at) : false;
            if ($lf === false || $lf - $at >= self::LINE_MAX_BYTES) {
                if ($size - $at >= self::LINE_MAX_BYTES) {
                    throw new Fault('bad-frame', "a frame's first line is too long");
                }
                $this->inNeeds = $size - $at + 1;
                break;
            }
            $words = explode(' ', substr($this->in, $at, $lf - $at));
            $length = count($words) > 1 ? array_pop($words) : '';
            if (preg_match('/^\d{1,15}$/D', $length) !== 1 || (int) $length > $this->linkMaxFrame) {
                throw new Fault('bad-frame', "a frame's length is missing or over max_frame");
            }
            $end = $lf + 1 + (int) $length;
            if ($end >= $size) {
                $this->inNeeds = $end + 1 - $at;
                break;
            }
            if ($this->in[$end] !== "\n") {
                throw new Fault('bad-frame', 'a payload is not followed by a line feed');
            }
            $at = $end + 1;
            $this->take($words, substr($this->in, $lf + 1, (int) $length));
        }
        $this->in = substr($this->in, $at);
    }

    private function take(array $words, string $payload): void
    {
        $verb = $words[0];
        if (!$this->isUp && $verb !== 'WELCOME' && $verb !== 'ERROR') {
            throw new Fault('bad-verb', 'the first frame is not WELCOME');
        }
        match ($verb) {
            'OPEN', 'MSG', 'CLOSE', 'MOVED' => $this->takeDelivery($verb, $words, $payload),
            'WELCOME' => $this->takeWelcome($payload),
            'PING' => $this->out .= self::frame('PONG', $payload),
            'PAUSE', 'RESUME' => $this->takePause($verb === 'PAUSE', (int) ($words[1] ?? 0)),
            'DRAIN' => $this->emit('drain'),
            'ERROR' => $this->down('the gateway says ' . ($words[1] ?? 'ERROR') . ": $payload"),
            default => null, // a later version's verb
        };
    }

    private function takeWelcome(string $payload): void
    {
        $this->linkMaxFrame = min($this->maxFrame, self::parse($payload)['max_frame'] ?? $this->maxFrame);
        $this->retrySeconds = self::RETRY_FIRST_S;
        $this->isUp = true;
        $this->emit('link');
    }

    private function takePause(bool $isPaused, int $handle): void
    {
        $session = $this->sessions[$handle] ?? null;
        if ($session !== null) {
            $session->isPaused = $isPaused;
            $this->emit($isPaused ? 'pause' : 'resume', $session);
        }
    }

    private function takeDelivery(string $verb, array $words, string $payload): void
    {
        [$number, $handle] = [(int) ($words[1] ?? 0), (int) ($words[2] ?? 0)];
        if ($number !== $this->taken + 1) {
            throw new Fault('bad-verb', "a delivery's number does not follow the one before");
        }
        $this->taken = $number;
        if (isset($this->sessions[$handle]) === ($verb === 'OPEN')) {
            throw new Fault('bad-handle', 'OPEN for a handle that is in use, or a delivery for one that is not');
        }
        $session = $this->sessions[$handle] ??= new Session($this->put(...), $handle, self::parse($payload));
        if ($verb === 'OPEN') {
            $this->emit('open', $session);
            if ($this->autoAccept) {
                $session->accept();
            }
        } elseif ($verb === 'MSG') {
            $session->sequence = (int) ($words[3] ?? 0);
            $session->isAgain = ($words[5] ?? '') === 'again';
            if ($session->isOpen) { // not kicked meanwhile
                $this->emit('message', $session, $payload, ($words[4] ?? '') === 'b');
            }
        } elseif ($verb === 'CLOSE') {
            unset($this->sessions[$handle]);
            $session->isOpen = false;
            $this->emit('close', $session, (int) ($words[3] ?? 0), $payload);
        } else { // the callbacks have the last word: what they send or leave as state still counts
            $this->emit('moved', $session);
            unset($this->sessions[$handle]);
            $session->isOpen = false;
        }
        $this->finish($number);
    }

    /* Queues a frame with the callback that is running, if any. */
    private function put(string $head, string $payload): void
    {
        if (strlen($payload) > $this->linkMaxFrame) {
            throw new \LengthException("a message is larger than max_frame ($this->linkMaxFrame)");
        }
        $frame = self::frame($head, $payload);
        if ($this->unsent() + strlen($frame) > $this->maxUnsent) {
            throw new \OverflowException("more than maxUnsent ($this->maxUnsent) bytes wait for the gateway");
        }
        $this->unit[] = $frame;
        $this->unitBytes += strlen($frame);
    }

    /* A callback is through, and its delivery (0 = none): as many as fit go into each BATCH, and one that is too large
     * for any spreads, its ACK in the last. */
    private function finish(int $number): void
    {
        $room = $this->linkMaxFrame - self::ACK_BYTES;
        $pieces = $this->unitBytes <= $room ? [implode('', $this->unit)] : $this->unit;
        foreach ($pieces as $piece) {
            if (strlen($this->batch) + strlen($piece) > $room) {
                $this->closeBatch();
            }
            if (strlen($piece) > $room) { // one message of about max_frame
                $this->out .= $piece;
            } else {
                $this->batch .= $piece;
            }
        }
        [$this->unit, $this->unitBytes] = [[], 0];
        $this->finished = max($this->finished, $number);
    }

    private function closeBatch(): void
    {
        $ack = $this->finished > $this->acknowledged ? "ACK $this->finished 0\n\n" : '';
        $this->out .= $this->batch === '' ? $ack : self::frame('BATCH', $this->batch . $ack);
        $this->batch = '';
        $this->acknowledged = $this->finished;
    }

    private function flush(): void
    {
        if ($this->stream === null) {
            return;
        }
        $this->finish(0);
        $this->closeBatch();
        if ($this->isUp && $this->isDraining && !$this->hasSaidDrain) {
            $this->hasSaidDrain = true;
            $this->out .= self::frame('DRAIN', '');
        }
        $this->write();
    }

    private function unsent(): int
    {
        return strlen($this->out) - $this->sent + strlen($this->batch) + $this->unitBytes;
    }

    /* A callback that fails is reported, and its delivery counts as finished, for it would only fail again. */
    private function emit(string $event, mixed ...$args): void
    {
        foreach ($this->listeners[$event] ?? [] as $callback) {
            try {
                $callback(...$args);
            } catch (\Throwable $error) {
                if ($event !== 'error' && isset($this->listeners['error'])) {
                    $this->emit('error', $error, ($args[0] ?? null) instanceof Session ? $args[0] : null);
                } else {
                    fwrite(STDERR, "postern: a callback of '$event' failed: $error\n");
                }
            }
        }
    }

    private static function frame(string $head, string $payload): string
    {
        return $head . ' ' . strlen($payload) . "\n$payload\n";
    }

    private static function parse(string $json): array
    {
        $value = json_decode($json, true);
        if (!is_array($value)) {
            throw new Fault('bad-frame', 'a payload is not the JSON object that it must be');
        }
        return $value;
    }

    private static function now(): float
    {
        return hrtime(true) / 1e9;
    }
}
