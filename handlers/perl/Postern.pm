# postern: the Perl handler library, one file and core modules only (Perl 5.14 or later). Wire: handlers/PROTOCOL.md.
#
#   my $handler = Postern->new(path => '/run/postern/handlers.sock');
#   $handler->on(message => sub { my ($session, $data, $is_binary) = @_; $session->send($data, $is_binary) });
#   $handler->run;
#
# Callbacks run one at a time, in the order of the deliveries. What a callback sends, to whichever session, travels
# with the acknowledgement of its delivery in one BATCH: both take effect or neither. A turn is one read, the callbacks
# of what came whole, and one write. Text messages and reasons are strings of characters, binary ones are bytes.
#
# When the link ends its sessions are forgotten here (they live on at the gateway and come back with 'open' and
# `resumed`), and the handler connects again after 50 ms to 1 s, for ever.
use strict;
use warnings;

# One client, as seen over one link. What is in $session->{data} is yours.
package Postern::Session;
use Carp qw(croak);
use MIME::Base64 qw(decode_base64);

# saved_state: what state() had left, elsewhere, or undef. sequence: of the message being delivered, the same on every
# link. is_again: of that message, a link that had it before has died with it.
my @strings = qw(id mount path query dialect transport remote origin subprotocol);
for my $name (@strings, qw(headers subprotocols resumed saved_state sequence is_again is_open is_paused)) {
    no strict 'refs';
    *$name = sub { $_[0]{$name} };
}

sub _new {
    my ($class, $handler, $handle, $info) = @_;
    my $state = $info->{state};
    return bless {
        (map { $_ => $info->{$_} // '' } @strings),
        headers => $info->{headers} // {}, subprotocols => $info->{subprotocols} // [],
        resumed => $info->{resumed} ? 1 : 0, saved_state => defined $state ? decode_base64($state) : undef,
        sequence => 0, is_again => 0, is_open => 1, is_paused => 0, data => {},
        _handler => $handler, _handle => $handle, _is_decided => 0,
    }, $class;
}

# Sends one message. False: the session has ended.
sub send {
    my ($self, $data, $is_binary) = @_;
    return $self->_put('MSG', $is_binary ? ' b' : ' t', $is_binary ? _bytes($data) : _utf8($data));
}

# Ends the client's session; no 'message' follows, but 'close' does.
sub kick { return $_[0]->_end('KICK', $_[1] // 1000, $_[2] // '') }

sub reject { return $_[0]->_end('REJECT', $_[1] // 3000, $_[2] // '') }

# Lets a waiting client in; $subprotocol is one that it offered, else the gateway turns it away.
sub accept {
    my ($self, $subprotocol) = @_;
    return 0 if $self->{_is_decided};
    $self->{_is_decided} = 1;
    return $self->_put('ACCEPT', '', _bytes($subprotocol // ''));
}

# Leaves up to 4,096 bytes with the gateway for whichever handler takes the session over.
sub state {
    my ($self, $data) = @_;
    my $bytes = _bytes($data);
    croak 'a state has at most 4096 bytes' if length $bytes > 4096;
    return $self->_put('STATE', '', $bytes);
}

sub _end {
    my ($self, $verb, $code, $reason) = @_;
    croak 'a close code is 1000 or 3000 to 4999' if $code !~ /^(?:1000|[34][0-9]{3})\z/;
    $reason = _utf8($reason);
    croak 'a reason has at most 123 bytes' if length $reason > 123;
    my $is_put = $self->_put($verb, " $code", $reason);
    @$self{qw(is_open _is_decided)} = (0, 1);
    return $is_put;
}

sub _put {
    my ($self, $verb, $more, $payload) = @_;
    $self->{_handler}->_put("$verb $self->{_handle}$more", $payload) if $self->{is_open};
    return $self->{is_open};
}

# What Perl allows as a character and UTF-8 does not would end the link, and with it every session's.
sub _utf8 {
    my ($text) = @_;
    utf8::encode($text);
    croak 'a text has a surrogate, or a character above U+10FFFF'
        if $text =~ /\xED[\xA0-\xBF]|\xF4[\x90-\xBF]|[\xF5-\xFF]/;
    return $text;
}

sub _bytes {
    my ($bytes) = @_;
    utf8::downgrade($bytes, 1) or croak 'binary data has a character above 255; encode it first';
    return $bytes;
}

# A handler: connects to the gateway, and again whenever the link ends, until stop().
package Postern;
use Carp qw(croak);
use Errno qw(EAGAIN EINTR);
use IO::Socket::UNIX;
use JSON::PP qw(decode_json encode_json);
use Scalar::Util qw(blessed);
use Socket qw(MSG_NOSIGNAL);
use Time::HiRes qw(clock_gettime CLOCK_MONOTONIC);

use constant {
    LINE_MAX_BYTES => 1024,
    READ_BYTES => 65536,
    UNSENT_PAUSE_BYTES => 1024 * 1024,    # above this nothing more is read, and no callback begins
    ACK_BYTES => 32,                      # more than an ACK frame, kept free in every batch
    RETRY_FIRST_S => 0.05,
    RETRY_MAX_S => 1,
    WELCOME_TIMEOUT_S => 10,
    LAST_WRITE_S => 1,
};
my %is_event = map { $_ => 1 } qw(open message close moved pause resume link unlink drain error);

# Options: path (required); app, client: names for the gateway's log; mounts: those that it serves, a list, all if
# absent; token; max_frame: the largest message, bytes, at least 65536; auto_accept: lets every client in after 'open';
# max_unsent: bytes that may wait for the gateway, above which send() dies.
sub new {
    my ($class, %given) = @_;
    my %options = (path => undef, app => 'app', client => 'perl/0.1', mounts => undef, token => undef,
        max_frame => 1048576, auto_accept => 1, max_unsent => 32 * 1024 * 1024, %given);
    croak "path is required: the gateway's handler socket" if !defined $options{path};
    croak 'an option is unknown' if keys %options != 8;
    $options{max_unsent} = 2 * $options{max_frame} if $options{max_unsent} < 2 * $options{max_frame};
    return bless {%options, listeners => {}, sessions => {}, retry_at => 0, retry_s => RETRY_FIRST_S}, $class;
}

# Events: open(session), message(session, data, is_binary), close(session, code, reason), moved(session),
# pause(session), resume(session), link(), unlink(why), drain(), error(error, session or undef).
sub on {
    my ($self, $event, $callback) = @_;
    croak "there is no event '$event'" if !$is_event{$event};
    push @{$self->{listeners}{$event}}, $callback;
    return $self;
}

# The sessions that are open now.
sub sessions { return grep { $_->{is_open} } values %{$_[0]{sessions}} }

# Serves until stop().
sub run {
    my ($self) = @_;
    1 while $self->poll;
    return;
}

# Sends what has finished and ends the link; the sessions live on at the gateway. May be called from a signal handler:
# it is the next poll() that does it, and returns false.
sub stop { $_[0]{is_stopping} = 1; return }

# Before a planned end: no new sessions come, and those that are here go on at another handler where there is one, each
# when it has nothing in flight ('moved'). Also on later links, until stop(). For signal handlers, too.
sub drain { $_[0]{is_draining} = 1; return }

# One turn, for a program with a loop of its own. Waits for at most so many seconds. False: stopped. Not for callbacks.
sub poll {
    my ($self, $seconds) = @_;
    $seconds //= 1;
    return $self->_finish_link if $self->{is_stopping};
    if (!$self->{socket}) {
        $self->_connect($seconds);
        return 1;
    }
    $self->_flush;    # what was sent between two turns
    $self->_read if $self->{socket} && $self->_wait($seconds, 1);
    if ($self->{socket} && !eval { $self->_take_frames; 1 }) {
        my ($code, $why) = ref $@ ? @{$@} : ('bad-frame', 'a payload is not the JSON object that it must be');
        $self->{out} .= _frame("ERROR $code", $why);
        $self->_write;
        $self->_down($why);
    }
    $self->_flush;
    return 1;
}

sub _connect {
    my ($self, $seconds) = @_;
    my $wait = $self->{retry_at} - _now();
    if ($wait > 0) {
        select undef, undef, undef, $wait < $seconds ? $wait : $seconds;
        return;
    }
    my %hello = (max_frame => $self->{max_frame}, features => ['batch']);
    defined $self->{$_} and $hello{$_} = $self->{$_} for qw(client app mounts token);
    @$self{qw(is_up has_said_drain link_max_frame in in_needs)} = (0, 0, $self->{max_frame}, '', 1);
    @$self{qw(taken finished acknowledged)} = (0, 0, 0);    # delivery numbers
    # The frames of the callback that is running; those of the ones that have finished; whole frames for the socket.
    @$self{qw(unit unit_bytes batch out)} = ([], 0, '', _frame('HELLO 1', encode_json(\%hello)));
    $self->{welcome_by} = _now() + WELCOME_TIMEOUT_S;
    my $socket = IO::Socket::UNIX->new(Peer => $self->{path}, Timeout => RETRY_MAX_S)
        or return $self->_down("cannot connect to $self->{path}: $!");
    $socket->blocking(0);
    $self->{socket} = $socket;
    return;
}

sub _down {
    my ($self, $why) = @_;
    close delete $self->{socket} if $self->{socket};
    $_->{is_open} = 0 for values %{$self->{sessions}};
    $self->{sessions} = {};
    $self->{retry_at} = _now() + $self->{retry_s};
    $self->{retry_s} = $self->{retry_s} * 2 < RETRY_MAX_S ? $self->{retry_s} * 2 : RETRY_MAX_S;
    $self->_emit('unlink', $why);
    return;
}

sub _finish_link {
    my ($self) = @_;
    my $until = _now() + LAST_WRITE_S;
    $self->_flush;
    while ($self->{socket} && $self->_unsent > 0 && _now() < $until) {
        $self->_wait(0.1, 0);
        $self->_write;
    }
    @$self{qw(is_stopping is_draining)} = (0, 0);
    $self->_down('stopped') if $self->{socket};
    return 0;
}

# True: there may be something to read.
sub _wait {
    my ($self, $seconds, $may_read) = @_;
    my $unsent = $self->_unsent;
    $may_read &&= $unsent <= UNSENT_PAUSE_BYTES;
    $seconds = 0 if $self->{is_stopping} || $may_read && length $self->{in} >= $self->{in_needs};
    my $bits = '';
    vec($bits, fileno $self->{socket}, 1) = 1;
    my $n = select my $read = $may_read ? $bits : undef, my $write = $unsent > 0 ? $bits : undef, undef, $seconds;
    $self->_down('no WELCOME') if !$self->{is_up} && _now() > $self->{welcome_by};
    return $self->{socket} && $n > 0 && $may_read;
}

sub _read {
    my ($self) = @_;
    my $n = sysread $self->{socket}, $self->{in}, READ_BYTES, length $self->{in};
    return if defined $n ? $n > 0 : $! == EAGAIN || $! == EINTR;
    $self->_down('the gateway has closed the link');
    return;
}

sub _write {
    my ($self) = @_;
    while ($self->{socket} && length $self->{out}) {
        my $n = send $self->{socket}, $self->{out}, MSG_NOSIGNAL;
        if (defined $n) {
            substr $self->{out}, 0, $n, '';
        } elsif ($! == EAGAIN) {
            last;
        } elsif ($! != EINTR) {
            $self->_down('the gateway has closed the link');
        }
    }
    return;
}

sub _take_frames {
    my ($self) = @_;
    my ($at, $size) = (0, length $self->{in});
    while ($self->{socket} && !$self->{is_stopping} && $self->_unsent <= UNSENT_PAUSE_BYTES) {
        my $lf = index $self->{in}, "\n", $at;
        $self->{in_needs} = $size - $at + 1;
        if ($lf < 0 || $lf - $at >= LINE_MAX_BYTES) {
            die ['bad-frame', "a frame's first line is too long"] if $size - $at >= LINE_MAX_BYTES;
            last;
        }
        my @words = split / /, substr($self->{in}, $at, $lf - $at), -1;
        my $length = @words > 1 ? pop @words : '';
        die ['bad-frame', "a frame's length is missing or over max_frame"]
            if $length !~ /^[0-9]{1,15}\z/ || $length > $self->{link_max_frame};
        my $end = $lf + 1 + $length;
        $self->{in_needs} = $end + 1 - $at;
        last if $end >= $size;
        die ['bad-frame', 'a payload is not followed by a line feed'] if substr($self->{in}, $end, 1) ne "\n";
        my $payload = substr $self->{in}, $lf + 1, $length;
        $at = $end + 1;
        $self->{in_needs} = 1;
        $self->_take(\@words, $payload);
    }
    substr $self->{in}, 0, $at, '';
    return;
}

sub _take {
    my ($self, $words, $payload) = @_;
    my ($verb, @args) = @$words;
    die ['bad-verb', 'the first frame is not WELCOME'] if !$self->{is_up} && $verb !~ /^(?:WELCOME|ERROR)\z/;
    if ($verb =~ /^(?:OPEN|MSG|CLOSE|MOVED)\z/) {
        $self->_take_delivery($verb, \@args, $payload);
    } elsif ($verb eq 'WELCOME') {
        my $max_frame = decode_json($payload)->{max_frame} // $self->{max_frame};
        $self->{link_max_frame} = $max_frame if $max_frame < $self->{max_frame};
        @$self{qw(is_up retry_s)} = (1, RETRY_FIRST_S);
        $self->_emit('link');
    } elsif ($verb eq 'PING') {
        $self->{out} .= _frame('PONG', $payload);
    } elsif ($verb eq 'PAUSE' || $verb eq 'RESUME') {
        my $session = $self->{sessions}{$args[0] // ''} or return;
        $session->{is_paused} = $verb eq 'PAUSE' ? 1 : 0;
        $self->_emit(lc $verb, $session);
    } elsif ($verb eq 'DRAIN') {
        $self->_emit('drain');
    } elsif ($verb eq 'ERROR') {
        $self->_down('the gateway says ' . ($args[0] // 'ERROR') . ": $payload");
    }    # else a later version's verb
    return;
}

sub _take_delivery {
    my ($self, $verb, $args, $payload) = @_;
    my ($number, $handle, @more) = @$args;
    die ['bad-verb', "a delivery's number does not follow the one before"] if ($number // '') ne $self->{taken} + 1;
    $self->{taken} = $number;
    my $sessions = $self->{sessions};
    die ['bad-handle', 'OPEN for a handle that is in use, or a delivery for one that is not']
        if !defined $handle || ($verb eq 'OPEN') == exists $sessions->{$handle};
    my $session = $sessions->{$handle} //= Postern::Session->_new($self, $handle, decode_json($payload));
    if ($verb eq 'OPEN') {
        $self->_emit('open', $session);
        $session->accept if $self->{auto_accept};
    } elsif ($verb eq 'MSG') {
        my ($sequence, $kind, $again) = @more;
        @$session{qw(sequence is_again)} = ($sequence, ($again // '') eq 'again' ? 1 : 0);
        my $is_binary = $kind eq 'b' ? 1 : 0;
        utf8::decode($payload) if !$is_binary;
        $self->_emit('message', $session, $payload, $is_binary) if $session->{is_open};    # not kicked meanwhile
    } elsif ($verb eq 'CLOSE') {
        delete $sessions->{$handle};
        $session->{is_open} = 0;
        utf8::decode($payload);
        $self->_emit('close', $session, $more[0], $payload);
    } else {    # the callbacks have the last word: what they send or leave as state still counts
        $self->_emit('moved', $session);
        delete $sessions->{$handle};
        $session->{is_open} = 0;
    }
    $self->_finish($number);
    return;
}

# Queues a frame with the callback that is running, if any.
sub _put {
    my ($self, $head, $payload) = @_;
    croak "a message is larger than max_frame ($self->{link_max_frame})" if length $payload > $self->{link_max_frame};
    my $frame = _frame($head, $payload);
    croak "more than max_unsent ($self->{max_unsent}) bytes wait for the gateway"
        if $self->_unsent + length $frame > $self->{max_unsent};
    push @{$self->{unit}}, $frame;
    $self->{unit_bytes} += length $frame;
    return;
}

# A callback is through, and its delivery (0 = none): as many as fit go into each BATCH, and one that is too large for
# any spreads, its ACK in the last.
sub _finish {
    my ($self, $number) = @_;
    my $room = $self->{link_max_frame} - ACK_BYTES;
    for my $piece ($self->{unit_bytes} <= $room ? join('', @{$self->{unit}}) : @{$self->{unit}}) {
        $self->_close_batch if length($self->{batch}) + length($piece) > $room;
        $self->{length $piece > $room ? 'out' : 'batch'} .= $piece;    # out: one message of about max_frame
    }
    @$self{qw(unit unit_bytes)} = ([], 0);
    $self->{finished} = $number if $number;
    return;
}

sub _close_batch {
    my ($self) = @_;
    my $ack = $self->{finished} > $self->{acknowledged} ? "ACK $self->{finished} 0\n\n" : '';
    $self->{out} .= $self->{batch} eq '' ? $ack : _frame('BATCH', $self->{batch} . $ack);
    @$self{qw(batch acknowledged)} = ('', $self->{finished});
    return;
}

sub _flush {
    my ($self) = @_;
    return if !$self->{socket};
    $self->_finish(0);
    $self->_close_batch;
    if ($self->{is_up} && $self->{is_draining} && !$self->{has_said_drain}) {
        $self->{has_said_drain} = 1;
        $self->{out} .= _frame('DRAIN', '');
    }
    $self->_write;
    return;
}

sub _unsent { return length($_[0]{out}) + length($_[0]{batch}) + $_[0]{unit_bytes} }

# A callback that dies is reported, and its delivery counts as finished, for it would only fail again.
sub _emit {
    my ($self, $event, @args) = @_;
    for my $callback (@{$self->{listeners}{$event} // []}) {
        next if eval { $callback->(@args); 1 };
        my $error = $@;
        if ($event ne 'error' && $self->{listeners}{error}) {
            my $session = $args[0];
            $self->_emit('error', $error, blessed $session && $session->isa('Postern::Session') ? $session : undef);
        } else {
            print {*STDERR} "postern: a callback of '$event' failed: $error\n";
        }
    }
    return;
}

sub _frame { return $_[0] . ' ' . length($_[1]) . "\n$_[1]\n" }

sub _now { return clock_gettime(CLOCK_MONOTONIC) }

1;
