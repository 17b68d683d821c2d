# echo: sends every message back. Usage: perl echo.pl SOCKET
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/..";
use Postern;

my $handler = Postern->new(path => $ARGV[0], app => 'echo');
$handler->on(message => sub {
    my ($session, $data, $is_binary) = @_;
    $session->send($data, $is_binary);
});
$handler->on(unlink => sub { print {*STDERR} "echo: $_[0]\n" });
$handler->run;
