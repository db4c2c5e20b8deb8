# ithreads beside clients with callbacks, before their first connection and while they read: a thread ends as it would without
# them, it has no client, and those of its parent go on. With every library.

use lib 't/lib';
use Testing;
use Config;
BEGIN { plan skip_all => 'this perl has no threads' if !$Config{useithreads} }
BEGIN { @ENV{qw(MOJO_REACTOR PERL_ANYEVENT_MODEL)} = ('Mojo::Reactor::Poll', 'Perl') }    # EV does not bear threads
use threads;

use EventSource::Client;
use Testing::Fork          qw(in_thread);
use Testing::HostileServer qw(hostile_server);
use Testing::ReadingClient;
use Testing::SideBySide qw(run_each);

my $STREAM = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n";

my $server = hostile_server sub {
    my ($client, $head, $number) = @_;
    print {$client} $STREAM, "data: one\n\n";
    sysread $client, my $rest, 1;
};

run_each [Testing::ReadingClient->ways] => sub {
    my $way = shift;
    my @data;
    my %option = (
        on_bytes => sub { },
        on_error => sub { },
        on_gap   => sub { },
        on_open  => sub { },
        url      => $server->url('/'),
        $way eq 'next' ? () : (via => $way, on_event => sub { push @data, $_[1]{data} }),
    );
    my $client = EventSource::Client->new(%option);
    is in_thread(sub { 'ended' }), 'ended', 'before the first connection a thread ends as others do';
    my $read = sub {
        my $until = shift;
        return push @data, $client->next->{data} if $way eq 'next';
        Testing::ReadingClient->run($way, sub { @data == $until });
    };
    $read->(1);
    is in_thread(sub { 'ended' }), 'ended', 'and while the client reads';
    is in_thread(sub { ref $client eq 'EventSource::Client' ? 'a client' : 'none' }), 'none', 'it has no client';
    is_deeply \@data, ['one'], 'the client in the first thread has what has come';
    is $client->state, 'open', 'and is open';
    my $other = EventSource::Client->new(%option);
    undef $client;
    ($client, $other) = ($other, undef);
    $read->(2);
    is_deeply \@data, ['one', 'one'], 'another client reads on';
};

done_testing;
