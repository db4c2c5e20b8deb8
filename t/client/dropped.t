# A program that drops its client in a callback gets nothing more: no event of those that were read already, and no other
# callback. With every library.

use lib 't/lib';
use Testing;
use EventSource::Client;
use Testing::HostileServer qw(hostile_server);
use Testing::ReadingClient;
use Testing::SideBySide qw(run_each);

my $STREAM = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n";

my $server = hostile_server sub {
    my $client = shift;
    local $SIG{PIPE} = 'IGNORE';
    print {$client} $STREAM, "event: gap\ndata: 0\n\n", map { "data: $_\n\n" } 1 .. 60_000;
    sysread $client, my $rest, 1;
};

sub drops_it_in {
    my ($way, $name) = @_;
    my (%calls, $client);
    my $drop   = sub { $calls{$name}++; undef $client };
    my %option = (
        (
            map {
                my $other = $_;
                ($other => sub { $calls{$other}++ })
            } qw(on_bytes on_close on_error on_gap on_open)
        ),
        ($way eq 'next' ? () : (via => $way, on_event => sub { $calls{on_event}++ })),
        $name => $drop,
        url   => $server->url('/'),
    );
    $client = EventSource::Client->new(%option);
    if ($way eq 'next') {
        is $client->next, undef, "$name: next returns";
    }
    else {
        Testing::ReadingClient->run($way, sub { !$client });
        my $turns = 0;
        Testing::ReadingClient->run($way, sub { $turns++ > 5 });
    }
    my @before =
          $name eq 'on_open'  ? ()
        : $name eq 'on_bytes' ? qw(on_open)
        : $name eq 'on_gap'   ? qw(on_bytes on_open)
        :                       qw(on_bytes on_gap on_open);
    is_deeply \%calls, {map { ($_ => 1) } $name, @before}, "a client that is dropped in $name calls nothing more";
    return;
}

run_each [Testing::ReadingClient->ways] => sub {
    my $way = shift;
    drops_it_in($way, $_) for qw(on_open on_bytes on_gap), $way eq 'next' ? () : 'on_event';
};

done_testing;
