# uWSGI with threads: nothing is forked, because another thread may hold one of perl's own locks.

use lib 't/lib';
use Testing qw(Outlive=uWSGI);
use Testing::Client;

my $self = Testing::Outlive->start('uWSGI', by_hand => 1, workers => 1, endless => [qw(--threads 4)]);

# With threads a response of uWSGI fails now and then ("Bad file descriptor"), of any application. A request is repeated then.
sub opened {
    my ($path, $pattern) = @_;
    my $client;
    wait_until $DEADLINE, sub {
        $client = eval { Testing::Client->get($self->{server}->port, $path) };
        return $client && eval { $client->read_until($pattern) };
    };
    return $client;
}

for my $path ('/hub', '/filtered') {
    my $client = opened($path, qr/^id: .*\n\r?\n/m);
    my $id     = $self->hub->publish(news => $path);
    ok $client->read_until(qr/^id: \Q$id\E\r?\n\r?\n/m), "$path: the stream has the event";
    is_deeply [$self->relays], [], "$path: its thread serves it, and no process is forked";
}
like $self->{server}->log,
    qr/occupies its worker: the server has several threads.*: give it processes instead of threads$/m,
    'the log says why, and what to do';

like opened('/spawn', qr/^data: .*\n/m)->text,
    qr/^data: \S+: spawn: the server has several threads, so no process can be forked: give it processes instead/m,
    'spawn throws, and names the remedy';

$self->end;

done_testing;
