# probe: what tests/wire/sdk_test.py asks of every library; handlers/python/test/probe.py says what.
# Usage: perl probe.pl SOCKET
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/..";
use Postern;

my $handler = Postern->new(path => $ARGV[0], app => 'probe');

$handler->on(open => sub {
    my ($session) = @_;
    $session->reject(4001, 'Sign in first') if $session->query eq 'reject';
    $session->accept('x.v2') if $session->query eq 'choose';
});

$handler->on(message => sub {
    my ($session, $data) = @_;
    if ($data eq 'kick') {
        $session->kick(3999, 'Go away!');
    } elsif ($data =~ /^keep (.*)/s) {
        my $state = $1;
        utf8::encode($state);
        $session->state($state);
        $session->send('kept');
    } elsif ($data eq 'flood') {
        $session->send($_ x 300_000) for 'a' .. 'e';
    } elsif ($data eq 'fail') {
        $session->send('failing');
        die "as asked\n";
    } else {
        my $state = $session->saved_state // '-';
        utf8::decode($state);
        $session->send(join ' ', $session->sequence, $session->is_again ? 'again' : 'new', $state, $data);
    }
});

# The session that moves is one of those that are still here.
$handler->on(moved => sub { $handler->stop if $handler->sessions == 1 });

$SIG{TERM} = sub { $handler->drain };
$handler->run;
