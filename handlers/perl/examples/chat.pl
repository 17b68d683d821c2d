# chat: one room. Every text goes to all who are here; who comes and goes is told. Usage: perl chat.pl SOCKET
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/..";
use Postern;

my $handler = Postern->new(path => $ARGV[0], app => 'chat');

sub tell_all {
    my ($text) = @_;
    $_->send($text) for $handler->sessions;
    return;
}

$handler->on(open => sub {
    my ($session) = @_;
    # A resumed session has been here all the time; only its handler is new.
    tell_all('* ' . $session->id . ' has joined') if !$session->resumed;
});
$handler->on(message => sub {
    my ($session, $data, $is_binary) = @_;
    tell_all($data) if !$is_binary;
});
$handler->on(close => sub { tell_all('* ' . $_[0]->id . ' has left') });
$handler->on(unlink => sub { print {*STDERR} "chat: $_[0]\n" });

$SIG{$_} = sub { $handler->stop } for qw(INT TERM);
$handler->run;
